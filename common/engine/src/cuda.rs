//! The engine for NVIDIA GPUs: the same plans as on the processor, one instruction after the other on the whole batch.
//!
//! It needs the driver alone, which it opens when it is started ([`device`]); the kernels come with it as PTX
//! (`kernels/`, made by `kernels/make-ptx`). A plan gets its places ([`planned`]); parameters are packed on the device
//! ([`pack`]); each instruction is a launch or a few ([`run`]); an attack is one graph ([`graph`]). Whatever a training
//! step touches lies on the device ([`held`]): only logits, and gradients of logits, come and go.
//!
//! Forwards that keep nothing (labels, evaluation) store maps in f32 unless asked otherwise; attacks, their queries too,
//! and training in 16 bits ([`Storage`]). Sums are f32, in an order that depends on the sizes alone: no atomics, and
//! equal bits from run to run on chips of one kind.

mod album;
mod arguments;
mod backward;
mod buffer;
mod card;
mod climb;
mod conv;
mod demand;
mod device;
mod driver;
mod error;
mod graph;
mod held;
mod memory;
mod pack;
mod passage;
mod planned;
mod precision;
mod run;
mod surface;
mod train;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use candle_core::{Device as Host, Tensor};

use crate::check::{Origin, check_forward};
use crate::engine::{BatchStats, EngineRow, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Layout, Network, NodeId};
use crate::images::Images;
use crate::kind;
use crate::params::{Params, Precision, Values as Array};
use crate::plan::padded;
use arguments::Address;
use buffer::Buffer;
pub use demand::Demand;
use device::Device;
pub(crate) use driver::usable;
pub use error::DeviceError;
use held::{Held, Reading};
pub use memory::{Footprint, Room, Work};
use pack::{Packed, Values};
use passage::{Graphs, Lease, Passage, Purpose, Scratch};
use planned::Planned;
pub use precision::Storage;
use run::{Caller, Memory, Run};
use train::Momenta;

/// The one for GPUs.
pub(crate) static ROW: EngineRow = EngineRow {
    name: "cuda",
    summary: "an NVIDIA GPU, in f32 or 16 bits; cuda:1 is the second one",
    start: |start| {
        let device = Device::open(start.ordinal)?;
        let best = if device.knows(Storage::F32) { [Storage::F32, Storage::Bf16] } else { [Storage::F16; 2] };
        let working = start.precision.unwrap_or(best[usize::from(start.purpose == kind::Purpose::Training)]);
        let judged = if start.purpose == kind::Purpose::Labels { working } else { best[0] };
        Ok(Box::new(Cuda::on(device, judged, working)?))
    },
};

/// The most plans, and the most attacks' graphs, that are kept.
const MOST_PLANS: usize = 8;
const MOST_ATTACKS: usize = 4;

/// The engine for one GPU.
pub struct Cuda {
    device: Arc<Device>,
    judged: Storage,
    working: Storage,
    room: Room,
    state: Mutex<State>,
    graphs: Arc<Graphs>,
}

/// Plans of the networks that were seen, the last one used last.
#[derive(Default)]
struct State {
    plans: Vec<Known>,
    momenta: Vec<Momenta>,
    seen: Vec<Seen>,
}

/// A training pass that was asked for, and what all that are like it work in, as long as one of them keeps it.
struct Seen {
    planned: Arc<Planned>,
    images: usize,
    scratch: Weak<Scratch>,
}

impl State {
    fn seen(&mut self, planned: &Arc<Planned>, images: usize) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| Arc::ptr_eq(&seen.planned, planned) && seen.images == images)
    }

    /// What a program of so many images works in.
    fn scratch(
        &mut self,
        device: &Arc<Device>,
        planned: &Arc<Planned>,
        images: usize,
        keep: Keep,
    ) -> Result<Arc<Scratch>, DeviceError> {
        let seen = self.seen(planned, images).filter(|_| keep.params());
        if let Some(scratch) = seen.as_ref().and_then(|seen| seen.scratch.upgrade()) {
            return Ok(scratch);
        }
        let scratch = Arc::new(Scratch::new(device, planned, images)?);
        if let Some(seen) = seen {
            seen.scratch = Arc::downgrade(&scratch);
        }
        Ok(scratch)
    }

    /// Remembers a training pass, to capture it when it is asked for again.
    fn remember(&mut self, planned: &Arc<Planned>, images: usize) {
        if self.seen(planned, images).is_none() {
            self.seen.push(Seen { planned: planned.clone(), images, scratch: Weak::new() });
            if self.seen.len() > 2 * MOST_PLANS {
                self.seen.remove(0);
            }
        }
    }
}

/// A plan, and parameters packed for it.
struct Known {
    key: Key,
    planned: Arc<Planned>,
    packed: Option<(u64, Arc<Packed>)>,
}

/// What a plan is for. Networks whose layouts are the same one are the same.
#[derive(Clone)]
struct Key {
    layout: Arc<Layout>,
    norm: Norm,
    keep: Keep,
    outputs: Vec<NodeId>,
    storage: Storage,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let modes = |key: &Self| (key.norm, key.keep, key.storage);
        Arc::ptr_eq(&self.layout, &other.layout)
            && modes(self) == modes(other)
            && self.outputs == other.outputs
    }
}

/// What a forward kept.
struct Kept {
    device: Arc<Device>,
    planned: Arc<Planned>,
    packed: Arc<Packed>,
    layout: Arc<Layout>,
    trainable: Reading,
    statistics: Reading,
    left: Left,
    images: usize,
    origin: Origin,
}

/// Where a forward left what its backward reads.
enum Left {
    /// In buffers of its own.
    Alone { tape: Buffer, norms: Buffer },
    /// In a passage.
    Captured(Box<Lease>),
}

impl Cuda {
    /// The engine on GPU number `ordinal`, counted from 0: `judged` is the storage of forwards that keep nothing,
    /// `working` that of attacks and training.
    ///
    /// Refuses where there is no driver, none that is new enough, no such GPU, or one that is too old.
    pub fn new(ordinal: usize, judged: Storage, working: Storage) -> Result<Self, DeviceError> {
        Self::on(Device::open(ordinal)?, judged, working)
    }

    fn on(device: Device, judged: Storage, working: Storage) -> Result<Self, DeviceError> {
        device.load(judged)?;
        device.load(working)?;
        let [free, total] = device.free_memory()?;
        let room =
            Room { footprint: Footprint { judged, working, processors: device.processors() }, free, total };
        let graphs = Arc::default();
        device.may_drop(&graphs);
        Ok(Self { device: Arc::new(device), judged, working, room, state: Mutex::default(), graphs })
    }

    /// Kernels and graphs that were queued so far: what the host had to ask the driver for.
    pub fn calls(&self) -> usize {
        self.device.calls()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The storage of a forward.
    fn storage(&self, keep: Keep) -> Storage {
        if keep == Keep::Nothing { self.judged } else { self.working }
    }

    /// The parameters on the device, copied there unless they are.
    fn values(&self, params: &Params) -> Result<[Reading; 2], DeviceError> {
        let read = |values| held::read(&self.device, values);
        Ok([read(params.held_trainable())?, read(params.held_statistics())?])
    }

    /// The plan for one network and mode, with these parameters packed.
    fn prepare(
        &self,
        state: &mut State,
        (network, params): (&Network, &Params),
        [trainable, statistics]: &[Reading; 2],
        key: &Key,
    ) -> Result<(Arc<Planned>, Arc<Packed>), DeviceError> {
        let known = state.plans.iter().position(|known| known.key == *key);
        let mut known = if let Some(index) = known {
            state.plans.remove(index)
        } else {
            let planned = Planned::new(
                (key.storage, self.device.has_warpgroups()),
                network,
                key.norm,
                key.keep,
                &key.outputs,
            );
            Known { key: key.clone(), planned: Arc::new(planned), packed: None }
        };
        // Batch statistics do not enter the packed weights, so that moving the running ones leaves them fresh.
        let learned = key.norm == Norm::Batch && !known.planned.has_bands();
        let version = if learned { params.trainable_version() } else { params.version() };
        let packed = match known.packed.take() {
            Some((packed_for, packed)) if packed_for == version => packed,
            // Nothing that was kept by a forward reads it any more, and what is queued comes before.
            Some((_, packed)) if packed.is_free() && !known.planned.has_bands() => {
                packed.pack(&known.planned, values(network, trainable, statistics))?;
                packed
            }
            _ => {
                let packed = Packed::room(&self.device, &known.planned, params)?;
                packed.pack(&known.planned, values(network, trainable, statistics))?;
                Arc::new(packed)
            }
        };
        known.packed = Some((version, packed.clone()));
        let planned = known.planned.clone();
        state.plans.push(known);
        if state.plans.len() > MOST_PLANS {
            state.plans.remove(0);
        }
        Ok((planned, packed))
    }

    /// A forward in one storage.
    fn pass(
        &self,
        (network, params): (&Network, &Params),
        images: &Images,
        (norm, keep, storage): (Norm, Keep, Storage),
        taps: &[NodeId],
    ) -> Result<Pass, EngineError> {
        let count = check_forward(network, params, images, norm, taps)?;
        refuse_f64(params)?;
        let outputs: Vec<NodeId> = std::iter::once(network.output()).chain(taps.iter().copied()).collect();
        let origin = Origin::new(network, params, keep, &outputs, count);
        let mut state = self.state();
        let held = self.values(params)?;
        let key = Key { layout: network.layout().clone(), norm, keep, outputs, storage };
        let (planned, packed) = self.prepare(&mut state, (network, params), &held, &key)?;
        planned.check_batch(images.len())?;
        let input = held::images(&self.device, images)?;
        let [trainable, statistics] = held;
        let layout = network.layout().clone();
        let purpose = Purpose { planned, packed, layout, trainable: trainable.address(), images: count };
        let download = |results: &[Buffer]| -> Result<Vec<Tensor>, EngineError> {
            let tensor = |(result, shape): (&Buffer, &Vec<usize>)| {
                let values: Vec<f32> = self.device.download(result, shape.iter().product())?;
                Ok(Tensor::from_vec(values, shape.as_slice(), &Host::Cpu)?)
            };
            results.iter().zip(&origin.outputs).map(tensor).collect()
        };
        let (left, moved, outputs) = if let Some(passage) = self.passage(&mut state, &purpose, keep)? {
            let moved = passage.forward(input.address())?;
            let outputs = download(passage.outputs())?;
            (Left::Captured(Box::new(passage)), moved, outputs)
        } else {
            let (left, moved, results) =
                self.queue(&mut state, &purpose, statistics.address(), &input, keep)?;
            (left, moved, download(&results)?)
        };
        let Purpose { planned, packed, layout, .. } = purpose;
        let mut outputs = outputs.into_iter();
        let logits = outputs.next().expect("the logits are the first output");
        let stats = BatchStats {
            values: moved
                .map(|held| Array::elsewhere(Arc::new(held), layout.statistics_len(), Precision::F32)),
        };
        packed.lease();
        let device = self.device.clone();
        let kept =
            Kept { device, planned, packed, layout, trainable, statistics, left, images: count, origin };
        Ok(Pass { logits, taps: outputs.collect(), tape: crate::Tape::new(kept), stats })
    }

    /// A captured training pass, free for this purpose; none where it is the first of its kind.
    fn passage(
        &self,
        state: &mut State,
        purpose: &Purpose,
        keep: Keep,
    ) -> Result<Option<Lease>, DeviceError> {
        let Purpose { planned, images, .. } = purpose;
        // In f16 the gradients of parameters are scaled by what only the host knows.
        if !keep.params() || planned.storage == Storage::F16 || *images == 0 {
            return Ok(None);
        }
        if let Some(passage) = self.graphs.lend(purpose) {
            return Ok(Some(passage));
        }
        if state.seen(planned, *images).is_none() {
            return Ok(None);
        }
        let scratch = state.scratch(&self.device, planned, *images, keep)?;
        let passage = Passage::capture(&self.device, purpose, scratch, keep.image())?;
        Ok(Some(self.graphs.settle(passage)))
    }

    /// Queues a forward kernel by kernel: where its tape lies, the batch's statistics, and the outputs.
    fn queue(
        &self,
        state: &mut State,
        purpose: &Purpose,
        running: Address,
        input: &Reading,
        keep: Keep,
    ) -> Result<(Left, Option<Held>, Vec<Buffer>), DeviceError> {
        let Purpose { planned, packed, layout, trainable, images } = purpose;
        let (device, count, steps) = (&self.device, *images, &planned.plan.steps);
        let floats = |count: usize| device.take(count * size_of::<f32>());
        let shapes = || steps.outputs.iter().map(|output| steps.value(*output).shape);
        let results = shapes().map(|shape| floats(shape.iter().product::<usize>() * count));
        let results = results.collect::<Result<Vec<_>, _>>()?;
        let wide = shapes().zip(&planned.wide).map(|(shape, wide)| {
            let row = padded(shape[0]);
            wide.map(|_| floats(row * count)).transpose()
        });
        let wide = wide.collect::<Result<Vec<_>, _>>()?;
        let moved =
            planned.has_batch_moments().then(|| Held::zeros(device, layout.statistics_len())).transpose()?;
        let tape = device.take(planned.plan.tape_len * count)?;
        let norms = floats(planned.norms.1)?;
        let scratch = state.scratch(device, planned, count, keep)?;
        if count > 0 {
            let outputs: Vec<_> = results.iter().map(Buffer::address).collect();
            let wides: Vec<_> = wide.iter().map(|wide| wide.as_ref().map_or(0, Buffer::address)).collect();
            let run = Run {
                kernels: device.kernels(planned.storage),
                planned,
                packed,
                values: Values { layout, trainable: *trainable, statistics: running },
                images: count,
                memory: memory(&tape, &norms, &scratch),
                caller: Caller {
                    images: input.address(),
                    outputs: &outputs,
                    wide: &wides,
                    statistics: moved.as_ref().map_or(0, Held::address),
                    ..Caller::default()
                },
            };
            run.program(&planned.plan.forward)?;
        }
        if keep.params() {
            state.remember(planned, count);
        }
        Ok((Left::Alone { tape, norms }, moved, results))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.packed.release();
    }
}

fn values<'a>(network: &'a Network, trainable: &Reading, statistics: &Reading) -> Values<'a> {
    Values { layout: network.layout(), trainable: trainable.address(), statistics: statistics.address() }
}

fn memory(tape: &Buffer, norms: &Buffer, scratch: &Scratch) -> Memory {
    let Scratch { batch, parts } = scratch;
    Memory { tape: tape.address(), norms: norms.address(), batch: batch.address(), parts: parts.address() }
}

fn refuse_f64(params: &Params) -> Result<(), EngineError> {
    if params.precision() == Precision::F32 {
        return Ok(());
    }
    Err(EngineError::NotInPrecision { engine: "cuda", precision: "f64" })
}
