//! The oracle: a network run with plain candle operations and candle's autograd, in f32 or f64. Convolutions, BatchNorm and
//! ReLU give it their gradients as formulas (see `formula`).
//!
//! Everything here is chosen for being plainly right, then for speed. Values are kept channels-last so that a
//! convolution is one gather and one matrix product (see `window`).
//!
//! Where images do not influence each other the batch is cut into micro-batches of [`MICRO_BATCH`] images, the last
//! one padded with zeros: the matrix product picks other kernels for other shapes, so a fixed shape is what makes
//! an image's logits independent of the batch it came in. Micro-batches run in parallel, one thread each, and
//! their parameter gradients are added in order.

mod convolve;
mod formula;
mod node;
mod window;

use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;

use crate::album::{Album, Cutting};
use crate::check::{Origin, check_forward};
use crate::climb::{Climbed, Climbers, Stride};
use crate::cuda::Demand;
use crate::engine::{Ascent, AttackLoss, BatchStats, Descent, Engine, EngineRow, Hardware, Keep, Norm, Pass};
use crate::error::EngineError;
use crate::graph::{Network, NodeId, Op};
use crate::host;
use crate::images::Images;
use crate::params::{self, Arena, Entry, Grads, Params, Precision, Role};
use node::{Values, Weights};

/// Images per micro-batch, unless [`Reference::with_micro_batch`] says otherwise.
pub const MICRO_BATCH: usize = 16;

/// The oracle.
pub(crate) static ROW: EngineRow = EngineRow {
    name: "reference",
    summary: "the oracle: plain candle operations, several times slower",
    start: |start| Ok(Box::new(Reference::new(start.threads)?)),
};

/// The reference engine. Cheap to create; holds a thread pool and the gather tables of the shapes it has seen.
pub struct Reference {
    pool: rayon::ThreadPool,
    micro_batch: usize,
    windows: window::Windows,
}

impl Reference {
    /// An engine that runs on this many threads.
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        Self::with_micro_batch(threads, MICRO_BATCH)
    }

    /// The same with other micro-batches: small ones spare tests of a few images the padding. The size changes the
    /// last digits of every result.
    pub fn with_micro_batch(threads: usize, micro_batch: usize) -> Result<Self, EngineError> {
        let pool =
            crate::process::pool(threads).map_err(|source| EngineError::Threads { threads, source })?;
        Ok(Self { pool, micro_batch: micro_batch.max(1), windows: window::Windows::default() })
    }

    /// Runs one micro-batch, or the whole batch where batch statistics tie it together.
    fn run_part(&self, run: &Run<'_>, images: &Tensor) -> Result<Part, EngineError> {
        let image = if run.keep.image() { Some(Var::from_tensor(&images.contiguous()?)?) } else { None };
        let input = image.as_ref().map_or(images, Var::as_tensor);
        let weights = Weights::new(run.network, run.params, run.keep.params())?;
        let mut values = Values::new(run.network, run.outputs);
        let mut moments = Vec::new();
        for index in 0..run.network.nodes().len() {
            let id = NodeId(index);
            let value = match &run.network.node(id).op {
                Op::Input => node::images(input)?,
                Op::BatchNorm { eps, .. } if run.norm == Norm::Batch => {
                    let (value, mean, variance) = node::batch_norm(&values, &weights, run.network, id, *eps)?;
                    moments.push((id, mean, variance));
                    value
                }
                op => node::forward(op, &values, &weights, run.network, id, &self.windows)?,
            };
            values.put(id, value);
        }
        let outputs = run.outputs.iter().map(|&id| values.output(id)).collect::<Result<_, _>>()?;
        let params = weights.into_vars();
        Ok(Part { image, params, outputs, moments })
    }
}

/// What all parts of a forward share.
struct Run<'a> {
    network: &'a Network,
    params: &'a Params,
    norm: Norm,
    keep: Keep,
    outputs: &'a [NodeId],
}

/// The autograd graph of one micro-batch.
struct Part {
    image: Option<Var>,
    params: Vec<(Entry, Var)>,
    outputs: Vec<Tensor>,
    moments: Vec<(NodeId, Tensor, Tensor)>,
}

/// The autograd graphs of a forward, in the order of the batch.
pub(crate) struct Tape {
    parts: Vec<Part>,
    images: usize,
    part_len: usize,
    origin: Origin,
}

impl Engine for Reference {
    fn name(&self) -> &'static str {
        "reference"
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
        let count = check_forward(network, params, images, norm, taps)?;
        let images = images.tensor()?;
        let outputs: Vec<NodeId> = std::iter::once(network.output()).chain(taps.iter().copied()).collect();
        let run = Run { network, params, norm, keep, outputs: &outputs };
        let coupled = norm == Norm::Batch && network.has_batch_norm();
        let part_len = if coupled { count.max(1) } else { self.micro_batch };
        let inputs: Vec<Tensor> = (0..count.div_ceil(part_len).max(1))
            .map(|part| {
                let start = part * part_len;
                let len = part_len.min(count - start);
                images.narrow(0, start, len)?.pad_with_zeros(0, 0, part_len - len)
            })
            .collect::<Result<_, _>>()?;
        let parts: Vec<Part> = if coupled {
            vec![self.pool.install(|| self.run_part(&run, &inputs[0]))?]
        } else {
            self.pool.install(|| {
                inputs.par_iter().map(|input| self.run_part(&run, input)).collect::<Result<_, _>>()
            })?
        };
        let joined = (0..outputs.len())
            .map(|i| {
                let all: Vec<&Tensor> = parts.iter().map(|part| &part.outputs[i]).collect();
                Ok(Tensor::cat(&all, 0)?.narrow(0, 0, count)?.detach().contiguous()?)
            })
            .collect::<Result<Vec<Tensor>, EngineError>>()?;
        let stats = if coupled {
            batch_stats(network, params.precision(), &parts[0])?
        } else {
            BatchStats { values: None }
        };
        let origin = Origin::new(network, params, keep, &outputs, count);
        let tape = Tape { parts, images: count, part_len, origin };
        let mut joined = joined.into_iter();
        let logits = joined.next().expect("the logits are the first output");
        Ok(Pass { logits, taps: joined.collect(), tape: crate::Tape::new(tape), stats })
    }

    fn backward(
        &self,
        tape: crate::Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
        let tape: Tape = tape.into();
        tape.origin.check_backward(seeds, grads.as_deref())?;
        let wants_params = grads.is_some();
        let results: Vec<PartGrads> = self.pool.install(|| {
            tape.parts
                .par_iter()
                .enumerate()
                .map(|(i, part)| {
                    let start = i * tape.part_len;
                    part.backward(
                        seeds,
                        start,
                        tape.part_len.min(tape.images - start),
                        tape.part_len,
                        wants_params,
                    )
                })
                .collect::<Result<_, EngineError>>()
        })?;
        if let Some(grads) = grads {
            for (entry, values) in results.iter().flat_map(|part| &part.params) {
                add(grads.values_mut(), entry, values)?;
            }
        }
        let images: Vec<Tensor> = results.into_iter().filter_map(|part| part.image).collect();
        if images.is_empty() {
            return Ok(None);
        }
        Ok(Some(Tensor::cat(&images, 0)?.narrow(0, 0, tape.images)?.contiguous()?))
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        host::logits(self, network, params, images)
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
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
        velocity: &mut params::Values,
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

struct PartGrads {
    image: Option<Tensor>,
    params: Vec<(Entry, Tensor)>,
}

impl Part {
    fn backward(
        &self,
        seeds: &[Option<Tensor>],
        start: usize,
        len: usize,
        padded: usize,
        wants_params: bool,
    ) -> Result<PartGrads, EngineError> {
        // candle differentiates scalars, so the seeds enter as the weights of a sum.
        let mut sum: Option<Tensor> = None;
        for (output, seed) in self.outputs.iter().zip(seeds) {
            let Some(seed) = seed else { continue };
            let seed = seed.narrow(0, start, len)?.pad_with_zeros(0, 0, padded - len)?;
            let term = (output * seed)?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        let store = sum.map(|sum| sum.backward()).transpose()?;
        let gradient = |var: &Var| match store.as_ref().and_then(|store| store.get(var.as_tensor())) {
            Some(gradient) => Ok(gradient.clone()),
            None => var.zeros_like(),
        };
        let image = self.image.as_ref().map(gradient).transpose()?;
        let params = if wants_params {
            self.params
                .iter()
                .map(|(entry, var)| Ok((entry.clone(), gradient(var)?)))
                .collect::<Result<_, EngineError>>()?
        } else {
            Vec::new()
        };
        Ok(PartGrads { image, params })
    }
}

/// Gathers mean and unbiased variance of every BatchNorm into the layout of the running statistics.
fn batch_stats(network: &Network, precision: Precision, part: &Part) -> Result<BatchStats, EngineError> {
    let layout = network.layout();
    let mut values = Arena::zeros(layout.statistics_len(), precision);
    for (id, mean, variance) in &part.moments {
        for (role, tensor) in [(Role::RunningMean, mean), (Role::RunningVar, variance)] {
            let entry = layout.find(*id, role).expect("batch normalisation has statistics");
            add(&mut values, entry, tensor)?;
        }
    }
    Ok(BatchStats { values: Some(params::Values::new(values)) })
}

/// Adds a tensor to its place in an arena.
fn add(arena: &mut Arena, entry: &Entry, tensor: &Tensor) -> Result<(), EngineError> {
    let flat = tensor.flatten_all()?;
    match arena {
        Arena::F32(values) => add_slice(&mut values[entry.range.clone()], &flat.to_vec1::<f32>()?),
        Arena::F64(values) => add_slice(&mut values[entry.range.clone()], &flat.to_vec1::<f64>()?),
    }
    Ok(())
}

fn add_slice<T: crate::params::Float>(to: &mut [T], from: &[T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// A slice of an arena as a candle tensor.
fn tensor(arena: &Arena, entry: &Entry) -> candle_core::Result<Tensor> {
    let shape = entry.shape.as_slice();
    match arena {
        Arena::F32(values) => Tensor::from_slice(&values[entry.range.clone()], shape, &Device::Cpu),
        Arena::F64(values) => Tensor::from_slice(&values[entry.range.clone()], shape, &Device::Cpu),
    }
}
