//! The surface that every engine has: forward and backward with tapes between them, and whatever else a training step
//! does to state that may lie where the engine computes.

use std::any::Any;

use candle_core::Tensor;
use names::Row;

use crate::album::{Album, Cutting};
use crate::climb::{Climbed, Climbers, Stride};
use crate::cuda::{Demand, Room};
use crate::error::EngineError;
use crate::graph::{Network, NodeId};
use crate::images::Images;
use crate::params::{Grads, Params, Values};

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

/// Mean and unbiased variance of every BatchNorm's input over one batch, laid out as the running statistics.
///
/// They lie where the engine computes, and do not touch the running statistics by themselves: an attack never moves
/// those, a training step does ([`Engine::move_statistics`]).
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// None where no BatchNorm averaged over the batch.
    pub values: Option<Values>,
}

/// What an engine computes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// `cpu`, or the name of a card.
    pub device: String,
    /// What logits are computed in: `f32` unless an engine was asked for less.
    pub precision: &'static str,
    /// The memory of a card; none of the processor, whose memory is the system's.
    pub room: Option<Room>,
}

impl Hardware {
    /// The processor, in f32.
    pub(crate) fn processor() -> Self {
        Self { device: "cpu".into(), precision: "f32", room: None }
    }

    /// Whether it is the processor, and no card.
    pub fn is_processor(&self) -> bool {
        self.device == "cpu"
    }
}

/// A step of stochastic gradient descent with momentum and weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// Share of the old velocity that is kept.
    pub momentum: f64,
    /// Pull of every parameter towards zero, added to its gradient.
    pub weight_decay: f64,
    /// The learning rate.
    pub rate: f64,
    /// Whether a step looks ahead along the new velocity (Nesterov's, as PyTorch's `SGD(nesterov=True)` has it).
    pub nesterov: bool,
}

/// An attack by the sign of the gradient within an l-infinity ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ascent {
    /// Gradient steps.
    pub steps: usize,
    /// Change of a pixel per step, in units of the pixel range.
    pub step_size: f64,
    /// Radius of the ball, likewise.
    pub eps: f64,
}

/// What a whole attack raises ([`Engine::attack`]).
#[derive(Clone, Copy, Debug)]
pub enum AttackLoss<'a> {
    /// A loss whose gradient at the logits `z` of an image is `softmax(z) - t`: cross-entropy with a hard label, or KL
    /// divergence from a distribution that does not depend on the attacked image. Holds t, `(N, K)`, in f32 or f64.
    Target(&'a Tensor),
    /// `max z_other - z_label`, of each image's label: Carlini and Wagner's loss, arXiv:1608.04644, where nothing limits
    /// it. Of equal logits the first counts; of one class there is no other, and nothing to climb.
    Margin(&'a [usize]),
    /// The difference of logits ratio, `(max z_other - z_label) / (z_1st - z_3rd + 1e-12)`: Croce and Hein,
    /// arXiv:2003.01690, section 4. Of two classes there is no third, and the margin stands in.
    Dlr(&'a [usize]),
}

impl<'a> From<&'a Tensor> for AttackLoss<'a> {
    fn from(target: &'a Tensor) -> Self {
        Self::Target(target)
    }
}

/// Runs any [`Network`], and moves its values as training does.
///
/// Under [`Norm::Running`] an image's logits and gradients depend neither on its neighbours in the batch nor on the
/// batch's size. Results never depend on the number of threads.
///
/// All state that a training step touches may lie where the engine computes ([`Values`], [`Images`]) and stays there from
/// one call to the next. Engines whose memory is the host's use the functions of [`host`](crate::host). No method has a
/// body here, so that an engine around another cannot forget to pass one on.
pub trait Engine: Send + Sync {
    /// The name that label sets and `env.json` record.
    fn name(&self) -> &'static str;

    /// What it computes on, and how finely, for the same records.
    fn hardware(&self) -> Hardware;

    /// What a forward over a batch, and its backward where anything is kept, ask of the device: a model to compare what is
    /// measured with. None where the engine has none.
    fn demand(&self, network: &Network, norm: Norm, keep: Keep, batch: usize) -> Option<Demand>;

    /// Runs `images` `(N, C, H, W)`, pixels in [0, 1], through the network; N may be 0 where nothing is averaged over
    /// the batch. Refuses images and parameters that are not the network's, and taps beyond its nodes.
    fn forward(
        &self,
        network: &Network,
        params: &Params,
        images: &Images,
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

    /// Logits `(N, K)` under running statistics, keeping nothing: what labels are written from and images judged by.
    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError>;

    /// The same for an attack's queries: an engine may round as it does in an attack's forwards.
    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError>;

    /// A whole attack under running statistics. Refuses a target or labels that are not the images' and the network's.
    ///
    /// From `start`, `by.steps` times: `x + step_size * sign(gradient)`, brought into the ball around `clean` and then into
    /// [0, 1]. A pixel whose gradient is zero or not a number moves by nothing. With no steps it gives `start`, which
    /// only the projection after a step would bring into the ball. n steps are n attacks of one step, bit for bit.
    fn attack(
        &self,
        network: &Network,
        params: &Params,
        clean: &Images,
        start: &Images,
        loss: AttackLoss<'_>,
        by: Ascent,
    ) -> Result<Images, EngineError>;

    /// Goes back from the logits' slopes `(N, K)` to the gradient of the images of a forward that kept it, and moves each
    /// climber by its own [`Stride`]. Refuses climbers and strides that are not as many as the images, or of another shape.
    fn climb(
        &self,
        tape: Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError>;

    /// A batch of rows of other batches, in this order, where the engine computes. Refuses none at all, rows that are not
    /// there, and images of different shapes.
    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError>;

    /// Views `(N, C, H, W)` in f32, cut where the engine computes; none where it keeps no such album, and whoever asks cuts
    /// them. Refuses views of images that the album does not have.
    fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError>;

    /// `images + by * offsets`, each operation rounded by itself: where an attack starts. Offsets have the images' shape and
    /// precision.
    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError>;

    /// Sets every gradient to zero, for the next step.
    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError>;

    /// `pull = gradient + weight_decay * parameter; velocity = momentum * velocity + pull; parameter -= rate * velocity`,
    /// for every parameter, BatchNorm and biases included; Nesterov's step is `rate * (pull + momentum * velocity)`.
    /// Refuses gradients and a velocity of other parameters.
    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Values,
        by: Descent,
    ) -> Result<(), EngineError>;

    /// Moves the running statistics towards a batch's: `running = (1 - momentum) * running + momentum * batch`, with the
    /// momentum of each BatchNorm (PyTorch's rule; 0.1 unless the network says otherwise), and counts the batch. Does
    /// nothing where the batch has no statistics.
    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError>;

    /// `average += (1 - decay) (student - average)`, for parameters and running statistics alike, interpolated from the
    /// nearer end as PyTorch does; the counters become the student's. Refuses an average of another network.
    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError>;
}

/// A row of the table of engines: one that can be started.
#[derive(Debug)]
pub struct EngineRow {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) start: fn(&crate::kind::Start) -> Result<Box<dyn Engine>, EngineError>,
}

impl Row for EngineRow {
    const WHAT: &'static str = "device";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("gpu", "`cuda` is for NVIDIA GPUs"),
        ("nvidia", "`cuda` is for NVIDIA GPUs"),
        ("cuda:*", "the number of a GPU stands behind the colon, as in `cuda:1` for the second"),
        ("mps", "nothing here runs on Apple's GPUs; `cpu` is fast"),
        ("rocm", "nothing here runs on AMD's GPUs; `cpu` is fast"),
    ];
}
