//! The networks and inputs of `networks.json`: the same numbers that its script gave to PyTorch, from the same draws.

use candle_core::{DType, Device, Tensor};
use engine::graph::{Builder, Op};
use engine::params::{Arena, Entry, Precision, Role};
use engine::{Network, Params};
use method::init::initialise;
use method::rng::{Purpose, Stream};
use serde::Deserialize;
use zoo::Task;

/// `networks.json`.
#[derive(Deserialize)]
pub struct Cases {
    /// Every architecture.
    pub networks: Vec<Case>,
    /// What networks cost.
    pub costs: Vec<Cost>,
}

/// One architecture, as PyTorch knows it.
#[derive(Deserialize)]
pub struct Case {
    /// Its name in the zoo.
    pub architecture: String,
    /// Channels, height, width.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Keys all draws.
    pub seed: u64,
    /// Names of the parameters, in PyTorch's order.
    pub parameters: Vec<String>,
    /// Names of running means and variances, in PyTorch's order.
    pub statistics: Vec<String>,
    /// Names of the whole state dict.
    pub state: Vec<String>,
    /// How far PyTorch's own f32 gradients are from its f64 ones.
    pub f32_error: Modes<RoundingErrors>,
}

/// One value for each mode of BatchNorm.
#[derive(Deserialize)]
pub struct Modes<T> {
    /// On running statistics.
    pub eval: T,
    /// On the batch's own statistics.
    pub train: T,
}

/// Norm of the difference over the norm, per batch.
#[derive(Deserialize)]
pub struct RoundingErrors {
    /// Of the image gradient.
    pub image: Vec<f64>,
    /// Of all parameter gradients together.
    pub parameters: Vec<f64>,
}

/// What PyTorch counts for one image.
#[derive(Deserialize)]
pub struct Cost {
    /// Its name in the zoo.
    pub architecture: String,
    /// Channels, height, width.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Multiply-accumulates of convolutions and fully connected layers.
    pub macs: u64,
    /// Trainable parameters.
    pub parameters: u64,
}

// The second word of the counter tells the streams of these tests apart.
const PERTURBED: usize = 7;
const IMAGES: usize = 11;
const UPSTREAM: usize = 13;

/// The network of a case and its values: initial ones, BatchNorm moved off its trivial ones, all rounded to f32 and held in f64.
pub fn prepared(case: &Case) -> (Network, Params) {
    let task = Task { input: case.input, classes: case.classes };
    let (row, network) = zoo::build(&case.architecture, task).expect("the zoo has every golden network");
    let network = with_f32_constants(&network);
    let mut params = initialise(&network, row.init, case.seed, Precision::F64);
    for (number, name) in case.state.iter().enumerate() {
        let layout = network.layout().clone();
        let mut known = layout.trainable().iter().chain(layout.statistics());
        let Some(entry) = known.find(|entry| entry.name == *name && entry.fan_in == 0) else { continue };
        let stream = Stream::new(case.seed, Purpose::Eval, PERTURBED, number);
        let drawn = perturbed(entry.role, &stream, entry.range.len());
        let arena = match entry.role {
            Role::Weight | Role::Bias => params.trainable_mut(),
            _ => params.statistics_mut(),
        };
        for (place, value) in entry.range.clone().zip(drawn) {
            arena.set(place, value);
        }
    }
    (network, params.to_precision(Precision::F32).to_precision(Precision::F64))
}

fn perturbed(role: Role, stream: &Stream, count: usize) -> Vec<f64> {
    let mut values = vec![0.0; count];
    match role {
        Role::RunningMean => stream.normals(&mut values),
        _ => stream.uniforms(&mut values),
    }
    for value in &mut values {
        *value = match role {
            Role::RunningMean => 0.1 * *value,
            Role::RunningVar => 1.0 + 0.5 * *value,
            Role::Weight => 1.0 + 0.2 * (2.0 * *value - 1.0),
            Role::Bias => 0.1 * (2.0 * *value - 1.0),
            Role::Threshold => 0.01 + 0.04 * *value,
            Role::UpdateFlag | Role::BatchNumber => 0.0,
        };
    }
    values
}

/// The same network with its normalisation rounded to f32, as every other number that goes in.
fn with_f32_constants(network: &Network) -> Network {
    let (mut builder, _) = Builder::new(network.input());
    for node in &network.nodes()[1..] {
        let round = |values: &[f64]| values.iter().map(|&value| f64::from(value as f32)).collect();
        let op = match &node.op {
            Op::Normalize { mean, std } => Op::Normalize { mean: round(mean), std: round(std) },
            op => op.clone(),
        };
        builder.node(&node.name, op, &node.inputs).expect("a network can be built again");
    }
    builder.finish(network.architecture()).expect("a network can be built again")
}

/// Images `(N, C, H, W)`, uniform in [0, 1): f32 values held in f64.
pub fn images(case: &Case, ids: &[usize]) -> Tensor {
    let [channels, height, width] = case.input;
    let draw = |stream: Stream, values: &mut [f64]| stream.uniforms(values);
    rows(case.seed, IMAGES, ids, &[channels, height, width], draw)
}

/// The gradient `(N, K)` at the logits, normals: f32 values held in f64.
pub fn upstream(case: &Case, ids: &[usize]) -> Tensor {
    rows(case.seed, UPSTREAM, ids, &[case.classes], |stream, values| stream.normals(values))
}

fn rows(seed: u64, epoch: usize, ids: &[usize], shape: &[usize], draw: fn(Stream, &mut [f64])) -> Tensor {
    let mut all = vec![0.0; ids.len() * shape.iter().product::<usize>()];
    for (values, &id) in all.chunks_mut(shape.iter().product()).zip(ids) {
        draw(Stream::new(seed, Purpose::Eval, epoch, id), values);
        for value in values {
            *value = f64::from(*value as f32);
        }
    }
    let shape: Vec<usize> = std::iter::once(ids.len()).chain(shape.iter().copied()).collect();
    Tensor::from_vec(all, shape, &Device::Cpu).expect("a row per image")
}

/// The tensors of an arena by name, row-major, widened.
pub fn named(arena: &Arena, entries: &[Entry]) -> Vec<(String, Vec<f64>)> {
    entries.iter().map(|entry| (entry.name.clone(), arena.to_f64(entry.range.clone()))).collect()
}

/// The values of a tensor, row-major, widened.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all()?.to_vec1());
    flat.expect("a tensor on the CPU can be read")
}
