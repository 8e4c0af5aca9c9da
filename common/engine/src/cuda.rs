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
mod conv;
mod demand;
mod device;
mod error;
mod graph;
mod held;
mod memory;
mod pack;
mod planned;
mod precision;
mod run;
mod train;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Device as Host, Tensor};

use crate::check::{Origin, check_attack, check_descend, check_follow, check_forward, check_statistics};
use crate::engine::{Ascent, BatchStats, Descent, Engine, EngineRow, Hardware, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Layout, Network, NodeId};
use crate::host;
use crate::images::Images;
use crate::params::{Grads, Params, Precision, Values as Array};
use crate::plan::padded;
pub use demand::Demand;
pub(crate) use device::usable;
use device::{Buffer, Device};
pub use error::DeviceError;
use graph::Attack;
use held::{Held, Reading};
pub use memory::{Footprint, Room, Work};
use pack::{Packed, Values};
use planned::Planned;
pub use precision::Storage;
use run::{Caller, Memory, Run, Seed, parts_bytes};
use train::Momenta;

/// The one for GPUs.
pub(crate) static ROW: EngineRow = EngineRow {
    name: "cuda",
    summary: "an NVIDIA GPU, in f32 or 16 bits; cuda:1 is the second one",
    start: |start| {
        let device = Device::open(start.ordinal)?;
        let best = if device.knows(Storage::F32) { [Storage::F32, Storage::Bf16] } else { [Storage::F16; 2] };
        let working = start.precision.unwrap_or(best[usize::from(!start.exact_conv)]);
        let judged = if start.exact_conv { working } else { best[0] };
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
}

/// Plans of the networks that were seen, the last one used last, and attacks likewise.
#[derive(Default)]
struct State {
    plans: Vec<Known>,
    attacks: Vec<Attack>,
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
        Ok(Self { device: Arc::new(device), judged, working, room, state: Mutex::default() })
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
        let version = if key.norm == Norm::Batch { params.trainable_version() } else { params.version() };
        let packed = match known.packed.take() {
            Some((packed_for, packed)) if packed_for == version => packed,
            // Nothing that was kept by a forward reads it any more, and what is queued comes before.
            Some((_, packed)) if packed.is_free() => {
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
        let kept: Kept = tape.into();
        kept.origin.check_backward(seeds, grads.as_deref())?;
        let _state = self.state();
        let (device, planned, count) = (&kept.device, &kept.planned, kept.images);
        let kernels = device.kernels(planned.storage);
        let scale = planned.storage.gradient_scale();
        let given = seeds.iter().map(|seed| {
            let Some(seed) = seed else { return Ok(None) };
            let mut values: Vec<f32> = seed.flatten_all()?.to_vec1()?;
            for value in &mut values {
                *value *= scale;
            }
            Ok::<_, EngineError>(Some(device.upload(&values)?))
        });
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let seeds: Vec<Seed> = given
            .iter()
            .map(|seed| seed.as_ref().map_or(Seed::None, |seed| Seed::Given(seed.address())))
            .collect();
        let len = grads.as_ref().map_or(0, |grads| grads.held().len());
        let gradients = grads.map(|grads| held::write(device, grads.held_mut())).transpose()?;
        // Scaled gradients are summed beside the caller's, and added to them at their own size.
        let scaled = (scale > 1.0 && gradients.is_some()).then(|| Held::zeros(device, len)).transpose()?;
        let sums = scaled.as_ref().map(Held::address).or(gradients);
        let shape = kept.planned.plan.steps.values[0].shape;
        let pixels = count * shape.iter().product::<usize>();
        let image = kept.origin.keep.image().then(|| device.take(pixels * size_of::<f32>())).transpose()?;
        let batch = device.take(planned.plan.batch_len * count)?;
        let parts = device.take(parts_bytes(kernels.processors(), planned, count))?;
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
                memory: memory(&kept.tape, &kept.norms, &batch, &parts),
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
        let Some(image) = image else { return Ok(None) };
        let mut values: Vec<f32> = device.download(&image, pixels)?;
        for value in &mut values {
            *value /= scale;
        }
        let [channels, height, width] = shape;
        Ok(Some(Tensor::from_vec(values, (count, channels, height, width), &Host::Cpu)?))
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
        target: &Tensor,
        by: Ascent,
    ) -> Result<Images, EngineError> {
        check_attack(network, params, clean, start, target)?;
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
        if planned.wide[0].is_none() {
            drop(state);
            // Logits that no product writes come rounded to the storage: the loop of the host reads them.
            return host::attack(self, network, params, clean, start, target, by);
        }
        let [clean, start] = [held::images(device, clean)?, held::images(device, start)?];
        let target: Vec<f32> = target.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?;
        let known = state.attacks.iter().position(|attack| attack.fits(&planned, &packed, count, by));
        let attack = match known {
            Some(index) => state.attacks.remove(index),
            None => Attack::capture(device, network.layout(), &planned, &packed, count, by)?,
        };
        let result = attack.launch(&[clean.address(), start.address()], &target);
        state.attacks.push(attack);
        if state.attacks.len() > MOST_ATTACKS {
            state.attacks.remove(0);
        }
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
        // Whoever shares the old ones keeps them.
        let zeros = Held::zeros(&self.device, grads.held().len())?;
        grads.held_mut().set_remote(Arc::new(zeros));
        Ok(())
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
