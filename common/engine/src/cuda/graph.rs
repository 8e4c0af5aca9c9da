//! A whole attack as one graph: captured once for a network, a batch size and a threat; launched with one call.

use std::sync::Arc;

use super::arguments::{Address, PgdStep, Slope};
use super::buffer::Buffer;
use super::conv::int;
use super::device::{Device, Grid, failed};
use super::error::DeviceError;
use super::held::Held;
use super::pack::{Packed, Values};
use super::planned::Planned;
use super::run::{Caller, Memory, Run, Seed, parts_bytes};
use crate::engine::Ascent;
use crate::graph::Layout;
use crate::plan::{Action, Slot, padded};

/// Launches that were captured.
pub(super) struct Graph(pub(super) cudarc::driver::CudaGraph);

// SAFETY: the engine's lock is held while a graph is used or dropped.
#[allow(unsafe_code)]
unsafe impl Send for Graph {}

impl Graph {
    /// Queues all of them.
    pub(super) fn launch(&self, device: &Device) -> Result<(), DeviceError> {
        device.called();
        self.0.launch().map_err(failed("cuGraphLaunch"))
    }
}

/// An attack of fixed sizes with all its memory.
pub(super) struct Attack {
    planned: Arc<Planned>,
    packed: Arc<Packed>,
    images: usize,
    by: Ascent,
    /// f32 `(N, C, H, W)`: where the attack stands, and the images it started from.
    adversarial: Buffer,
    clean: Buffer,
    /// f32 `(N, K)`.
    target: Buffer,
    /// What its kernels work in, for as long as they may run.
    #[allow(dead_code, reason = "kept for its addresses")]
    memory: Vec<Buffer>,
    graph: Graph,
}

impl Drop for Attack {
    fn drop(&mut self) {
        // A graph must not go while it runs; a device that does not answer runs nothing.
        let _ = self.adversarial.device().synchronize();
    }
}

impl Attack {
    /// Whether it is this one.
    pub(super) fn fits(
        &self,
        planned: &Arc<Planned>,
        packed: &Arc<Packed>,
        images: usize,
        by: Ascent,
    ) -> bool {
        Arc::ptr_eq(&self.planned, planned)
            && Arc::ptr_eq(&self.packed, packed)
            && self.images == images
            && self.by == by
    }

    /// Captures it. The plan's logits must come in f32 (`planned.wide[0]`).
    pub(super) fn capture(
        device: &Arc<Device>,
        layout: &Layout,
        planned: &Arc<Planned>,
        packed: &Arc<Packed>,
        images: usize,
        by: Ascent,
    ) -> Result<Self, DeviceError> {
        let kernels = device.kernels(planned.storage);
        let steps = &planned.plan.steps;
        let [channels, height, width] = steps.values[0].shape;
        let (places, classes) = (height * width, steps.value(steps.outputs[0]).shape[0]);
        let (pixels, row) = (images * channels * places, padded(classes));
        let floats = |count: usize| device.take(count * size_of::<f32>());
        let [adversarial, clean, target] = [floats(pixels)?, floats(pixels)?, floats(images * classes)?];
        let tape = device.take(planned.plan.tape_len * images)?;
        let batch = device.take(planned.plan.batch_len * images)?;
        let parts = device.take(parts_bytes(kernels.processors(), planned, images))?;
        let wide = floats(images * row)?;
        let [outputs, wides] = [[0], [wide.address()]];
        let run = Run {
            kernels,
            planned,
            packed,
            values: Values { layout, trainable: 0, statistics: 0 },
            images,
            memory: Memory { tape: tape.address(), norms: 0, batch: batch.address(), parts: parts.address() },
            caller: Caller {
                images: adversarial.address(),
                outputs: &outputs,
                wide: &wides,
                seeds: &[Seed::Placed],
                ..Caller::default()
            },
        };
        let slope = Slope {
            logits: wide.address(),
            target: target.address(),
            seed: run.at(seed_slot(planned)),
            weight: 1.0,
            images: int(images),
            classes: int(classes),
            pixel: int(row),
            ..Slope::default()
        };
        let step = PgdStep {
            x: adversarial.address(),
            clean: clean.address(),
            gradient: run.at(gradient_slot(planned)),
            step: by.step_size as f32,
            eps: by.eps as f32,
            count: int(images),
            channels: int(channels),
            places: int(places),
            pixel: int(padded(channels)),
            ..PgdStep::default()
        };
        let queue = || {
            for _ in 0..by.steps {
                run.program(&planned.plan.forward)?;
                let warps = Grid { blocks: [images.div_ceil(8), 1, 1], threads: [256, 1], shared: 0 };
                kernels.launch("slope_target", warps, &slope)?;
                run.program(&planned.plan.backward)?;
                kernels.launch("pgd_step", Grid::of(images * places), &step)?;
            }
            Ok(())
        };
        // Functions are looked up by their names at their first launch, which a capture forbids: so one runs before.
        queue()?;
        let graph = device.capture(queue)?;
        let memory = vec![tape, batch, parts, wide];
        let (planned, packed) = (planned.clone(), packed.clone());
        Ok(Self { planned, packed, images, by, adversarial, clean, target, memory, graph })
    }

    /// Queues it from clean images and starts, on targets of the host; gives where it ends.
    pub(super) fn launch(&self, [clean, start]: &[Address; 2], target: &[f32]) -> Result<Held, DeviceError> {
        let device = self.adversarial.device();
        let pixels = self.images * self.planned.plan.steps.values[0].shape.iter().product::<usize>();
        let to = Held::room(device, pixels)?;
        device.copy_floats(*clean, self.clean.address(), pixels)?;
        device.copy_floats(*start, self.adversarial.address(), pixels)?;
        let uploaded = device.upload(target)?;
        device.copy_floats(uploaded.address(), self.target.address(), target.len())?;
        self.graph.launch(device)?;
        device.copy_floats(self.adversarial.address(), to.address(), pixels)?;
        Ok(to)
    }
}

/// Where the gradient of the logits is expected.
fn seed_slot(planned: &Planned) -> Slot {
    let mut seeds =
        planned.plan.backward.iter().filter(|one| matches!(one.action, Action::Seed { output: 0 }));
    seeds.find_map(|one| one.to).expect("a backward begins with the gradient of the logits")
}

/// Where the gradient of the images is left.
fn gradient_slot(planned: &Planned) -> Slot {
    let mut ends = planned.plan.backward.iter().filter(|one| matches!(one.action, Action::ExportImage));
    ends.find_map(|one| one.from[0]).expect("an attack's backward ends with the gradient of the images")
}
