//! Packing on the device: from parameters under PyTorch's layout to what the kernels read, once per change of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::arguments::{Address, Fold, Norm as NormArguments, NormGradient};
use super::buffer::Buffer;
use super::conv::int;
use super::device::{Device, Grid};
use super::error::DeviceError;
use super::planned::Planned;
use crate::graph::{Layout, NodeId, Role};
use crate::params::{Arena, Params};
use crate::plan::{Direction, Moments, padded};

/// f32 values of a network on the device: the arenas of its parameters and of its statistics.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) layout: &'a Layout,
    pub(super) trainable: Address,
    pub(super) statistics: Address,
}

impl Values<'_> {
    /// Where a tensor of a node begins.
    pub(super) fn at(&self, node: NodeId, role: Role) -> Address {
        let entry = self.layout.find(node, role).expect("the layout lists every parameter of its network");
        let arena = if role.is_learned() { self.trainable } else { self.statistics };
        arena + (entry.range.start * size_of::<f32>()) as Address
    }
}

/// Packed weights, folded biases, and the coefficients of normalisations whose moments are known.
pub(super) struct Packed {
    weights: Buffer,
    folds: Buffer,
    pub(super) norms: Buffer,
    bands: Buffer,
    /// Mean and deviation that the images are normalised with, one after the other.
    normalisation: Option<Buffer>,
    /// Tapes whose backward will read it.
    tapes: AtomicUsize,
}

impl Packed {
    /// Room for the packed values of a plan, with what no parameter changes.
    pub(super) fn room(
        device: &Arc<Device>,
        planned: &Planned,
        params: &Params,
    ) -> Result<Self, DeviceError> {
        let floats = |len: usize| device.zeros(len * size_of::<f32>());
        let mut packed = Self {
            weights: device.zeros(planned.weights.1)?,
            folds: floats(planned.folds.1)?,
            norms: floats(planned.norms.1)?,
            bands: floats(planned.bands.1)?,
            normalisation: match &planned.plan.steps.normalise {
                Some([mean, deviation]) => Some(device.upload(&[mean.as_slice(), deviation].concat())?),
                None => None,
            },
            tapes: AtomicUsize::new(0),
        };
        packed.constants(planned, params)?;
        Ok(packed)
    }

    /// A tape keeps it as it is.
    pub(super) fn lease(&self) {
        self.tapes.fetch_add(1, Ordering::Relaxed);
    }

    /// The tape is gone.
    pub(super) fn release(&self) {
        self.tapes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no tape keeps it, so that it may be packed anew.
    pub(super) fn is_free(&self) -> bool {
        self.tapes.load(Ordering::Relaxed) == 0
    }

    /// Constants of the network and of its file: fixed normalisations and bands.
    fn constants(&mut self, planned: &Planned, params: &Params) -> Result<(), DeviceError> {
        let device = self.norms.device().clone();
        let mut norms = vec![0.0f32; planned.norms.1];
        for (norm, &start) in planned.plan.steps.norms.iter().zip(&planned.norms.0) {
            let Moments::Fixed { scale, shift } = &norm.moments else { continue };
            let pixel = norm.pixel;
            let (forward, gradient) = (start + 4 * pixel, start + 7 * pixel);
            norms[forward + pixel..][..scale.len()].copy_from_slice(scale);
            norms[forward + 2 * pixel..][..shift.len()].copy_from_slice(shift);
            norms[gradient + pixel..][..scale.len()].copy_from_slice(scale);
        }
        device.fill(&mut self.norms, &norms)?;
        let mut bands = vec![0.0f32; planned.bands.1];
        for (&band, &start) in planned.plan.steps.bands.iter().zip(&planned.bands.0) {
            let known = |role| {
                let entry = params.layout().find(band, role).expect("a band has statistics");
                let Arena::F32(values) = params.statistics() else { unreachable!("this engine runs f32") };
                &values[entry.range.clone()]
            };
            let [mean, variance] = [Role::RunningMean, Role::RunningVar].map(known);
            let threshold = known(Role::Threshold)[0];
            let pixel = padded(mean.len());
            bands[start..][..mean.len()].copy_from_slice(mean);
            for (width, variance) in bands[start + pixel..].iter_mut().zip(variance) {
                *width = threshold * variance.sqrt();
            }
        }
        device.fill(&mut self.bands, &bands)
    }

    /// Queues the packing of these values.
    pub(super) fn pack(&self, planned: &Planned, values: Values<'_>) -> Result<(), DeviceError> {
        let device = self.weights.device();
        let kernels = device.kernels(planned.storage);
        for (index, conv) in planned.plan.steps.convs.iter().enumerate() {
            let channels = conv.shape.output[0];
            let own = if conv.bias { values.at(conv.node, Role::Bias) } else { 0 };
            let folded_bias = self.bias(planned, index);
            if let Some((norm, eps)) = conv.fold {
                let fold = Fold {
                    gamma: values.at(norm, Role::Weight),
                    beta: values.at(norm, Role::Bias),
                    mean: values.at(norm, Role::RunningMean),
                    variance: values.at(norm, Role::RunningVar),
                    bias: own,
                    scale: self.scale(planned, index),
                    folded_bias,
                    eps,
                    channels: int(channels),
                    pixel: int(padded(channels)),
                };
                kernels.launch("fold", Grid::of(padded(channels)), &fold)?;
            } else if own != 0 {
                device.copy_floats(own, folded_bias, channels)?;
            }
        }
        for (product, &(conv, direction)) in planned.plan.products.iter().enumerate() {
            self.pack_weights(planned, values, product, conv, direction)?;
        }
        self.running(planned, values)
    }

    fn pack_weights(
        &self,
        planned: &Planned,
        values: Values<'_>,
        product: usize,
        conv: usize,
        direction: Direction,
    ) -> Result<(), DeviceError> {
        let known = &planned.plan.steps.convs[conv];
        let weight = values.at(known.node, Role::Weight);
        let scale = if known.fold.is_some() { self.scale(planned, conv) } else { 0 };
        let kernels = self.weights.device().kernels(planned.storage);
        planned.convs[conv].pack(kernels, direction, (weight, scale, self.weights(planned, product)))
    }

    /// The coefficients of normalisations under running statistics.
    fn running(&self, planned: &Planned, values: Values<'_>) -> Result<(), DeviceError> {
        let kernels = self.norms.device().kernels(planned.storage);
        for (index, norm) in planned.plan.steps.norms.iter().enumerate() {
            if !matches!(norm.moments, Moments::Running) {
                continue;
            }
            let [moments, coefficients, gradient] = norm_parts(self.norms.address(), planned, index);
            let gamma = values.at(norm.node, Role::Weight);
            let forward = NormArguments {
                gamma,
                beta: values.at(norm.node, Role::Bias),
                running_mean: values.at(norm.node, Role::RunningMean),
                running_variance: values.at(norm.node, Role::RunningVar),
                coefficients,
                moments,
                eps: norm.eps,
                channels: int(norm.channels),
                pixel: int(norm.pixel),
                ..NormArguments::default()
            };
            kernels.launch("norm_running", Grid::of(norm.pixel), &forward)?;
            let back = NormGradient {
                gamma,
                moments,
                coefficients: gradient,
                channels: int(norm.channels),
                pixel: int(norm.pixel),
                ..NormGradient::default()
            };
            kernels.launch("norm_gradient", norm_grid(norm.pixel), &back)?;
        }
        Ok(())
    }

    /// The packed weights of a product.
    pub(super) fn weights(&self, planned: &Planned, product: usize) -> Address {
        self.weights.address() + planned.weights.0[product] as Address
    }

    fn scale(&self, planned: &Planned, conv: usize) -> Address {
        self.folds.address() + (planned.folds.0[conv] * size_of::<f32>()) as Address
    }

    /// The padded bias of a convolution.
    pub(super) fn bias(&self, planned: &Planned, conv: usize) -> Address {
        let pixel = padded(planned.plan.steps.convs[conv].shape.output[0]);
        self.scale(planned, conv) + (pixel * size_of::<f32>()) as Address
    }

    /// Mean and deviation that images of so many channels are normalised with.
    pub(super) fn normalisation(&self, channels: usize) -> [Address; 2] {
        let mean = self.normalisation.as_ref().map_or(0, Buffer::address);
        [mean, mean + (channels * size_of::<f32>()) as Address]
    }

    /// Centre and width of a band.
    pub(super) fn band(&self, planned: &Planned, band: usize) -> Address {
        self.bands.address() + (planned.bands.0[band] * size_of::<f32>()) as Address
    }
}

/// Moments, coefficients and the gradient's coefficients of a normalisation, in a buffer of them.
pub(super) fn norm_parts(base: Address, planned: &Planned, norm: usize) -> [Address; 3] {
    let pixel = planned.plan.steps.norms[norm].pixel;
    let at = |offset: usize| base + ((planned.norms.0[norm] + offset) * size_of::<f32>()) as Address;
    [at(0), at(4 * pixel), at(7 * pixel)]
}

/// The threads of a kernel that adds blocks' sums for every channel: 32 channels by 32 rows of blocks.
pub(super) fn norm_grid(pixel: usize) -> Grid {
    Grid { blocks: [pixel.div_ceil(32), 1, 1], threads: [32, 32], shared: 16 << 10 }
}
