//! The surface that every engine has: one forward, one backward, tapes between them.

use std::any::Any;

use candle_core::Tensor;
use names::Row;

use crate::error::EngineError;
use crate::graph::{Network, NodeId};
use crate::params::{Arena, Grads, Params};

/// Which statistics BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Norm {
    /// The running statistics: PyTorch's `eval()`. An image's logits do not depend on its neighbours.
    Running,
    /// The batch's own statistics: PyTorch's `train()`.
    Batch,
}

/// What a forward keeps for a later backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Nothing: no backward will follow.
    Nothing,
    /// The gradient of the images: an attack.
    ForImage,
    /// The gradients of the parameters: a training step.
    ForParams,
    /// Both.
    Both,
}

impl Keep {
    /// Whether the images get a gradient.
    pub fn image(self) -> bool {
        matches!(self, Self::ForImage | Self::Both)
    }

    /// Whether the parameters get gradients.
    pub fn params(self) -> bool {
        matches!(self, Self::ForParams | Self::Both)
    }
}

/// What one forward gives.
pub struct Pass {
    /// `(N, K)`.
    pub logits: Tensor,
    /// The values at the tapped nodes: `(N, C, H, W)` or `(N, F)`.
    pub taps: Vec<Tensor>,
    /// What backward needs. Several may be alive at once.
    pub tape: Tape,
    /// The batch statistics of each BatchNorm; empty under [`Norm::Running`].
    pub stats: BatchStats,
}

/// What a forward kept. Opaque: only the engine that made it can read it.
pub struct Tape(Box<dyn Any + Send>);

impl Tape {
    pub(crate) fn new<T: Send + 'static>(kept: T) -> Self {
        Self(Box::new(kept))
    }

    /// What the engine kept, of which it knows the type.
    pub(crate) fn into<T: 'static>(self) -> T {
        *self.0.downcast().expect("a tape goes back to the engine that made it")
    }
}

/// Mean and unbiased variance of every BatchNorm's input over one batch.
///
/// They do not touch the running statistics by themselves: an attack never moves them, a training step does.
#[derive(Clone, Debug)]
pub struct BatchStats {
    pub(crate) values: Option<Arena>,
}

impl BatchStats {
    /// Moves the running statistics towards this batch: `running = (1 - momentum) * running + momentum * batch`,
    /// with the momentum of each BatchNorm (PyTorch's rule; 0.1 unless the network says otherwise).
    pub fn update(&self, network: &Network, params: &mut Params) {
        let Some(batch) = &self.values else { return };
        // Other statistics are constants of a file: those of a mean-sparse layer.
        let momenta = network.layout().statistics().iter().filter_map(|entry| {
            network.node(entry.node).op.momentum().map(|momentum| (entry.range.clone(), momentum))
        });
        let statistics = params.statistics_mut();
        for (range, momentum) in momenta {
            for i in range {
                statistics.set(i, (1.0 - momentum) * statistics.get(i) + momentum * batch.get(i));
            }
        }
        for counter in params.batches_tracked_mut() {
            *counter += 1;
        }
    }
}

/// Runs any [`Network`].
///
/// Under [`Norm::Running`] an image's logits and gradients depend neither on its neighbours in the batch nor on the
/// batch's size. Results never depend on the number of threads.
pub trait Engine: Send + Sync {
    /// The name that label sets and `env.json` record.
    fn name(&self) -> &'static str;

    /// Runs `images` `(N, C, H, W)`, pixels in [0, 1], through the network; N may be 0 where nothing is averaged over
    /// the batch. Refuses images and parameters that are not the network's, and taps beyond its nodes.
    fn forward(
        &self,
        network: &Network,
        params: &Params,
        images: &Tensor,
        norm: Norm,
        keep: Keep,
        taps: &[NodeId],
    ) -> Result<Pass, EngineError>;

    /// Propagates gradients back from the logits (`seeds[0]`) and the taps (`seeds[1..]`, none means zero).
    ///
    /// Parameter gradients are *added* to `grads`, so that several tapes sum up. Gives the image gradient
    /// `(N, C, H, W)` where forward kept it. Refuses seeds of other shapes than the outputs', and a place for gradients
    /// that is not the network's.
    fn backward(
        &self,
        tape: Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError>;

    /// Logits `(N, K)` under running statistics, keeping nothing.
    fn logits(&self, network: &Network, params: &Params, images: &Tensor) -> Result<Tensor, EngineError> {
        Ok(self.forward(network, params, images, Norm::Running, Keep::Nothing, &[])?.logits)
    }

    /// The same for an attack's queries: an engine may round as it does in an attack's forwards.
    fn query(&self, network: &Network, params: &Params, images: &Tensor) -> Result<Tensor, EngineError>;
}

/// A row of the table of engines: one that can be started.
#[derive(Debug)]
pub struct EngineRow {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) start: fn(threads: usize, exact_conv: bool) -> Result<Box<dyn Engine>, EngineError>,
}

impl Row for EngineRow {
    const WHAT: &'static str = "engine";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("cuda", NO_GPU),
        ("cuda:0", NO_GPU),
        ("gpu", NO_GPU),
        ("mps", NO_GPU),
        ("auto", "`cpu` is the fast one"),
    ];
}

/// What there is in place of an engine for GPUs.
const NO_GPU: &str = "no engine runs on a GPU yet: leave it out for the fast one on the processor; a teacher may answer \
on a GPU through `label plan`, tools/label_with_pytorch.py and `label import`";
