//! The fast CPU engine: any network, f32, on AVX-512, AVX2, NEON or plain Rust, whatever the machine has.
//!
//! A [`plan`](crate::plan) of instructions over slots of memory gets its kernels ([`planned`]), and a thread takes a few
//! images at a time through as many instructions as it can ([`run`]). Convolutions are Winograd's where they
//! can be, else direct ([`kernel`]); weights are packed once per change of the
//! parameters ([`pack`]).
//!
//! Where rounding differs from a plain sum is a stated choice: forwards that keep nothing (labels, evaluation) use
//! F(2x2) at most, attacks, their queries too, and training use F(4x4), unless [`Cpu::exact_conv`] is asked for.

// A kernel is compiled for an instruction set by being inlined into its entry point (see `simd`); accumulators are
// clearest by row and vector.
#![allow(clippy::inline_always, clippy::needless_range_loop)]

mod kernel;
#[cfg(test)]
mod oracle;
mod outline;
mod pack;
mod peak;
mod planned;
mod run;
mod surface;
#[cfg(test)]
mod tests;
mod vector;

use std::sync::{Arc, Mutex};

use candle_core::{Device, Storage, Tensor};
use rayon::ThreadPool;

use crate::check::{Origin, check_forward};
use crate::engine::{BatchStats, Engine, EngineRow, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Network, NodeId};
use crate::images::Images;
use crate::params::{Arena, Layout, Params, Precision, Role, Values};
pub use outline::{Outline, Stretch};
pub use peak::peak_gflops;
pub use vector::simd::InstructionSet;

use crate::plan::{Moments, Norm as NormStep, Plan, Program};
use kernel::choice::Precise;
use pack::{NormState, Packed};
use planned::Planned;
use run::{Caller, Run, Workspace};
use vector::memory::{Buffer, Spare, locked};
use vector::simd::Isa;

/// The fast one.
pub(crate) static ROW: EngineRow = EngineRow {
    name: "cpu",
    summary: "the fast one, in f32, with AVX-512 or AVX2 where the machine has them",
    start: |start| {
        let engine = match start.isa {
            Some(set) => Cpu::of(set, start.threads)?,
            None => Cpu::new(start.threads)?,
        };
        Ok(Box::new(engine.exact_conv(start.exact_conv).recompute(start.recompute)))
    },
};

/// The fast CPU engine. Holds a thread pool, the plans of the networks it has seen, their packed weights and the
/// buffers of the last few calls.
///
/// Results depend neither on the number of threads nor, under [`Norm::Running`], on the batch. Calls from several
/// threads share the pool; each has a workspace of its own. Called by the workers of another rayon pool, it may be
/// called again by a worker that waits for it, with the memory of both calls alive.
pub struct Cpu {
    isa: Isa,
    pool: ThreadPool,
    exact_conv: bool,
    recompute: bool,
    // No lock is held while the pool works: a worker of another pool that waits for this one may be given a task that
    // calls this engine again.
    plans: Mutex<Vec<Known>>,
    workspace: Mutex<Option<Workspace>>,
    spare: Arc<Spare>,
}

/// A plan, and weights packed for it.
struct Known {
    key: Key,
    plan: Arc<Planned>,
    packed: Option<(u64, Arc<Packed>)>,
}

impl Known {
    /// Gives its packed weights back, where no tape still reads them.
    fn recycle(&mut self, spare: &Spare) {
        if let Some(Ok(packed)) = self.packed.take().map(|(_, packed)| Arc::try_unwrap(packed)) {
            packed.recycle(spare);
        }
    }
}

/// What a plan is for.
#[derive(Clone)]
struct Key {
    /// The network: networks whose layouts are the same one are the same.
    layout: Arc<Layout>,
    norm: Norm,
    keep: Keep,
    outputs: Vec<NodeId>,
    precise: Precise,
    /// Whether the backward forms normalised maps again.
    recompute: bool,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let modes = |key: &Self| (key.norm, key.keep, key.precise, key.recompute);
        Arc::ptr_eq(&self.layout, &other.layout)
            && modes(self) == modes(other)
            && self.outputs == other.outputs
    }
}

/// What a forward kept.
struct Kept {
    plan: Arc<Planned>,
    packed: Arc<Packed>,
    values: Option<Buffer>,
    norms: Vec<NormState>,
    images: usize,
    origin: Origin,
    spare: Arc<Spare>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(values) = self.values.take() {
            self.spare.put(values);
        }
    }
}

impl Cpu {
    /// An engine that runs on this many threads.
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        Self::on(Isa::detect(), threads)
    }

    /// The same with the kernels of one instruction set, for tests and comparisons; refused where the machine lacks it.
    pub fn of(set: InstructionSet, threads: usize) -> Result<Self, EngineError> {
        Self::on(Isa::of(set).ok_or(EngineError::InstructionSet { set: set.name() })?, threads)
    }

    fn on(isa: Isa, threads: usize) -> Result<Self, EngineError> {
        let pool =
            crate::process::pool(threads).map_err(|source| EngineError::Threads { threads, source })?;
        Ok(Self {
            isa,
            pool,
            exact_conv: false,
            recompute: true,
            plans: Mutex::default(),
            workspace: Mutex::default(),
            spare: Arc::default(),
        })
    }

    /// Whether attacks and training, too, round no more than a plain sum does: no Winograd tiles of 4x4.
    #[must_use]
    pub fn exact_conv(mut self, exact: bool) -> Self {
        self.exact_conv = exact;
        self
    }

    /// Whether trainings form normalised maps again in their backward, as they do unless told otherwise, in place of keeping
    /// them. The result is the same.
    #[must_use]
    pub fn recompute(mut self, recompute: bool) -> Self {
        self.recompute = recompute;
        self
    }

    /// The plan for one use of a network, and its weights packed from `params`.
    fn prepare(&self, network: &Network, params: &Params, key: &Key) -> (Arc<Planned>, Arc<Packed>) {
        // Plans of many shapes of use (taps, modes) may come and go; packed weights are large, so old ones leave.
        const MOST_PLANS: usize = 8;
        let norm = key.norm;
        let mut plans = locked(&self.plans);
        let at = plans.iter().position(|known| known.key == *key);
        let mut known = match at {
            Some(index) => plans.remove(index),
            None => Known { plan: Arc::new(self.plan(network, key)), packed: None, key: key.clone() },
        };
        // Batch statistics do not enter the packed weights, so that moving the running ones leaves them fresh; but the bands
        // of mean-sparse layers are statistics too.
        let learned = norm == Norm::Batch && known.plan.plan.steps.bands.is_empty();
        let version = if learned { params.trainable_version() } else { params.version() };
        if known.packed.as_ref().is_none_or(|(packed, _)| *packed != version) {
            // What the same network's other plans packed from older values will not be asked for again. An attack's
            // weights are folded, and stale as soon as the training forward that follows it has moved the statistics.
            let training = norm == Norm::Batch;
            let stale = |other: &Known| {
                Arc::ptr_eq(&other.key.layout, &key.layout)
                    && other.packed.as_ref().is_some_and(|(v, _)| training || *v < params.trainable_version())
            };
            let old = plans.iter_mut().filter(|other| stale(other));
            old.chain([&mut known]).for_each(|old| old.recycle(&self.spare));
            drop(plans);
            let packed = self.pool.install(|| Packed::new(&known.plan, params, &self.spare));
            known.packed = Some((version, Arc::new(packed)));
            plans = locked(&self.plans);
            // Another thread may have made the same one meanwhile.
            if let Some(index) = plans.iter().position(|other| other.key == *key) {
                plans.remove(index).recycle(&self.spare);
            }
        }
        let found = (known.plan.clone(), known.packed.as_ref().expect("just packed").1.clone());
        plans.push(known);
        if plans.len() > MOST_PLANS {
            plans.remove(0);
        }
        found
    }
}

impl Cpu {
    fn plan(&self, network: &Network, key: &Key) -> Planned {
        let Key { norm, keep, outputs, precise, recompute, .. } = key;
        Planned::new(self.isa, network, *norm, *keep, outputs, *precise, *recompute)
    }

    /// What a forward that is `judged` by, or given away as labels, may round; attacks and training may round more.
    fn precise(&self, judged: bool) -> Precise {
        if self.exact_conv || judged { Precise::Yes } else { Precise::No }
    }

    /// A forward, once it is known what it may round.
    fn pass(
        &self,
        network: &Network,
        params: &Params,
        images: &Images,
        (norm, keep, precise): (Norm, Keep, Precise),
        taps: &[NodeId],
    ) -> Result<Pass, EngineError> {
        let count = check_forward(network, params, images, norm, taps)?;
        let precise = precise.for_batch(norm, count);
        if params.precision() != Precision::F32 {
            return Err(EngineError::NotInPrecision { engine: self.name(), precision: "f64" });
        }
        let outputs: Vec<NodeId> = std::iter::once(network.output()).chain(taps.iter().copied()).collect();
        let layout = network.layout().clone();
        let recompute = keep.params() && self.recompute;
        let key = Key { layout, norm, keep, outputs: outputs.clone(), precise, recompute };
        let (plan, packed) = self.prepare(network, params, &key);
        let images = images.tensor()?;
        let (storage, layout) = images.storage_and_layout();
        let copy: Vec<f32>;
        let inside = layout.contiguous_offsets();
        let images = if let (Storage::Cpu(values), Some((from, to))) = (&*storage, inside) {
            &values.as_slice::<f32>()?[from..to]
        } else {
            copy = values_of(images)?;
            &copy
        };
        let origin = Origin::new(network, params, keep, &outputs, count);
        let mut results: Vec<Vec<f32>> =
            origin.outputs.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
        let mut kept = Kept {
            values: Some(self.spare.take(plan.plan.tape_len * count)),
            norms: vec![NormState::default(); plan.plan.steps.norms.len()],
            images: count,
            origin,
            spare: self.spare.clone(),
            plan,
            packed,
        };
        let caller = Caller { images, outputs: &mut results, ..Caller::default() };
        self.run(&mut kept, caller, |plan| &plan.forward);
        let stats = batch_stats(network, &kept);
        let shapes = &kept.origin.outputs;
        let mut results = results
            .into_iter()
            .zip(shapes)
            .map(|(values, shape)| Tensor::from_vec(values, shape.as_slice(), &Device::Cpu));
        let logits = results.next().expect("the logits are the first output")?;
        let taps = results.collect::<Result<_, _>>()?;
        Ok(Pass { logits, taps, tape: crate::Tape::new(kept), stats })
    }

    /// Runs a program of the plan on the pool.
    fn run(&self, kept: &mut Kept, caller: Caller<'_>, program: fn(&Plan) -> &Program) {
        let mut workspace = locked(&self.workspace).take().unwrap_or_default();
        let mut run = Run {
            isa: self.isa,
            threads: self.pool.current_num_threads(),
            planned: &kept.plan,
            packed: &kept.packed,
            images: kept.images,
            tape: kept.values.as_mut().expect("the buffer leaves with the tape"),
            norms: &mut kept.norms,
            caller,
            workspace: &mut workspace,
        };
        let program = program(&run.planned.plan);
        self.pool.install(|| run.program(program));
        let mut kept = locked(&self.workspace);
        if kept.as_ref().is_none_or(|kept| kept.len() <= workspace.len()) {
            *kept = Some(workspace);
        }
    }
}

/// A tensor's values in its own order.
fn values_of(tensor: &Tensor) -> Result<Vec<f32>, EngineError> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Mean and unbiased variance of every BatchNorm in the layout of the running statistics.
fn batch_stats(network: &Network, kept: &Kept) -> BatchStats {
    let batch = |norm: &&NormStep| matches!(norm.moments, Moments::Batch);
    if !kept.plan.plan.steps.norms.iter().any(|norm| batch(&norm)) {
        return BatchStats { values: None };
    }
    let layout = network.layout();
    let mut values = vec![0.0f32; layout.statistics_len()];
    for (norm, state) in kept.plan.plan.steps.norms.iter().zip(&kept.norms) {
        if !batch(&norm) {
            continue;
        }
        for (role, from) in
            [(Role::RunningMean, &state.moments.mean), (Role::RunningVar, &state.moments.unbiased)]
        {
            let entry = layout.find(norm.node, role).expect("batch normalisation has statistics");
            for (to, &from) in values[entry.range.clone()].iter_mut().zip(from) {
                *to = from as f32;
            }
        }
    }
    BatchStats { values: Some(Values::new(Arena::F32(values))) }
}
