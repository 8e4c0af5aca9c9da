//! The CPU engine as every engine is seen: its passes, and the host's arithmetic for the rest.

use candle_core::{Device, Tensor};

use super::run::{Caller, Gradients};
use super::vector::simd::InstructionSet;
use super::{Cpu, Kept, values_of};
use crate::album::{Album, Cutting};
use crate::climb::{Climbed, Climbers, Stride};
use crate::cuda::Demand;
use crate::engine::{Ascent, AttackLoss, BatchStats, Descent, Engine, Hardware, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Network, NodeId};
use crate::host;
use crate::images::Images;
use crate::params::{Arena, Grads, Params, Values};

impl Engine for Cpu {
    fn name(&self) -> &'static str {
        match self.isa.set() {
            InstructionSet::Avx512 => "cpu-avx512",
            InstructionSet::Avx2 => "cpu-avx2",
            InstructionSet::Neon => "cpu-neon",
            InstructionSet::Portable => "cpu-portable",
        }
    }

    fn hardware(&self) -> Hardware {
        Hardware::processor()
    }

    fn demand(&self, _: &Network, _: Norm, _: Keep, _: usize) -> Option<Demand> {
        None
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
        let precise = self.precise(keep == Keep::Nothing);
        self.pass(network, params, images, (norm, keep, precise), taps)
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        host::logits(self, network, params, images)
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        let mode = (Norm::Running, Keep::Nothing, self.precise(false));
        Ok(self.pass(network, params, images, mode, &[])?.logits)
    }

    fn backward(
        &self,
        tape: crate::Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
        let mut kept: Kept = tape.into();
        kept.origin.check_backward(seeds, grads.as_deref())?;
        let seeds: Vec<Option<Vec<f32>>> =
            seeds.iter().map(|seed| seed.as_ref().map(values_of).transpose()).collect::<Result<_, _>>()?;
        let [channels, height, width] = kept.plan.plan.steps.values[0].shape;
        let image = if kept.origin.keep.image() { kept.images * channels * height * width } else { 0 };
        let mut image = vec![0.0; image];
        let gradients = grads.map(|grads| {
            let layout = grads.layout().clone();
            let (Arena::F32(values), begun) = grads.for_backward() else {
                unreachable!("a forward in f32 has gradients in f32")
            };
            Gradients::new(values, layout, begun)
        });
        let caller = Caller { seeds: &seeds, image_gradient: &mut image, gradients, ..Caller::default() };
        self.run(&mut kept, caller, |plan| &plan.backward);
        if !kept.origin.keep.image() {
            return Ok(None);
        }
        Ok(Some(Tensor::from_vec(image, (kept.images, channels, height, width), &Device::Cpu)?))
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
        host::attack(self, network, params, clean, start, loss, by)
    }

    fn climb(
        &self,
        tape: crate::Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError> {
        host::climb(self, tape, slopes, from, by)
    }

    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
        host::gather(rows)
    }

    fn cut(&self, _: &Album<'_>, _: &[Cutting]) -> Result<Option<Images>, EngineError> {
        Ok(None)
    }

    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
        host::shift(images, offsets, by)
    }

    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
        host::clear(grads);
        Ok(())
    }

    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Values,
        by: Descent,
    ) -> Result<(), EngineError> {
        host::descend(params, grads, velocity, by)
    }

    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError> {
        host::move_statistics(network, params, batch)
    }

    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
        host::follow(average, student, decay)
    }
}
