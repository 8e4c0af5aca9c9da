//! Initial values, drawn per tensor: the same for every machine and number of threads.

use engine::params::{Precision, Role};
use engine::{Network, Params};
use zoo::Init;

use crate::rng::{Purpose, Stream};

/// Fresh parameters: BatchNorm at scale 1 and shift 0, everything else drawn under `seed`.
///
/// Tensor t of the layout takes its values from stream (init, 0, t), row-major, computed in f64 and rounded.
pub fn initialise(network: &Network, init: Init, seed: u64, precision: Precision) -> Params {
    let layout = network.layout().clone();
    let mut params = Params::zeros(&layout, precision);
    let arena = params.trainable_mut();
    for (tensor, entry) in layout.trainable().iter().enumerate() {
        let stream = Stream::new(seed, Purpose::Init, 0, tensor);
        let mut values = vec![0.0; entry.range.len()];
        let is_conv = entry.shape.len() == 4;
        match (init, entry.role, entry.fan_in) {
            (_, Role::Weight, 0) => values.fill(1.0),
            (_, _, 0) | (Init::WideResNet, Role::Bias, _) => {}
            (Init::WideResNet, Role::Weight, _) if is_conv => {
                let deviation = (2.0 / (entry.shape[2] * entry.shape[3] * entry.shape[0]) as f64).sqrt();
                stream.normals(&mut values);
                for value in &mut values {
                    *value *= deviation;
                }
            }
            (_, _, fan_in) => {
                let bound = 1.0 / (fan_in as f64).sqrt();
                stream.uniforms(&mut values);
                for value in &mut values {
                    *value = bound * (2.0 * *value - 1.0);
                }
            }
        }
        for (place, value) in entry.range.clone().zip(values) {
            arena.set(place, value);
        }
    }
    params
}
