//! Every operation of the reference engine alone, on odd shapes, against PyTorch: outputs and all gradients.
//!
//! A case becomes a network of one operation, flattened into logits. A network has one input, so the operands of Add, Mul and
//! Concat enter side by side as channels of one image, and convolutions of ones and zeros take them apart again.

use candle_core::{DType, Tensor};
use engine::graph::{Builder, Conv2d, Elementwise, GraphError, Op, Padding, Pool};
use engine::params::{Grads, Precision, Role};
use engine::{Engine, Keep, Network, NodeId, Norm, Params, Reference};
use rslad_tests::{Golden, json, named, reference, relative, values};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    op: String,
    name: String,
    inputs: Vec<String>,
    kernel: Option<[usize; 2]>,
    stride: Option<[usize; 2]>,
    padding: Option<Sides>,
    groups: Option<usize>,
    mode: Option<String>,
    eps: Option<f64>,
    momentum: Option<f64>,
    before: Option<usize>,
    after: Option<usize>,
}

#[derive(Deserialize)]
struct Sides {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
}

impl Sides {
    fn padding(&self) -> Padding {
        let Self { left, right, top, bottom } = *self;
        Padding { top, bottom, left, right }
    }
}

impl Case {
    fn place(&self, tensor: &str) -> String {
        format!("{}/{}/{tensor}", self.op, self.name)
    }

    /// PyTorch can pad a pool; the engine has no such pool, because no network of the zoo does.
    fn is_padded_pool(&self) -> bool {
        let padding = self.padding.as_ref().map_or(Padding::default(), Sides::padding);
        self.op.ends_with("_pool") && padding != Padding::default()
    }

    fn norm(&self) -> Norm {
        if self.mode.as_deref() == Some("train") { Norm::Batch } else { Norm::Running }
    }

    /// The operation that takes images, or vectors made from images.
    fn op(&self, golden: &Golden) -> Op {
        let bias = self.inputs.iter().any(|input| input == "bias");
        let out = || golden.shape(&self.place("weight"))[0];
        let pool = || Pool { kernel: self.kernel.unwrap(), stride: self.stride.unwrap() };
        match self.op.as_str() {
            "conv2d" => Op::Conv2d(Conv2d {
                out: out(),
                kernel: self.kernel.unwrap(),
                stride: self.stride.unwrap(),
                padding: self.padding.as_ref().unwrap().padding(),
                groups: self.groups.unwrap(),
                bias,
            }),
            "max_pool" => Op::MaxPool(pool()),
            "avg_pool" => Op::AvgPool(pool()),
            "global_mean" => Op::GlobalAvgPool,
            "relu" => Op::Relu,
            "relu6" => Op::Relu6,
            "silu" => Op::Elementwise(Elementwise::Silu),
            "sigmoid" => Op::Elementwise(Elementwise::Sigmoid),
            "add" => Op::Add,
            "mul" => Op::Mul,
            "concat" => Op::Concat,
            "pad_channels" => Op::PadChannels { before: self.before.unwrap(), after: self.after.unwrap() },
            "standardize" => Op::Standardize,
            "mean_sparse" => Op::MeanSparse,
            "batch_norm" => Op::BatchNorm { eps: self.eps.unwrap(), momentum: self.momentum.unwrap() },
            "linear" => Op::Linear { out: out(), bias },
            other => panic!("the engine has no operation for {other}"),
        }
    }

    /// The tensors that enter as images: `input`, or `input0`, `input1`, ..
    fn operands(&self) -> Vec<&String> {
        self.inputs.iter().filter(|input| input.starts_with("input")).collect()
    }
}

/// Where an operand lies in the image: from this channel on, so many channels, rows and columns.
struct Part {
    channel: usize,
    shape: [usize; 3],
}

fn parts(case: &Case, golden: &Golden) -> Vec<Part> {
    let mut channel = 0;
    let parts = case.operands().into_iter().map(|operand| {
        let mut shape = [1; 3];
        let dims = &golden.shape(&case.place(operand))[1..];
        shape[..dims.len()].copy_from_slice(dims);
        channel += shape[0];
        Part { channel: channel - shape[0], shape }
    });
    parts.collect()
}

/// The one image: its operands as channels, the smaller ones in the top left corner.
fn image(case: &Case, golden: &Golden, parts: &[Part]) -> Tensor {
    let [_, height, width] = parts[0].shape;
    let operands: Vec<Tensor> = case
        .operands()
        .into_iter()
        .zip(parts)
        .map(|(operand, Part { shape: [c, h, w], .. })| {
            let tensor = golden.tensor(&case.place(operand));
            let tensor = tensor.reshape((tensor.dim(0).unwrap(), *c, *h, *w)).unwrap();
            tensor.pad_with_zeros(2, 0, height - h).unwrap().pad_with_zeros(3, 0, width - w).unwrap()
        })
        .collect();
    Tensor::cat(&operands, 1).unwrap()
}

/// The operand's part of something shaped as the image.
fn part_of(image: &Tensor, part: &Part) -> Vec<f64> {
    let [channels, height, width] = part.shape;
    let part = image.narrow(1, part.channel, channels).and_then(|part| part.narrow(2, 0, height));
    values(&part.and_then(|part| part.narrow(3, 0, width)).unwrap())
}

fn network(case: &Case, golden: &Golden, parts: &[Part]) -> Result<Network, GraphError> {
    let [_, height, width] = parts[0].shape;
    let channels = parts.iter().map(|part| part.shape[0]).sum();
    let (mut b, x) = Builder::new([channels, height, width]);
    let mut inputs = vec![x];
    if parts.len() > 1 {
        let choose = |b: &mut Builder, (i, part): (usize, &Part)| {
            let kernel = [height + 1 - part.shape[1], width + 1 - part.shape[2]];
            b.conv(&format!("operand{i}"), Conv2d { kernel, ..Conv2d::new(part.shape[0], 1) }, x)
        };
        inputs = parts.iter().enumerate().map(|part| choose(&mut b, part)).collect::<Result<_, _>>()?;
    } else if case.op == "linear" {
        inputs = vec![b.node("vector", Op::Flatten, &[x])?];
    }
    let y = b.node("it", case.op(golden), &inputs)?;
    if !matches!(case.op.as_str(), "linear" | "global_mean") {
        b.node("logits", Op::Flatten, &[y])?;
    }
    b.finish(&case.name)
}

const ROLES: [Role; 7] = [
    Role::Weight,
    Role::Bias,
    Role::RunningMean,
    Role::RunningVar,
    Role::Threshold,
    Role::UpdateFlag,
    Role::BatchNumber,
];

fn params(case: &Case, golden: &Golden, network: &Network, parts: &[Part]) -> Params {
    let mut params = Params::zeros(network.layout(), Precision::F64);
    let it = network.find("it").unwrap();
    for role in ROLES {
        let Some(entry) = network.layout().find(it, role) else { continue };
        let (tensor, arena) = match role {
            Role::Weight => ("weight", params.trainable_mut()),
            Role::Bias => ("bias", params.trainable_mut()),
            Role::RunningMean => ("running_mean", params.statistics_mut()),
            Role::RunningVar => ("running_var", params.statistics_mut()),
            Role::Threshold => ("threshold", params.statistics_mut()),
            Role::UpdateFlag => ("flag_update_statistics", params.statistics_mut()),
            Role::BatchNumber => ("batch_num", params.statistics_mut()),
        };
        for (place, &value) in entry.range.clone().zip(golden.values(&case.place(tensor))) {
            arena.set(place, value);
        }
    }
    for (i, part) in parts.iter().enumerate() {
        let Some(operand) = network.find(&format!("operand{i}")) else { continue };
        let entry = network.layout().find(operand, Role::Weight).unwrap();
        let row = entry.range.len() / part.shape[0];
        let taps = row / entry.shape[1];
        for channel in 0..part.shape[0] {
            params
                .trainable_mut()
                .set(entry.range.start + channel * row + (part.channel + channel) * taps, 1.0);
        }
    }
    params
}

/// What is allowed between values that count relative to the largest of their tensor.
#[derive(Clone, Copy)]
struct Tolerance {
    bound: f64,
    /// The least that a largest value counts as.
    smallest_scale: f64,
}

fn run(case: &Case, golden: &Golden, engine: &Reference, precision: Precision, tolerance: Tolerance) {
    let dtype = if precision == Precision::F64 { DType::F64 } else { DType::F32 };
    let parts = parts(case, golden);
    let network = network(case, golden, &parts).unwrap();
    let mut params = params(case, golden, &network, &parts).to_precision(precision);
    let images = image(case, golden, &parts).to_dtype(dtype).unwrap().into();
    let it = network.find("it").unwrap();
    let pass = engine.forward(&network, &params, &images, case.norm(), Keep::Both, &[it]).unwrap();
    let check = |tensor: &str, found: &[f64]| {
        let wanted = golden.values(&case.place(tensor));
        let largest = wanted.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let apart = relative(found, wanted) * largest / largest.max(tolerance.smallest_scale);
        let place = case.place(tensor);
        assert!(apart <= tolerance.bound, "{place} in {}: off by {apart:.1e}", precision.name());
    };
    check("output", &values(&pass.logits));
    assert_eq!(pass.taps[0].dims(), golden.shape(&case.place("output")), "{} as a tap", case.name);
    check("output", &values(&pass.taps[0]));

    let upstream = golden.tensor(&case.place("upstream")).to_dtype(dtype).unwrap();
    let mut grads = Grads::zeros(network.layout(), precision);
    // The gradient enters at the operation's own value, so that taps are tried too.
    let seeds = [None, Some(upstream)];
    let gradient = engine.backward(pass.tape, &seeds, Some(&mut grads)).unwrap().unwrap();
    for (operand, part) in case.operands().into_iter().zip(&parts) {
        check(&format!("gradient_{operand}"), &part_of(&gradient, part));
    }
    check_parameters(&network, it, &grads, &check);

    engine.move_statistics(&network, &mut params, &pass.stats).unwrap();
    for (name, found) in named(params.statistics(), network.layout().statistics()) {
        check(&format!("{}_after", name.strip_prefix("it.").unwrap()), &found);
    }
}

fn check_parameters(network: &Network, it: NodeId, grads: &Grads, check: &impl Fn(&str, &[f64])) {
    for entry in network.layout().trainable().iter().filter(|entry| entry.node == it) {
        let found = grads.values().to_f64(entry.range.clone());
        check(&format!("gradient_{}", entry.name.strip_prefix("it.").unwrap()), &found);
    }
}

fn every_case(precision: Precision, tolerance: Tolerance) {
    let File { cases } = json("ops.json");
    let golden = Golden::open("ops.safetensors");
    let engine = reference(1);
    let (padded, cases): (Vec<_>, Vec<_>) = cases.into_iter().partition(Case::is_padded_pool);
    assert_eq!(padded.len(), 1, "a pool without padding is an operation of the engine");
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    for case in &cases {
        run(case, &golden, &engine, precision, tolerance);
    }
}

#[test]
fn every_operation_equals_pytorchs_in_f64() {
    every_case(Precision::F64, Tolerance { bound: 1e-10, smallest_scale: 0.0 });
}

/// Sums here have at most 75 terms of order one: a few roundings of 6e-8. Where BatchNorm sees two values per channel, its
/// gradient is what is left of two equal numbers, so nothing counts relative to less than one.
#[test]
fn every_operation_is_near_pytorchs_in_f32() {
    every_case(Precision::F32, Tolerance { bound: 2e-6, smallest_scale: 1.0 });
}
