//! The network under attack, as an attack sees it.

use candle_core::Tensor;
use engine::{Engine, EngineError, Images, Keep, Network, NodeId, Norm, Params, Pass};

/// A network with its values.
#[derive(Clone, Copy)]
pub struct Victim<'a> {
    /// What runs it.
    pub engine: &'a dyn Engine,
    /// The architecture.
    pub network: &'a Network,
    /// The values.
    pub params: &'a Params,
    /// The statistics of BatchNorm that gradients are taken under.
    pub norm: Norm,
}

impl<'a> Victim<'a> {
    /// Under running statistics: batch statistics would let images of a batch help each other, and ten attack steps
    /// would drift them.
    pub fn new(engine: &'a dyn Engine, network: &'a Network, params: &'a Params) -> Self {
        Self { engine, network, params, norm: Norm::Running }
    }
}

impl Victim<'_> {
    /// Logits `(N, K)` under running statistics, as an image is judged by.
    pub fn logits(&self, images: &Images) -> Result<Tensor, EngineError> {
        self.engine.logits(self.network, self.params, images)
    }

    /// Logits under running statistics, and the feature maps `(N, C, H, W)` at these nodes.
    pub fn maps(&self, images: &Images, taps: &[NodeId]) -> Result<(Tensor, Vec<Tensor>), EngineError> {
        let (norm, keep) = (Norm::Running, Keep::Nothing);
        let Pass { logits, taps, .. } =
            self.engine.forward(self.network, self.params, images, norm, keep, taps)?;
        Ok((logits, taps))
    }

    /// Logits as an attack sees them, which may be rounded more: all that it needs where it differentiates nothing.
    pub(super) fn query(&self, images: &Images) -> Result<Tensor, EngineError> {
        self.engine.query(self.network, self.params, images)
    }

    /// A forward that can go back to the images.
    pub(super) fn pass(&self, images: &Images) -> Result<Pass, EngineError> {
        self.engine.forward(self.network, self.params, images, self.norm, Keep::ForImage, &[])
    }
}
