//! Packing: from parameters under PyTorch's layout to what the kernels read, once per change of the parameters.

use rayon::prelude::*;

use super::kernel::norm::{self, BatchMoments, Learned};
use super::planned::Planned;
use super::vector::memory::{Buffer, Spare};
use super::vector::simd::padded;
use crate::graph::NodeId;
use crate::params::{Arena, Params, Role};
use crate::plan::{Moments, Norm};

/// Packed weights, folded biases, and the coefficients of normalisations.
pub(crate) struct Packed {
    weights: Buffer,
    biases: Vec<f32>,
    norms: Vec<PackedNorm>,
    bands: Vec<[Vec<f32>; 2]>,
}

/// A normalisation's learned values, and what follows from its running statistics where it uses them.
#[derive(Clone, Default)]
pub(crate) struct PackedNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    eps: f64,
    pub(crate) known: NormState,
}

/// The moments of a normalisation, with the coefficients that its kernels read.
#[derive(Clone, Default)]
pub(crate) struct NormState {
    pub(crate) moments: BatchMoments,
    /// Of [`norm::affine`].
    pub(crate) forward: Vec<f32>,
    /// Of [`norm::affine_gradient`].
    pub(crate) gradient: Vec<f32>,
}

impl PackedNorm {
    pub(crate) fn learned(&self) -> Learned<'_> {
        Learned { gamma: &self.gamma, beta: &self.beta, eps: self.eps }
    }
}

impl Packed {
    /// Packs for a plan; runs on the current thread pool.
    pub(crate) fn new(planned: &Planned, params: &Params, spare: &Spare) -> Self {
        let known = Known { params };
        let folds: Vec<Option<Fold>> = planned
            .plan
            .steps
            .convs
            .iter()
            .map(|conv| conv.fold.map(|(node, eps)| known.fold(node, eps)))
            .collect();
        let mut weights = spare.take(planned.packed_len);
        let mut rest = &mut weights[..planned.packed_len];
        let mut places = Vec::new();
        for product in &planned.products {
            let (into, behind) = rest.split_at_mut(padded(product.kernel.packed_len()));
            places.push((product, into));
            rest = behind;
        }
        places.into_par_iter().with_max_len(1).for_each(|(product, into)| {
            let conv = &planned.plan.steps.convs[product.conv];
            let scale = folds[product.conv].as_ref().map(|fold| fold.scale.as_slice());
            let into = &mut into[..product.kernel.packed_len()];
            product.kernel.pack(known.get(conv.node, Role::Weight), scale, into);
        });
        let mut biases = vec![0.0; planned.biases.1];
        for (index, conv) in planned.plan.steps.convs.iter().enumerate() {
            let into = &mut biases[planned.biases.0[index]..][..conv.shape.output[0]];
            if conv.bias {
                into.copy_from_slice(known.get(conv.node, Role::Bias));
            }
            if let Some(fold) = &folds[index] {
                for (channel, bias) in into.iter_mut().enumerate() {
                    *bias = *bias * fold.scale[channel] + fold.shift[channel];
                }
            }
        }
        let norms = planned.plan.steps.norms.iter().map(|norm| known.norm(norm)).collect();
        let bands = planned.plan.steps.bands.iter().map(|&node| known.band(node)).collect();
        Self { weights, biases, norms, bands }
    }

    /// The packed weights of a product.
    pub(crate) fn weights(&self, planned: &Planned, product: usize) -> &[f32] {
        let product = &planned.products[product];
        &self.weights[product.start..][..product.kernel.packed_len()]
    }

    /// The padded bias of a convolution.
    pub(crate) fn bias(&self, planned: &Planned, conv: usize) -> &[f32] {
        &self.biases[planned.biases.0[conv]..][..padded(planned.plan.steps.convs[conv].shape.output[0])]
    }

    pub(crate) fn norm(&self, norm: usize) -> &PackedNorm {
        &self.norms[norm]
    }

    /// Mean and half width of a band, a value of each per padded channel.
    pub(crate) fn band(&self, band: usize) -> &[Vec<f32>; 2] {
        &self.bands[band]
    }

    /// Gives the large buffer back for the next packing.
    pub(crate) fn recycle(self, spare: &Spare) {
        spare.put(self.weights);
    }
}

/// BatchNorm under its running statistics, as `x * scale + shift`.
struct Fold {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Parameters in f32, by node and role.
struct Known<'a> {
    params: &'a Params,
}

impl<'a> Known<'a> {
    fn get(&self, node: NodeId, role: Role) -> &'a [f32] {
        let entry =
            self.params.layout().find(node, role).expect("the layout lists every parameter of its network");
        let arena = if role.is_learned() { self.params.trainable() } else { self.params.statistics() };
        match arena {
            Arena::F32(values) => &values[entry.range.clone()],
            Arena::F64(_) => unreachable!("the engine refuses f64 before it packs"),
        }
    }

    /// A width of 0 in the padding: nothing lies inside it.
    fn band(&self, node: NodeId) -> [Vec<f32>; 2] {
        let [mean, variance, threshold] =
            [Role::RunningMean, Role::RunningVar, Role::Threshold].map(|role| self.get(node, role));
        let spread = |values: &mut dyn Iterator<Item = f32>| {
            let mut spread: Vec<f32> = values.collect();
            spread.resize(padded(mean.len()), 0.0);
            spread
        };
        let widths = &mut variance.iter().map(|variance| threshold[0] * variance.sqrt());
        [spread(&mut mean.iter().copied()), spread(widths)]
    }

    fn fold(&self, node: NodeId, eps: f64) -> Fold {
        let [gamma, beta, mean, variance] =
            [Role::Weight, Role::Bias, Role::RunningMean, Role::RunningVar].map(|role| self.get(node, role));
        let scale: Vec<f64> = gamma
            .iter()
            .zip(variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + eps).sqrt())
            .collect();
        let shift = (0..scale.len()).map(|i| (f64::from(beta[i]) - f64::from(mean[i]) * scale[i]) as f32);
        Fold { shift: shift.collect(), scale: scale.iter().map(|&scale| scale as f32).collect() }
    }

    fn norm(&self, norm: &Norm) -> PackedNorm {
        let mut packed = PackedNorm { eps: norm.eps, ..PackedNorm::default() };
        let mut moments = BatchMoments::default();
        if let Moments::Fixed { scale, shift } = &norm.moments {
            // A normalisation about 0 with deviation 1.
            let channels = norm.channels;
            (packed.gamma, packed.beta, packed.eps) = (scale.clone(), shift.clone(), 0.0);
            moments.of_running(&vec![0.0; channels], &vec![1.0; channels]);
        } else {
            packed.gamma = self.get(norm.node, Role::Weight).to_vec();
            packed.beta = self.get(norm.node, Role::Bias).to_vec();
            if matches!(norm.moments, Moments::Batch) {
                return packed;
            }
            let [mean, variance] =
                [Role::RunningMean, Role::RunningVar].map(|role| self.get(norm.node, role));
            moments.of_running(mean, variance);
        }
        let mut forward = vec![0.0; norm::coefficients_len(norm.pixel)];
        moments.coefficients(packed.learned(), &mut forward);
        let mut gradient = vec![0.0; norm::gradient_coefficients_len(norm.pixel)];
        let nobody = &mut vec![0.0; norm.channels][..];
        let no_sums = vec![0.0; 2 * norm.pixel];
        moments.gradients(
            &no_sums,
            norm::Moments::Running,
            packed.learned(),
            [nobody, &mut vec![0.0; norm.channels]],
            &mut gradient,
        );
        packed.known = NormState { moments, forward, gradient };
        packed
    }
}
