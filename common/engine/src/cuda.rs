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

mod arguments;
mod buffer;
mod card;
mod conv;
mod demand;
mod device;
mod driver;
mod error;
mod graph;
mod held;
mod memory;
mod pack;
mod planned;
mod precision;
mod run;
mod surface;
mod train;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Device as Host, Tensor};

use crate::check::{Origin, check_forward};
use crate::engine::{BatchStats, EngineRow, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Layout, Network, NodeId};
use crate::images::Images;
use crate::params::{Params, Precision, Values as Array};
use crate::plan::padded;
use buffer::Buffer;
pub use demand::Demand;
use device::Device;
pub(crate) use driver::usable;
pub use error::DeviceError;
use graph::Attack;
use held::{Held, Reading};
pub use memory::{Footprint, Room, Work};
use pack::{Packed, Values};
use planned::Planned;
pub use precision::Storage;
use run::{Caller, Memory, Run, parts_bytes};
use train::Momenta;

/// The one for GPUs.
pub(crate) static ROW: EngineRow = EngineRow {
    name: "cuda",
    summary: "an NVIDIA GPU, in f32 or 16 bits; cuda:1 is the second one",
    start: |start| {
        let device = Device::open(start.ordinal)?;
        let best = if device.knows(Storage::F32) { [Storage::F32, Storage::Bf16] } else { [Storage::F16; 2] };
        let working = start.precision.unwrap_or(best[usize::from(!start.answers)]);
        let judged = if start.answers { working } else { best[0] };
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
    /// The attacks that were captured, the last one used last.
    attacks: Arc<Mutex<Vec<Attack>>>,
}

/// Plans of the networks that were seen, the last one used last.
#[derive(Default)]
struct State {
    plans: Vec<Known>,
    momenta: Vec<Momenta>,
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
    tape: Buffer,
    norms: Buffer,
    images: usize,
    origin: Origin,
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
        let attacks = Arc::default();
        device.may_drop(&attacks);
        Ok(Self { device: Arc::new(device), judged, working, room, state: Mutex::default(), attacks })
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
            let planned = Planned::new(key.storage, network, key.norm, key.keep, &key.outputs);
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
        let device = &self.device;
        let input = held::images(device, images)?;
        let floats = |count: usize| device.take(count * size_of::<f32>());
        let lens: Vec<usize> = origin.outputs.iter().map(|shape| shape.iter().product()).collect();
        let results = lens.iter().map(|&len| floats(len)).collect::<Result<Vec<_>, _>>()?;
        let wide = planned.plan.steps.outputs.iter().zip(&planned.wide).map(|(output, wide)| {
            let row = padded(planned.plan.steps.value(*output).shape[0]);
            wide.map(|_| floats(row * count)).transpose()
        });
        let wide = wide.collect::<Result<Vec<_>, _>>()?;
        let statistics = planned
            .has_batch_moments()
            .then(|| Held::zeros(device, network.layout().statistics_len()))
            .transpose()?;
        let kernels = device.kernels(storage);
        let tape = device.take(planned.plan.tape_len * count)?;
        let norms = floats(planned.norms.1)?;
        let batch = device.take(planned.plan.batch_len * count)?;
        let parts = device.take(parts_bytes(kernels.processors(), &planned, count))?;
        let [trainable, running] = &held;
        if count > 0 {
            let outputs: Vec<_> = results.iter().map(Buffer::address).collect();
            let wides: Vec<_> = wide.iter().map(|wide| wide.as_ref().map_or(0, Buffer::address)).collect();
            let run = Run {
                kernels,
                planned: &planned,
                packed: &packed,
                values: values(network, trainable, running),
                images: count,
                memory: memory(&tape, &norms, &batch, &parts),
                caller: Caller {
                    images: input.address(),
                    outputs: &outputs,
                    wide: &wides,
                    statistics: statistics.as_ref().map_or(0, Held::address),
                    ..Caller::default()
                },
            };
            run.program(&planned.plan.forward)?;
        }
        let mut downloaded = results.iter().zip(&lens).zip(&origin.outputs).map(|((result, &len), shape)| {
            let values: Vec<f32> = device.download(result, len)?;
            Ok::<_, EngineError>(Tensor::from_vec(values, shape.as_slice(), &Host::Cpu)?)
        });
        let logits = downloaded.next().expect("the logits are the first output")?;
        let taps = downloaded.collect::<Result<_, _>>()?;
        let stats = BatchStats {
            values: statistics.map(|held| {
                Array::elsewhere(Arc::new(held), network.layout().statistics_len(), Precision::F32)
            }),
        };
        let [trainable, statistics] = held;
        packed.lease();
        let kept = Kept {
            device: device.clone(),
            planned,
            packed,
            layout: network.layout().clone(),
            trainable,
            statistics,
            tape,
            norms,
            images: count,
            origin,
        };
        Ok(Pass { logits, taps, tape: crate::Tape::new(kept), stats })
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

fn memory(tape: &Buffer, norms: &Buffer, batch: &Buffer, parts: &Buffer) -> Memory {
    Memory { tape: tape.address(), norms: norms.address(), batch: batch.address(), parts: parts.address() }
}

fn refuse_f64(params: &Params) -> Result<(), EngineError> {
    if params.precision() == Precision::F32 {
        return Ok(());
    }
    Err(EngineError::NotInPrecision { engine: "cuda", precision: "f64" })
}
