//! The fast engines against the reference in f64: every kind of node, every mode, every thing that a forward may keep.
//!
//! What whole architectures round to is tested beside PyTorch's own rounding, in `golden_networks`.

mod album;
mod climb;
mod gpu;
mod independence;
mod nodes;
mod outline;
mod passes;
mod refusals;

use candle_core::{DType, Device, Tensor};
use engine::params::{Arena, Grads, Precision, Role};
use engine::{Engine, Keep, Network, NodeId, Norm, Params};
use method::init::initialise;
use method::rng::{Purpose, Stream};
use rslad_tests::values;
use zoo::Init;

/// Uniform values in [0, 1) from a stream of their own, all of them f32.
fn uniform(stream: usize, count: usize) -> Vec<f64> {
    let mut values = vec![0.0; count];
    Stream::new(7, Purpose::Eval, 0, stream).uniforms(&mut values);
    values.into_iter().map(|value| f64::from(value as f32)).collect()
}

fn tensor(stream: usize, shape: &[usize], precision: Precision) -> Tensor {
    let dtype = if precision == Precision::F64 { DType::F64 } else { DType::F32 };
    let values = uniform(stream, shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// Values that are not those of a fresh network: statistics, scales and shifts off 0 and 1; the same in both precisions.
fn drawn(network: &Network) -> Params {
    let mut params = initialise(network, Init::PyTorch, 1, Precision::F64);
    let layout = network.layout().clone();
    for (number, entry) in layout.trainable().iter().enumerate().filter(|(_, entry)| entry.fan_in == 0) {
        let centre = if entry.role == Role::Weight { 0.75 } else { -0.25 };
        for (place, value) in entry.range.clone().zip(uniform(100 + number, entry.range.len())) {
            params.trainable_mut().set(place, centre + 0.5 * value);
        }
    }
    for (number, entry) in layout.statistics().iter().enumerate() {
        let centre = match entry.role {
            Role::RunningVar | Role::Threshold => 0.75,
            _ => -0.25,
        };
        for (place, value) in entry.range.clone().zip(uniform(900 + number, entry.range.len())) {
            params.statistics_mut().set(place, centre + 0.5 * value);
        }
    }
    params.to_precision(Precision::F32).to_precision(Precision::F64)
}

/// What a forward and a backward gave.
struct Found {
    outputs: Vec<Tensor>,
    image: Option<Tensor>,
    grads: Grads,
    /// The parameters with running statistics moved.
    moved: Params,
}

/// The images `ids` through the network, and back from the logits and the taps where anything was kept. An image and its
/// gradient at an output are the same in every batch.
fn run(
    engine: &dyn Engine,
    network: &Network,
    params: &Params,
    ids: &[usize],
    (norm, keep): (Norm, Keep),
    taps: &[NodeId],
) -> Found {
    let of_images = |stream: usize, shape: &[usize]| {
        let each: Vec<Tensor> = ids
            .iter()
            .map(|id| tensor(stream + 10 * id, shape, params.precision()).unsqueeze(0).unwrap())
            .collect();
        Tensor::cat(&each, 0).unwrap()
    };
    let images = of_images(1, &network.input()).into();
    let pass = engine.forward(network, params, &images, norm, keep, taps).unwrap();
    let outputs: Vec<Tensor> = std::iter::once(pass.logits).chain(pass.taps).collect();
    let seeds: Vec<Option<Tensor>> = outputs
        .iter()
        .enumerate()
        .map(|(i, output)| Some((of_images(1000 + i, &output.dims()[1..]) - 0.5).unwrap()))
        .collect();
    let mut moved = params.clone();
    engine.move_statistics(network, &mut moved, &pass.stats).unwrap();
    // Cleared of what nobody may see again.
    let mut grads = Grads::zeros(network.layout(), params.precision());
    grads.values_mut().fill(0..network.layout().trainable_len(), f64::NAN);
    engine.clear(&mut grads).unwrap();
    let wanted = keep.params().then_some(&mut grads);
    let image = match keep {
        Keep::Nothing => None,
        _ => engine.backward(pass.tape, &seeds, wanted).unwrap(),
    };
    assert_eq!(image.is_some(), keep.image());
    Found { outputs, image, grads, moved }
}

fn all(arena: &Arena) -> Vec<f64> {
    arena.to_f64(0..arena.len())
}

/// The norm of the difference, relative to the truth's.
fn apart(found: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let size: f64 = truth.iter().map(|v| v * v).sum();
    let error: f64 = found.iter().zip(truth).map(|(a, b)| (a - b).powi(2)).sum();
    if error == 0.0 { 0.0 } else { (error / size).sqrt() }
}

/// Everything that a run gave, by name.
fn parts(found: &Found, network: &Network) -> Vec<(String, Vec<f64>)> {
    let outputs = found.outputs.iter().enumerate().map(|(i, output)| (format!("output {i}"), values(output)));
    let image = found.image.iter().map(|image| ("image".into(), values(image)));
    let statistics = ("statistics".to_owned(), all(found.moved.statistics()));
    let gradients = network
        .layout()
        .trainable()
        .iter()
        .map(|entry| (entry.name.clone(), found.grads.values().to_f64(entry.range.clone())));
    outputs.chain(image).chain([statistics]).chain(gradients).collect()
}
