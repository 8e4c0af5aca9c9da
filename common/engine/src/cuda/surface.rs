//! The GPU engine as every engine is seen.

use std::sync::Arc;

use candle_core::{DType, Device as Host, Tensor};

use super::album;
use super::backward::multiply;
use super::climb;
use super::conv::int;
use super::demand::{self, Demand};
use super::device::locked;
use super::graph::{Attack, Raised};
use super::held;
use super::train::{self, Momenta};
use super::{Cuda, Key, MOST_ATTACKS, MOST_PLANS, Storage, refuse_f64};
use crate::album::{Album, Cutting};
use crate::check::{check_attack, check_descend, check_follow, check_statistics};
use crate::climb::{Climbed, Climbers, Stride};
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
        self.back(tape, seeds, grads, |back| {
            let Some(image) = back.image else { return Ok(None) };
            let [channels, height, width] = back.shape;
            let mut values: Vec<f32> = back.device.download(image, back.count * channels * height * width)?;
            multiply(&mut values, back.scales, |value, scale| value / scale);
            Ok(Some(Tensor::from_vec(values, (back.count, channels, height, width), &Host::Cpu)?))
        })
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

    fn climb(
        &self,
        tape: crate::Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError> {
        self.back(tape, &[Some(slopes.clone())], None, |back| climb::climb(&back, from, by))
    }

    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
        climb::gather(&self.device, self.working, rows)
    }

    fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError> {
        album::cut(&self.device, self.working, album, views)
    }

    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
        held::shift(&self.device, self.working, images, offsets, by)
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
