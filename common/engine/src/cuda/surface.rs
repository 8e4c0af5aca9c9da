//! The GPU engine as every engine is seen.

use std::sync::Arc;

use candle_core::{DType, Device as Host, Tensor};

use super::buffer::Buffer;
use super::conv::int;
use super::demand::{self, Demand};
use super::device::locked;
use super::graph::{Attack, Raised};
use super::held::{self, Held};
use super::pack::Values;
use super::run::{Caller, Run, Seed};
use super::train::{self, Momenta};
use super::{Cuda, Kept, Key, Left, MOST_ATTACKS, MOST_PLANS, Storage, memory, refuse_f64};
use crate::check::{check_attack, check_descend, check_follow, check_statistics};
use crate::engine::{Ascent, AttackLoss, BatchStats, Descent, Engine, Hardware, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Network, NodeId};
use crate::host;
use crate::images::Images;
use crate::params::{Grads, Params, Precision, Values as Array};

impl Engine for Cuda {
    fn name(&self) -> &'static str {
        match self.working {
            Storage::F32 => "cuda-f32",
            Storage::Tf32 => "cuda-tf32",
            Storage::Bf16 => "cuda-bf16",
            Storage::F16 => "cuda-f16",
        }
    }

    fn hardware(&self) -> Hardware {
        Hardware { device: self.device.name(), precision: self.judged.name(), room: Some(self.room) }
    }

    fn demand(&self, network: &Network, norm: Norm, keep: Keep, batch: usize) -> Option<Demand> {
        Some(demand::demand(network, norm, keep, self.storage(keep), batch, self.device.card()))
    }

    fn forward(
        &self,
        network: &Network,
        params: &Params,
        images: &Images,
        norm: Norm,
        keep: Keep,
        taps: &[NodeId],
    ) -> Result<Pass, EngineError> {
        self.pass((network, params), images, (norm, keep, self.storage(keep)), taps)
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        let mode = (Norm::Running, Keep::Nothing, self.working);
        Ok(self.pass((network, params), images, mode, &[])?.logits)
    }

    fn backward(
        &self,
        tape: crate::Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
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
        let pixels = count * shape.iter().product::<usize>();
        let answer = |image: Option<&Buffer>| {
            let Some(image) = image else { return Ok(None) };
            let mut values: Vec<f32> = device.download(image, pixels)?;
            multiply(&mut values, &scales, |value, scale| value / scale);
            let [channels, height, width] = shape;
            Ok(Some(Tensor::from_vec(values, (count, channels, height, width), &Host::Cpu)?))
        };
        let (tape, norms) = match &mut kept.left {
            Left::Captured(passage) => {
                return answer(passage.backward(&values, gradients.unwrap_or_default())?);
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
        let is_scaled = planned.storage == Storage::F16 && gradients.is_some();
        let scaled = is_scaled.then(|| Held::zeros(device, len)).transpose()?;
        let sums = scaled.as_ref().map(Held::address).or(gradients);
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
        answer(image.as_ref())
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        host::logits(self, network, params, images)
    }

    fn attack(
        &self,
        network: &Network,
        params: &Params,
        clean: &Images,
        start: &Images,
        loss: AttackLoss<'_>,
        by: Ascent,
    ) -> Result<Images, EngineError> {
        check_attack(network, params, clean, start, loss)?;
        refuse_f64(params)?;
        let (norm, keep) = (Norm::Running, Keep::ForImage);
        let (layout, outputs) = (network.layout().clone(), vec![network.output()]);
        let key = Key { layout, norm, keep, outputs, storage: self.working };
        let (device, count) = (&self.device, clean.len());
        if count == 0 || by.steps == 0 {
            return Ok(start.clone());
        }
        let mut state = self.state();
        let held = self.values(params)?;
        let (planned, packed) = self.prepare(&mut state, (network, params), &held, &key)?;
        planned.check_batch(count)?;
        if planned.wide[0].is_none() || self.working == Storage::F16 {
            drop(state);
            // Logits that no product writes come rounded to the storage, and in f16 every image's gradient wants a scale of
            // its own: the loop of the host sees to both.
            return host::attack(self, network, params, clean, start, loss, by);
        }
        let [clean, start] = [held::images(device, clean)?, held::images(device, start)?];
        let raised = Raised::of(loss);
        let goal = match loss {
            AttackLoss::Target(target) => {
                let target: Vec<f32> = target.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                device.upload(&target)?
            }
            AttackLoss::Margin(labels) | AttackLoss::Dlr(labels) => {
                device.upload(&labels.iter().map(|&label| int(label)).collect::<Vec<i32>>())?
            }
        };
        // Not held while one is captured: what that wants of memory may come from the others.
        let known = {
            let mut attacks = locked(&self.graphs.attacks);
            let place = attacks.iter().position(|attack| attack.fits(&planned, &packed, count, by, raised));
            place.map(|place| attacks.remove(place))
        };
        let attack = match known {
            Some(attack) => attack,
            None => Attack::capture(device, network.layout(), &planned, &packed, count, by, raised)?,
        };
        let result = attack.launch([clean.address(), start.address()], goal.address());
        let mut attacks = locked(&self.graphs.attacks);
        attacks.push(attack);
        if attacks.len() > MOST_ATTACKS {
            attacks.remove(0);
        }
        drop(attacks);
        let [channels, height, width] = network.input();
        let shape = [count, channels, height, width];
        Ok(Images::elsewhere(Arc::new(result?), shape, Precision::F32))
    }

    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
        if grads.held().precision() != Precision::F32 {
            host::clear(grads);
            return Ok(());
        }
        let _state = self.state();
        Ok(held::clear(&self.device, grads.held_mut())?)
    }

    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Array,
        by: Descent,
    ) -> Result<(), EngineError> {
        check_descend(params, grads, velocity)?;
        refuse_f64(params)?;
        let _state = self.state();
        Ok(train::descend(&self.device, self.working, params, grads.held(), velocity, by)?)
    }

    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError> {
        let Some(batch) = &batch.values else { return Ok(()) };
        check_statistics(network, params, batch)?;
        refuse_f64(params)?;
        let mut state = self.state();
        let known = state.momenta.iter().position(|momenta| Arc::ptr_eq(&momenta.layout, network.layout()));
        let momenta = match known {
            Some(index) => state.momenta.remove(index),
            None => Momenta::new(&self.device, network)?,
        };
        let moved =
            train::move_statistics(&self.device, self.working, &momenta, params.held_statistics_mut(), batch);
        state.momenta.push(momenta);
        if state.momenta.len() > MOST_PLANS {
            state.momenta.remove(0);
        }
        for counter in params.batches_tracked_mut() {
            *counter += 1;
        }
        Ok(moved?)
    }

    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
        check_follow(average, student)?;
        refuse_f64(student)?;
        let _state = self.state();
        let (device, storage) = (&self.device, self.working);
        train::follow(device, storage, average.held_trainable_mut(), student.held_trainable(), decay)?;
        train::follow(device, storage, average.held_statistics_mut(), student.held_statistics(), decay)?;
        average.batches_tracked_mut().copy_from_slice(student.batches_tracked());
        Ok(())
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
fn multiply(values: &mut [f32], scales: &[f32], by: impl Fn(f32, f32) -> f32) {
    let each = (values.len() / scales.len().max(1)).max(1);
    for (row, &scale) in values.chunks_mut(each).zip(scales) {
        for value in row {
            *value = by(*value, scale);
        }
    }
}
