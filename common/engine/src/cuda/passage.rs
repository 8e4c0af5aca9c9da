//! A training pass as graphs: a network's forward at a batch size, captured once with memory of its own, and its backward.
//!
//! Passes that are asked for once are queued kernel by kernel; the second time the same is asked for it is captured. Each
//! tape that is alive beside others has a [`Passage`] to itself, and gives it back when it is used up ([`Lease`]). What a
//! program works in and leaves behind is shared by all of them ([`Scratch`]): one runs after the other.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use super::arguments::Address;
use super::buffer::Buffer;
use super::device::{Device, locked};
use super::error::DeviceError;
use super::graph::{Attack, Graph};
use super::held::Held;
use super::pack::{Packed, Values};
use super::planned::Planned;
use super::run::{Caller, Memory, Run, Seed, parts_bytes};
use crate::graph::Layout;
use crate::plan::padded;

/// The most passages that are kept: two tapes at a time, at the usual batch and at the last one, and as many again.
const MOST_PASSAGES: usize = 8;

/// All that was captured, the last one used last: memory that may go first, since it can be captured again.
#[derive(Default)]
pub(super) struct Graphs {
    pub(super) attacks: Mutex<Vec<Attack>>,
    passages: Mutex<Vec<Passage>>,
}

impl Graphs {
    /// Drops what nobody uses at the moment.
    pub(super) fn clear(&self) {
        locked(&self.attacks).clear();
        locked(&self.passages).clear();
    }

    /// A passage that is free for this purpose.
    pub(super) fn lend(self: &Arc<Self>, purpose: &Purpose) -> Option<Lease> {
        let mut passages = locked(&self.passages);
        let place = passages.iter().position(|passage| passage.purpose.is(purpose))?;
        Some(Lease { passage: Some(passages.remove(place)), home: self.clone() })
    }

    /// Lends a new one, to be kept here afterwards.
    pub(super) fn settle(self: &Arc<Self>, passage: Passage) -> Lease {
        Lease { passage: Some(passage), home: self.clone() }
    }
}

/// What a program leaves to nobody: its slots of the batch, and the parts of its sums.
pub(super) struct Scratch {
    pub(super) batch: Buffer,
    pub(super) parts: Buffer,
}

impl Scratch {
    pub(super) fn new(device: &Arc<Device>, planned: &Planned, images: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            batch: device.take(planned.plan.batch_len * images)?,
            parts: device.take(parts_bytes(device.processors(), planned, images))?,
        })
    }
}

/// What a passage is for: a plan, a batch size, and where it finds the parameters.
#[derive(Clone)]
pub(super) struct Purpose {
    pub(super) planned: Arc<Planned>,
    pub(super) packed: Arc<Packed>,
    pub(super) layout: Arc<Layout>,
    pub(super) trainable: Address,
    pub(super) images: usize,
}

impl Purpose {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.planned, &other.planned)
            && Arc::ptr_eq(&self.packed, &other.packed)
            && self.trainable == other.trainable
            && self.images == other.images
    }
}

/// What a backward is asked for: which outputs have a gradient, and where those of the parameters are added.
#[derive(PartialEq)]
struct Wish {
    seeded: Vec<bool>,
    gradients: Address,
}

/// A forward of fixed sizes and its backward, with all their memory.
pub(super) struct Passage {
    purpose: Purpose,
    /// f32 `(N, C, H, W)`.
    input: Buffer,
    /// f32 of each output, and its gradient.
    outputs: Vec<Buffer>,
    seeds: Vec<Buffer>,
    /// Outputs before any rounding, where they come so.
    wide: Vec<Option<Buffer>>,
    /// The batch's, laid out as the running ones, where they are formed.
    statistics: Option<Held>,
    image_gradient: Option<Buffer>,
    tape: Buffer,
    norms: Buffer,
    scratch: Arc<Scratch>,
    forward: Option<Graph>,
    backward: Option<(Wish, Option<Graph>)>,
}

impl Drop for Passage {
    fn drop(&mut self) {
        // A graph must not go while it runs; a device that does not answer runs nothing.
        let _ = self.input.device().synchronize();
    }
}

impl Passage {
    /// Captures the forward; every kernel of it has run before, since a capture forbids looking one up. `image`: whether
    /// the backward gives a gradient of the images.
    pub(super) fn capture(
        device: &Arc<Device>,
        purpose: &Purpose,
        scratch: Arc<Scratch>,
        image: bool,
    ) -> Result<Self, DeviceError> {
        let (planned, images) = (&purpose.planned, purpose.images);
        let steps = &planned.plan.steps;
        let floats = |count: usize| device.take(images * count * size_of::<f32>());
        let sizes: Vec<[usize; 3]> = steps.outputs.iter().map(|output| steps.value(*output).shape).collect();
        let all = || sizes.iter().map(|shape| floats(shape.iter().product())).collect::<Result<Vec<_>, _>>();
        let wide = sizes
            .iter()
            .zip(&planned.wide)
            .map(|(shape, wide)| wide.map(|_| floats(padded(shape[0]))).transpose());
        let pixels = steps.values[0].shape.iter().product();
        let mut passage = Self {
            input: floats(pixels)?,
            outputs: all()?,
            seeds: all()?,
            wide: wide.collect::<Result<_, _>>()?,
            statistics: planned
                .has_batch_moments()
                .then(|| Held::zeros(device, purpose.layout.statistics_len()))
                .transpose()?,
            image_gradient: image.then(|| floats(pixels)).transpose()?,
            tape: device.take(planned.plan.tape_len * images)?,
            norms: device.take(planned.norms.1 * size_of::<f32>())?,
            scratch,
            purpose: purpose.clone(),
            forward: None,
            backward: None,
        };
        let outputs: Vec<_> = passage.outputs.iter().map(Buffer::address).collect();
        let wides: Vec<_> =
            passage.wide.iter().map(|wide| wide.as_ref().map_or(0, Buffer::address)).collect();
        let caller = Caller {
            images: passage.input.address(),
            outputs: &outputs,
            wide: &wides,
            statistics: passage.statistics.as_ref().map_or(0, Held::address),
            ..Caller::default()
        };
        let run = passage.run(device, caller);
        passage.forward = Some(device.capture(|| run.program(&purpose.planned.plan.forward))?);
        Ok(passage)
    }

    fn run<'a>(&'a self, device: &'a Device, caller: Caller<'a>) -> Run<'a> {
        let Purpose { planned, packed, layout, trainable, images } = &self.purpose;
        Run {
            kernels: device.kernels(planned.storage),
            planned,
            packed,
            // A pass reads no running statistics: where they count they were packed.
            values: Values { layout, trainable: *trainable, statistics: 0 },
            images: *images,
            memory: Memory {
                tape: self.tape.address(),
                norms: self.norms.address(),
                batch: self.scratch.batch.address(),
                parts: self.scratch.parts.address(),
            },
            caller,
        }
    }

    /// Queues the forward of these images; gives the batch's statistics, where there are any.
    pub(super) fn forward(&self, images: Address) -> Result<Option<Held>, DeviceError> {
        let pixels = self.purpose.planned.plan.steps.values[0].shape.iter().product::<usize>();
        let device = self.input.device();
        device.copy_floats(images, self.input.address(), self.purpose.images * pixels)?;
        self.forward.as_ref().expect("a passage was captured").launch(device)?;
        self.statistics.as_ref().map(Held::copied).transpose()
    }

    /// What the forward gave: f32 of each output.
    pub(super) fn outputs(&self) -> &[Buffer] {
        &self.outputs
    }

    /// Queues the backward from these gradients of the outputs; those of the parameters are added at `gradients`, unless
    /// it is 0. Gives where the gradient of the images lies, if there is one.
    pub(super) fn backward(
        &mut self,
        seeds: &[Option<Vec<f32>>],
        gradients: Address,
    ) -> Result<Option<&Buffer>, DeviceError> {
        let device = self.input.device().clone();
        for (buffer, values) in self.seeds.iter_mut().zip(seeds) {
            if let Some(values) = values {
                device.fill(buffer, values)?;
            }
        }
        let wish = Wish { seeded: seeds.iter().map(Option::is_some).collect(), gradients };
        // Its last launch has ended, should it go here: this passage's forward was waited for since.
        let known = self.backward.take().filter(|(known, _)| *known == wish);
        let graph = match known {
            // The first time looks up the kernels by name, which a capture forbids.
            None => {
                self.queue_backward(&device, &wish)?;
                None
            }
            Some((_, graph)) => {
                let graph = match graph {
                    Some(graph) => graph,
                    None => device.capture(|| self.queue_backward(&device, &wish))?,
                };
                graph.launch(&device)?;
                Some(graph)
            }
        };
        self.backward = Some((wish, graph));
        Ok(self.image_gradient.as_ref())
    }

    fn queue_backward(&self, device: &Device, wish: &Wish) -> Result<(), DeviceError> {
        let seeds = self.seeds.iter().zip(&wish.seeded);
        let seeds: Vec<Seed> = seeds
            .map(|(buffer, seeded)| if *seeded { Seed::Given(buffer.address()) } else { Seed::None })
            .collect();
        let caller = Caller {
            seeds: &seeds,
            image_gradient: self.image_gradient.as_ref().map_or(0, Buffer::address),
            gradients: wish.gradients,
            ..Caller::default()
        };
        self.run(device, caller).program(&self.purpose.planned.plan.backward)
    }
}

/// A passage that a tape has to itself; free again when it is dropped.
pub(super) struct Lease {
    passage: Option<Passage>,
    home: Arc<Graphs>,
}

impl Deref for Lease {
    type Target = Passage;

    fn deref(&self) -> &Passage {
        self.passage.as_ref().expect("only a drop takes it")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Passage {
        self.passage.as_mut().expect("only a drop takes it")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut passages = locked(&self.home.passages);
        passages.extend(self.passage.take());
        let oldest = (passages.len() > MOST_PASSAGES).then(|| passages.remove(0));
        // Its end waits for the device: not while others wait for the list.
        drop(passages);
        drop(oldest);
    }
}
