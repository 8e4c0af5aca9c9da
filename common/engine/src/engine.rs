//! The surface that every engine has: one forward, one backward, tapes between them.

use std::any::Any;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::graph::{Network, NodeId, Shape};
use crate::params::{Arena, Grads, Layout, Params, Precision};

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
        let momenta = network.layout().statistics().iter().map(|entry| {
            let momentum = network.node(entry.node).op.momentum();
            (entry.range.clone(), momentum.expect("statistics belong to batch normalisation"))
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

/// Why an engine refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The images do not fit the network.
    #[error("{architecture}: images are {found:?}; wanted (N, {}, {}, {})", .wanted[0], .wanted[1], .wanted[2])]
    Images {
        /// The network.
        architecture: String,
        /// Channels, height, width.
        wanted: [usize; 3],
        /// The images' dimensions.
        found: Vec<usize>,
    },
    /// Images and parameters are in different precisions.
    #[error("{architecture}: images are {images}, parameters {params}; wanted one precision")]
    Precision {
        /// The network.
        architecture: String,
        /// The images' type.
        images: String,
        /// The parameters' type.
        params: &'static str,
    },
    /// The engine cannot run in this precision.
    #[error("the {engine} engine runs f32 only\nhint: the reference engine runs {precision}")]
    NotInPrecision {
        /// The engine.
        engine: &'static str,
        /// What was asked for.
        precision: &'static str,
    },
    /// The parameters are another network's.
    #[error("{architecture}: the parameters are another network's: {found}; wanted {wanted}")]
    Params {
        /// The network.
        architecture: String,
        /// Its parameters.
        wanted: String,
        /// Those given.
        found: String,
    },
    /// The place for gradients is not one for the parameters of the forward.
    #[error("{architecture}: the gradients are {found}; wanted {wanted}")]
    Grads {
        /// The network.
        architecture: String,
        /// The parameters.
        wanted: String,
        /// The gradients.
        found: String,
    },
    /// A tap lies beyond the network's nodes.
    #[error("{architecture}: no node {tap} to tap, there are {nodes}")]
    Tap {
        /// The network.
        architecture: String,
        /// The tap's place.
        tap: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// Batch statistics of nothing.
    #[error("{architecture}: an empty batch has no statistics")]
    EmptyBatch {
        /// The network.
        architecture: String,
    },
    /// A gradient has another shape than its output.
    #[error("backward got a gradient of {found:?} for an output of {wanted:?}")]
    SeedShape {
        /// The output's.
        wanted: Vec<usize>,
        /// The gradient's.
        found: Vec<usize>,
    },
    /// A gradient does not belong to any output of the tape.
    #[error("backward got {found} gradients for {wanted} outputs")]
    Seeds {
        /// Logits and taps.
        wanted: usize,
        /// Gradients given.
        found: usize,
    },
    /// Backward was asked for what forward did not keep.
    #[error("backward wants gradients of the {0}, but forward did not keep them")]
    NotKept(&'static str),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// The thread pool could not start.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
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
}

/// Refuses what [`Engine::forward`] cannot run; gives how many images there are.
pub(crate) fn check_forward(
    network: &Network,
    params: &Params,
    images: &Tensor,
    norm: Norm,
    taps: &[NodeId],
) -> Result<usize, EngineError> {
    let wanted = network.input();
    let found = images.dims().to_vec();
    let architecture = || network.architecture().to_string();
    if found.len() != 4 || found[1..] != wanted {
        return Err(EngineError::Images { architecture: architecture(), wanted, found });
    }
    if images.dtype() != dtype(params.precision()) {
        let images = format!("{:?}", images.dtype()).to_lowercase();
        return Err(EngineError::Precision {
            architecture: architecture(),
            images,
            params: params.precision().name(),
        });
    }
    if !same_layout(params.layout(), network.layout()) {
        let [wanted, found] =
            [network.layout(), params.layout()].map(|layout| described(layout, params.precision()));
        return Err(EngineError::Params { architecture: architecture(), wanted, found });
    }
    let nodes = network.nodes().len();
    if let Some(tap) = taps.iter().map(|tap| tap.index()).find(|&tap| tap >= nodes) {
        return Err(EngineError::Tap { architecture: architecture(), tap, nodes });
    }
    if found[0] == 0 && norm == Norm::Batch && network.has_batch_norm() {
        return Err(EngineError::EmptyBatch { architecture: architecture() });
    }
    Ok(found[0])
}

/// What a tape remembers of its forward so that a wrong [`Engine::backward`] can be refused.
pub(crate) struct Origin {
    architecture: String,
    layout: Arc<Layout>,
    pub(crate) keep: Keep,
    precision: Precision,
    /// The shapes of the outputs, batch included.
    pub(crate) outputs: Vec<Vec<usize>>,
}

impl Origin {
    pub(crate) fn new(
        network: &Network,
        params: &Params,
        keep: Keep,
        outputs: &[NodeId],
        images: usize,
    ) -> Self {
        let shape = |&id: &NodeId| match network.node(id).shape {
            Shape::Map { channels, height, width } => vec![images, channels, height, width],
            Shape::Flat(features) => vec![images, features],
        };
        Self {
            architecture: network.architecture().to_string(),
            layout: network.layout().clone(),
            keep,
            precision: params.precision(),
            outputs: outputs.iter().map(shape).collect(),
        }
    }

    /// Refuses what [`Engine::backward`] cannot run.
    pub(crate) fn check_backward(
        &self,
        seeds: &[Option<Tensor>],
        grads: Option<&Grads>,
    ) -> Result<(), EngineError> {
        if seeds.len() != self.outputs.len() {
            return Err(EngineError::Seeds { wanted: self.outputs.len(), found: seeds.len() });
        }
        for (seed, wanted) in seeds.iter().zip(&self.outputs) {
            let Some(seed) = seed else { continue };
            if seed.dims() != wanted {
                return Err(EngineError::SeedShape { wanted: wanted.clone(), found: seed.dims().to_vec() });
            }
        }
        let Some(grads) = grads else { return Ok(()) };
        if !self.keep.params() {
            return Err(EngineError::NotKept("parameters"));
        }
        if !same_layout(grads.layout(), &self.layout) || grads.values().precision() != self.precision {
            return Err(EngineError::Grads {
                architecture: self.architecture.clone(),
                wanted: described(&self.layout, self.precision),
                found: described(grads.layout(), grads.values().precision()),
            });
        }
        Ok(())
    }
}

/// Enough to tell a network's parameters from another's.
fn described(layout: &Layout, precision: Precision) -> String {
    let (tensors, values) = (layout.trainable().len(), layout.trainable_len());
    format!("{values} values in {tensors} tensors, {}", precision.name())
}

fn same_layout(one: &Arc<Layout>, other: &Arc<Layout>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    }
}
