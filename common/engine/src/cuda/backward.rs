//! A backward, and what becomes of the gradient of its images before its memory is used again.

use std::sync::Arc;

use candle_core::Tensor;

use super::buffer::Buffer;
use super::device::Device;
use super::held::{self, Held};
use super::pack::Values;
use super::precision::Storage;
use super::run::{Caller, Run, Seed};
use super::train;
use super::{Cuda, Kept, Left, memory};
use crate::error::EngineError;
use crate::params::Grads;

/// A backward that is queued.
pub(super) struct Back<'a> {
    pub(super) device: &'a Arc<Device>,
    pub(super) storage: Storage,
    /// The gradient of the images, `(N, C, H, W)` f32, where forward kept them.
    pub(super) image: Option<&'a Buffer>,
    /// What each image's gradient was multiplied by: a power of two.
    pub(super) scales: &'a [f32],
    /// How many images, and the shape of one.
    pub(super) count: usize,
    pub(super) shape: [usize; 3],
}

impl Cuda {
    /// Queues a backward, and hands over what it leaves.
    pub(super) fn back<R>(
        &self,
        tape: crate::Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
        then: impl FnOnce(Back) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        let mut kept: Kept = tape.into();
        kept.origin.check_backward(seeds, grads.as_deref())?;
        let mut state = self.state();
        let (device, planned, count) = (&kept.device, &kept.planned, kept.images);
        let kernels = device.kernels(planned.storage);
        let values =
            seeds.iter().map(|seed| seed.as_ref().map(|seed| seed.flatten_all()?.to_vec1()).transpose());
        let mut values: Vec<Option<Vec<f32>>> = values.collect::<candle_core::Result<_>>()?;
        // An image by itself has a scale of its own; images that meet in a sum have one together.
        let together = grads.is_some() || planned.has_batch_moments();
        let scales = scales(planned.storage, &values, count, together);
        for values in values.iter_mut().flatten() {
            multiply(values, &scales, |value, scale| value * scale);
        }
        let len = grads.as_ref().map_or(0, |grads| grads.held().len());
        let gradients = grads.map(|grads| held::write(device, grads.held_mut())).transpose()?;
        let shape = planned.plan.steps.values[0].shape;
        let storage = planned.storage;
        let back = |image| Back { device, storage, image, scales: &scales, count, shape };
        let (tape, norms) = match &mut kept.left {
            Left::Captured(passage) => {
                return then(back(passage.backward(&values, gradients.unwrap_or_default())?));
            }
            Left::Alone { tape, norms } => (&*tape, &*norms),
        };
        let upload =
            |values: &Option<Vec<f32>>| values.as_ref().map(|values| device.upload(values)).transpose();
        let given = values.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
        let scale = scales.first().copied().unwrap_or(1.0);
        let seeds: Vec<Seed> = given
            .iter()
            .map(|seed| seed.as_ref().map_or(Seed::None, |seed| Seed::Given(seed.address())))
            .collect();
        // Scaled gradients are summed beside the caller's, and added to them at their own size.
        let is_scaled = storage == Storage::F16 && gradients.is_some();
        let scaled = is_scaled.then(|| Held::zeros(device, len)).transpose()?;
        let sums = scaled.as_ref().map(Held::address).or(gradients);
        let pixels = count * shape.iter().product::<usize>();
        let image = kept.origin.keep.image().then(|| device.take(pixels * size_of::<f32>())).transpose()?;
        let scratch = state.scratch(device, planned, count, kept.origin.keep)?;
        if count > 0 {
            let run = Run {
                kernels,
                planned,
                packed: &kept.packed,
                values: Values {
                    layout: &kept.layout,
                    trainable: kept.trainable.address(),
                    statistics: kept.statistics.address(),
                },
                images: count,
                memory: memory(tape, norms, &scratch),
                caller: Caller {
                    seeds: &seeds,
                    image_gradient: image.as_ref().map_or(0, Buffer::address),
                    gradients: sums.unwrap_or_default(),
                    ..Caller::default()
                },
            };
            run.program(&planned.plan.backward)?;
            if let (Some(from), Some(to)) = (&scaled, gradients) {
                train::add(kernels, from.address(), to, 1.0 / scale, len)?;
            }
        }
        then(back(image.as_ref()))
    }
}

/// What each image's gradients are multiplied by on their way.
fn scales(storage: Storage, seeds: &[Option<Vec<f32>>], images: usize, together: bool) -> Vec<f32> {
    let mut largest = vec![0.0f32; images];
    for values in seeds.iter().flatten() {
        for (largest, row) in largest.iter_mut().zip(values.chunks((values.len() / images.max(1)).max(1))) {
            *largest = row.iter().fold(*largest, |largest, value| largest.max(value.abs()));
        }
    }
    if together {
        let all = largest.iter().copied().fold(0.0, f32::max);
        largest.fill(all);
    }
    largest.into_iter().map(|largest| storage.gradient_scale(largest)).collect()
}

/// Every image's values by its scale.
pub(super) fn multiply(values: &mut [f32], scales: &[f32], by: impl Fn(f32, f32) -> f32) {
    let each = (values.len() / scales.len().max(1)).max(1);
    for (row, &scale) in values.chunks_mut(each).zip(scales) {
        for value in row {
            *value = by(*value, scale);
        }
    }
}
