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
use crate::engine::{Ascent, AttackLoss};
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

/// What an attack raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    Target,
    Margin,
    Dlr,
}

impl Raised {
    pub(super) fn of(loss: AttackLoss<'_>) -> Self {
        match loss {
            AttackLoss::Target(_) => Self::Target,
            AttackLoss::Margin(_) => Self::Margin,
            AttackLoss::Dlr(_) => Self::Dlr,
        }
    }

    fn kernel(self) -> &'static str {
        match self {
            Self::Target => "slope_target",
            Self::Margin => "slope_margin",
            Self::Dlr => "slope_dlr",
        }
    }

    /// Numbers of four bytes that it goes by, for each image: a distribution, or a label.
    fn numbers(self, classes: usize) -> usize {
        if self == Self::Target { classes } else { 1 }
    }
}

/// An attack of fixed sizes with all its memory.
pub(super) struct Attack {
    planned: Arc<Planned>,
    packed: Arc<Packed>,
    images: usize,
    by: Ascent,
    raised: Raised,
    /// f32 `(N, C, H, W)`: where the attack stands, and the images it started from.
    adversarial: Buffer,
    clean: Buffer,
    /// f32 `(N, K)`, or i32 `(N,)`.
    goal: Buffer,
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
        raised: Raised,
    ) -> bool {
        Arc::ptr_eq(&self.planned, planned)
            && Arc::ptr_eq(&self.packed, packed)
            && self.images == images
            && self.by == by
            && self.raised == raised
    }

    /// Captures it. The plan's logits must come in f32 (`planned.wide[0]`).
    pub(super) fn capture(
        device: &Arc<Device>,
        layout: &Layout,
        planned: &Arc<Planned>,
        packed: &Arc<Packed>,
        images: usize,
        by: Ascent,
        raised: Raised,
    ) -> Result<Self, DeviceError> {
        let kernels = device.kernels(planned.storage);
        let steps = &planned.plan.steps;
        let [channels, height, width] = steps.values[0].shape;
        let (places, classes) = (height * width, steps.value(steps.outputs[0]).shape[0]);
        let (pixels, row) = (images * channels * places, padded(classes));
        let floats = |count: usize| device.take(count * size_of::<f32>());
        let [adversarial, clean] = [floats(pixels)?, floats(pixels)?];
        let goal = floats(images * raised.numbers(classes))?;
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
            target: goal.address(),
            labels: goal.address(),
            seed: run.at(seed_slot(planned)),
            weight: 1.0,
            images: int(images),
            classes: int(classes),
            pixel: int(row),
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
                kernels.launch(raised.kernel(), warps, &slope)?;
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
        Ok(Self { planned, packed, images, by, raised, adversarial, clean, goal, memory, graph })
    }

    /// Queues it from clean images and starts, with targets or labels; gives where it ends.
    pub(super) fn launch(&self, [clean, start]: [Address; 2], goal: Address) -> Result<Held, DeviceError> {
        let device = self.adversarial.device();
        let steps = &self.planned.plan.steps;
        let pixels = self.images * steps.values[0].shape.iter().product::<usize>();
        let numbers = self.images * self.raised.numbers(steps.value(steps.outputs[0]).shape[0]);
        let to = Held::room(device, pixels)?;
        device.copy_floats(clean, self.clean.address(), pixels)?;
        device.copy_floats(start, self.adversarial.address(), pixels)?;
        device.copy_floats(goal, self.goal.address(), numbers)?;
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
