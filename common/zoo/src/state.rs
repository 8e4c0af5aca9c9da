//! Parameters from and to named tensors, under PyTorch's names.

use std::borrow::Cow;

use engine::params::{Arena, Precision};
use engine::{Network, Params};
use weights::{Dtype, Mismatch, StateDict, Wanted};

/// What a network wants of a file: parameters, statistics, and counters where they are there.
pub(super) fn wanted(network: &Network) -> Vec<Wanted> {
    let layout = network.layout();
    let tensors = layout.trainable().iter().chain(layout.statistics());
    let counter = |name: &String| Wanted { name: name.clone(), shape: vec![], optional: true };
    tensors
        .map(|entry| Wanted { name: entry.name.clone(), shape: entry.shape.clone(), optional: false })
        .chain(layout.counters().iter().map(counter))
        .collect()
}

/// Lays a state dict, names as they are, into fresh parameters.
pub fn fill(network: &Network, state: &StateDict, precision: Precision) -> Result<Params, Mismatch> {
    let wanted = wanted(network);
    Ok(lay(network, weights::fit(state, &wanted)?, precision))
}

/// Fresh parameters with tensors laid in, each by its place among what the network [`wanted`].
pub(super) fn lay<'t>(
    network: &Network,
    tensors: impl IntoIterator<Item = (usize, &'t weights::TensorData)>,
    precision: Precision,
) -> Params {
    let layout = network.layout();
    let mut params = Params::zeros(layout, precision);
    let (trainable, statistics) = (layout.trainable().len(), layout.statistics().len());
    for (index, tensor) in tensors {
        if index < trainable {
            copy(tensor, params.trainable_mut(), layout.trainable()[index].range.start);
        } else if index < trainable + statistics {
            copy(tensor, params.statistics_mut(), layout.statistics()[index - trainable].range.start);
        } else {
            params.batches_tracked_mut()[index - trainable - statistics] = tensor.to_f64()[0] as i64;
        }
    }
    params
}

fn copy(tensor: &weights::TensorData, arena: &mut Arena, start: usize) {
    match arena {
        Arena::F32(values) => {
            let from = tensor.to_f32();
            values[start..start + from.len()].copy_from_slice(&from);
        }
        Arena::F64(values) => {
            let from = tensor.to_f64();
            values[start..start + from.len()].copy_from_slice(&from);
        }
    }
}

/// A named tensor to be written.
pub type NamedTensor<'a> = (String, Dtype, Vec<usize>, Cow<'a, [u8]>);

/// Every parameter, statistic and counter under PyTorch's names, as `state_dict()` would list them.
pub fn tensors(params: &Params) -> impl Iterator<Item = NamedTensor<'_>> {
    let layout = params.layout();
    let counters = layout.counters().iter().zip(params.batches_tracked());
    named(params.trainable(), layout.trainable(), "")
        .chain(named(params.statistics(), layout.statistics(), ""))
        .chain(
            counters
                .map(|(name, count)| (name.clone(), Dtype::I64, vec![], count.to_le_bytes().to_vec().into())),
        )
}

/// The tensors of an arena, their names behind `prefix`.
pub fn named<'a>(
    arena: &'a Arena,
    entries: &'a [engine::params::Entry],
    prefix: &'a str,
) -> impl Iterator<Item = NamedTensor<'a>> {
    entries.iter().map(move |entry| {
        let range = entry.range.clone();
        let (dtype, bytes): (_, &[u8]) = match arena {
            Arena::F32(values) => (Dtype::F32, bytemuck::cast_slice(&values[range])),
            Arena::F64(values) => (Dtype::F64, bytemuck::cast_slice(&values[range])),
        };
        (format!("{prefix}{}", entry.name), dtype, entry.shape.clone(), bytes.into())
    })
}
