//! A student as a small Rust program for candle, whose layers `candle_nn`'s `VarBuilder` finds in the student's file.

use engine::Network;
use engine::graph::{Elementwise, Op, Padding, Pool, Shape};

/// The version of candle that the program is for: the one that this workspace is tested with.
const VERSION: &str = "0.11";

/// `Cargo.toml`.
pub fn manifest() -> String {
    format!(
        "[package]\nname = \"student\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\ncandle-core = \"{VERSION}\"\ncandle-nn = \"{VERSION}\"\n\n# It is a program of its own, wherever it lies.\n[workspace]\n"
    )
}

/// `src/main.rs`; what candle has not got where it cannot be written.
pub fn program(network: &Network) -> Result<String, String> {
    let (mut fields, mut loads, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for (place, node) in network.nodes().iter().enumerate().skip(1) {
        let shape = network.node(node.inputs[0]).shape;
        let read: Vec<String> = node.inputs.iter().map(|input| format!("x{}", input.index())).collect();
        if let Some((kind, load)) = layer(&node.op, &node.name, shape) {
            fields.push(format!("    l{place}: {kind},\n"));
            loads.push(format!("            l{place}: {load},\n"));
        }
        steps.push(format!("        let x{place} = {};\n", step(&node.op, &node.name, place, &read)?));
    }
    let last = network.output().index();
    Ok(TEMPLATE
        .replace("ARCHITECTURE", &network.architecture().replace('\n', "_"))
        .replace("    FIELDS\n", &fields.concat())
        .replace("            LOADS\n", &loads.concat())
        .replace("        STEPS\n", &format!("{}        Ok(x{last})\n", steps.concat())))
}

/// What holds a node's parameters, and how it is read.
fn layer(op: &Op, name: &str, shape: Shape) -> Option<(&'static str, String)> {
    Some(match op {
        Op::Conv2d(conv) => {
            let [height, width] = conv.kernel;
            let inputs = shape.channels() / conv.groups;
            let bias = if conv.bias {
                format!("Some(vb.get({}, \"{name}.bias\")?)", conv.out)
            } else {
                "None".into()
            };
            let weight = format!("vb.get(({}, {inputs}, {height}, {width}), \"{name}.weight\")?", conv.out);
            ("(Tensor, Option<Tensor>)", format!("({weight}, {bias})"))
        }
        Op::BatchNorm { eps, .. } => {
            ("BatchNorm", format!("batch_norm({}, {eps:?}, vb.pp(\"{name}\"))?", shape.channels()))
        }
        Op::MeanSparse => {
            let channels = shape.channels();
            let get = |size: &str, role: &str| format!("vb.get({size}, \"{name}.{role}\")?");
            let [mean, variance] =
                ["running_mean", "running_var"].map(|role| get(&channels.to_string(), role));
            ("[Tensor; 3]", format!("[{mean}, {variance}, {}]", get("()", "threshold")))
        }
        Op::Linear { out, bias } => {
            let make = if *bias { "linear" } else { "linear_no_bias" };
            ("Linear", format!("{make}({}, {out}, vb.pp(\"{name}\"))?", shape.elements()))
        }
        _ => return None,
    })
}

fn step(op: &Op, name: &str, place: usize, read: &[String]) -> Result<String, String> {
    // The image comes as a reference.
    let x = &read[0];
    let windows = |pool: &Pool| {
        format!("{:?}, {:?}", <(usize, usize)>::from(pool.kernel), <(usize, usize)>::from(pool.stride))
    };
    Ok(match op {
        Op::Input => unreachable!("the image is the first node alone"),
        Op::Normalize { mean, std } => format!("normalised(&{x}, &{mean:?}, &{std:?})?"),
        Op::Standardize => format!("standardised(&{x})?"),
        Op::Conv2d(conv) => {
            let Padding { top, bottom, left, right } = conv.padding;
            if conv.stride[0] != conv.stride[1] {
                return Err(format!("node {name}: strides {:?}; candle has one for both ways", conv.stride));
            }
            let (stride, groups) = (conv.stride[0], conv.groups);
            format!(
                "convolved(&{x}, &self.l{place}, [{top}, {bottom}, {left}, {right}], {stride}, {groups})?"
            )
        }
        Op::BatchNorm { .. } => format!("self.l{place}.forward_t(&{x}, false)?"),
        Op::MeanSparse => format!("mean_sparse(&{x}, &self.l{place})?"),
        Op::Linear { .. } => format!("self.l{place}.forward(&{x})?"),
        Op::Relu => format!("{x}.relu()?"),
        Op::Relu6 => format!("{x}.clamp(0f32, 6f32)?"),
        Op::Elementwise(Elementwise::Silu) => format!("candle_nn::ops::silu(&{x})?"),
        Op::Elementwise(Elementwise::Sigmoid) => format!("candle_nn::ops::sigmoid(&{x})?"),
        Op::Add => format!("(&{x} + &{})?", read[1]),
        Op::Mul => format!("{x}.broadcast_mul(&{})?", read[1]),
        Op::Concat => {
            let all: Vec<String> = read.iter().map(|value| format!("&{value}")).collect();
            format!("Tensor::cat(&[{}], 1)?", all.join(", "))
        }
        Op::PadChannels { before, after } => format!("{x}.pad_with_zeros(1, {before}, {after})?"),
        Op::MaxPool(pool) => format!("{x}.max_pool2d_with_stride({})?", windows(pool)),
        Op::AvgPool(pool) => format!("{x}.avg_pool2d_with_stride({})?", windows(pool)),
        Op::GlobalAvgPool => format!("{x}.mean((2, 3))?"),
        Op::Flatten => format!("{x}.flatten_from(1)?"),
    })
}

const TEMPLATE: &str = r#"//! ARCHITECTURE, with its weights in student.safetensors: run it in this folder.
//!
//! `cargo run --release` compares its answers to the images of check.safetensors with those they had when this was written.
#![allow(dead_code, unused_imports)]

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{BatchNorm, Linear, Module, ModuleT, VarBuilder, batch_norm, linear, linear_no_bias};

/// The student's layers, by their place in the network.
pub struct Student {
    FIELDS
}

impl Student {
    /// The student out of its file.
    pub fn load(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            LOADS
        })
    }

    /// Logits `(N, K)` of images `(N, C, H, W)` f32, pixels in [0, 1]; what they are normalised with is part of it.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let x0 = images.clone();
        STEPS
    }
}

/// A convolution with zeros above, below, before and after the map.
fn convolved(
    x: &Tensor,
    (weight, bias): &(Tensor, Option<Tensor>),
    [top, bottom, left, right]: [usize; 4],
    stride: usize,
    groups: usize,
) -> Result<Tensor> {
    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let output = padded.conv2d(weight, 0, stride, 1, groups)?;
    match bias {
        None => Ok(output),
        Some(bias) => output.broadcast_add(&bias.reshape((1, (), 1, 1))?),
    }
}

/// `(x - mean) / std` per channel.
fn normalised(x: &Tensor, mean: &[f64], std: &[f64]) -> Result<Tensor> {
    let constant = |values: &[f64]| Tensor::new(values, x.device())?.to_dtype(x.dtype())?.reshape((1, (), 1, 1));
    x.broadcast_sub(&constant(mean)?)?.broadcast_div(&constant(std)?)
}

/// Each image less its mean, over its deviation.
fn standardised(x: &Tensor) -> Result<Tensor> {
    let count = x.elem_count() as f64 / x.dim(0)? as f64;
    let centred = x.broadcast_sub(&x.mean_keepdim((1, 2, 3))?)?;
    let deviation = ((centred.sqr()?.mean_keepdim((1, 2, 3))? * (count / (count - 1.0)))?).sqrt()?;
    centred.broadcast_div(&deviation.maximum(1.0 / count.sqrt())?)
}

/// A value near its channel's mean becomes that mean.
fn mean_sparse(x: &Tensor, [mean, variance, threshold]: &[Tensor; 3]) -> Result<Tensor> {
    let mean = mean.reshape((1, (), 1, 1))?;
    let band = variance.sqrt()?.broadcast_mul(threshold)?.reshape((1, (), 1, 1))?;
    let near = x.broadcast_sub(&mean)?.abs()?.broadcast_lt(&band)?;
    near.where_cond(&mean.broadcast_as(x.shape())?.contiguous()?, x)
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let weights = candle_core::safetensors::load("student.safetensors", &device)?;
    let student = Student::load(VarBuilder::from_tensors(weights, DType::F32, &device))?;
    let check = candle_core::safetensors::load("check.safetensors", &device)?;
    let (images, wanted) = (&check["images"], &check["logits"]);
    let found = student.logits(images)?;
    let largest = |x: &Tensor| x.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>();
    let apart = largest(&(&found - wanted)?)? / largest(wanted)?.max(1.0);
    println!("{} images: logits differ by {apart:.1e} of the largest", images.dim(0)?);
    assert!(apart <= 1e-5, "that is more than the 1e-5 of rounding");
    Ok(())
}
"#;

/// The program of the tests' network as it was written: what compiles here is what leaves.
#[cfg(test)]
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic)]
#[path = "../../tests/candle/every_operation.rs"]
mod every;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use candle_core::{D, DType, Device, Tensor};
    use candle_nn::VarBuilder;
    use engine::graph::{Builder, Conv2d, GraphError};
    use engine::params::{Precision, Role};
    use engine::{Cpu, Engine, Images, Params};
    use method::init::initialise;
    use method::rng::{Purpose, Stream};
    use zoo::Task;

    use super::*;

    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/candle/every_operation.rs");

    /// A network with every operation of the graph, on digits.
    fn every_operation() -> Result<Network, GraphError> {
        let (mut b, image) = Builder::new([1, 28, 28]);
        let x = b.node("norm", Op::Normalize { mean: vec![0.1307], std: vec![0.3081] }, &[image])?;
        let x = b.node("standard", Op::Standardize, &[x])?;
        let padding = Padding { top: 1, bottom: 0, left: 2, right: 1 };
        let stem = b.conv("stem", Conv2d { padding, ..Conv2d::new(6, 3).stride(2).bias() }, x)?;
        let x = b.node("bn", Op::BatchNorm { eps: 1e-3, momentum: 0.1 }, &[stem])?;
        let x = b.node("silu", Op::Elementwise(Elementwise::Silu), &[x])?;
        let y = b.conv("grouped", Conv2d::new(6, 3).padding(1).groups(2), x)?;
        let y = b.node("sparse", Op::MeanSparse, &[y])?;
        let y = b.relu(y)?;
        let x = b.add(x, y)?;
        let Shape::Map { height, width, .. } = b.shape(x) else { unreachable!("it is a map") };
        let whole = Pool { kernel: [height, width], stride: [1, 1] };
        let gate = b.node("squeeze", Op::AvgPool(whole), &[x])?;
        let gate = b.conv("gate", Conv2d::new(6, 1).bias(), gate)?;
        let gate = b.node("sigmoid", Op::Elementwise(Elementwise::Sigmoid), &[gate])?;
        let x = b.node("gated", Op::Mul, &[x, gate])?;
        let wide = b.node("wide", Op::PadChannels { before: 1, after: 2 }, &[x])?;
        let x = b.node("joined", Op::Concat, &[wide, x])?;
        let x = b.node("max", Op::MaxPool(Pool { kernel: [3, 2], stride: [2, 2] }), &[x])?;
        let x = b.node("relu6", Op::Relu6, &[x])?;
        let mean = b.node("mean", Op::GlobalAvgPool, &[x])?;
        let flat = b.node("flat", Op::Flatten, &[x])?;
        let near = b.linear("near", 10, mean)?;
        let far = b.node("far", Op::Linear { out: 10, bias: false }, &[flat])?;
        b.add(near, far)?;
        b.finish("every-operation")
    }

    /// Values of which none is without effect.
    fn filled(network: &Network) -> Params {
        let task = Task { input: network.input(), classes: network.classes() };
        let (row, _) = zoo::build("tiny-cnn", task).unwrap();
        let mut params = initialise(network, row.init, 0, Precision::F32);
        let layout = params.layout().clone();
        for (number, entry) in layout.trainable().iter().chain(layout.statistics()).enumerate() {
            let mut drawn = vec![0.0; entry.range.len()];
            Stream::new(0, Purpose::Eval, 0, number).uniforms(&mut drawn);
            for (place, value) in entry.range.clone().zip(drawn) {
                match entry.role {
                    Role::RunningMean => params.statistics_mut().set(place, value - 0.5),
                    Role::RunningVar => params.statistics_mut().set(place, value + 0.5),
                    Role::Threshold => params.statistics_mut().set(place, 0.2),
                    Role::Bias => params.trainable_mut().set(place, value - 0.5),
                    Role::Weight if entry.shape.len() == 1 => params.trainable_mut().set(place, value + 0.5),
                    _ => {}
                }
            }
        }
        params
    }

    #[test]
    fn the_program_of_every_operation_compiles_and_answers_as_the_engine_does() {
        let network = every_operation().unwrap();
        let text = program(&network).unwrap();
        if std::env::var_os("RSLAD_WRITE_PROGRAMS").is_some() {
            std::fs::write(KEPT, &text).unwrap();
        }
        let kept = std::fs::read_to_string(Path::new(KEPT)).unwrap();
        assert!(
            kept == text,
            "another text is written now; RSLAD_WRITE_PROGRAMS=1 keeps it, to be compiled and run once more"
        );

        let params = filled(&network);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("student.safetensors");
        zoo::save(&file, &network, &params).unwrap();
        let mut pixels = vec![0.0; 16 * 28 * 28];
        Stream::new(0, Purpose::Eval, 1, 0).uniforms(&mut pixels);
        let images = Tensor::from_vec(pixels, (16, 1, 28, 28), &Device::Cpu).unwrap();
        let images = images.to_dtype(DType::F32).unwrap();
        let wanted = Cpu::new(1).unwrap().logits(&network, &params, &Images::from(images.clone())).unwrap();

        let weights: HashMap<String, Tensor> = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let student = every::Student::load(VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu));
        let found = student.unwrap().logits(&images).unwrap();
        let largest = |x: &Tensor| -> candle_core::Result<f32> {
            x.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>()
        };
        let apart = largest(&(&found - &wanted).unwrap()).unwrap() / largest(&wanted).unwrap();
        assert!(apart <= 1e-5, "logits differ by {apart:.1e} of the largest");
    }

    #[test]
    fn the_programs_candle_is_the_one_that_it_is_compiled_with_here() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        for name in ["candle-core", "candle-nn"] {
            let locked = lock.split("\n\n").find(|entry| entry.contains(&format!("name = \"{name}\"\n")));
            let wanted = format!("version = \"{VERSION}.");
            assert!(locked.is_some_and(|entry| entry.contains(&wanted)), "{locked:?}");
            assert!(manifest().contains(&format!("{name} = \"{VERSION}\"")));
        }
    }
}
