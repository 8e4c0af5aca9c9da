//! The network under attack, as an attack sees it.

use candle_core::Tensor;
use engine::{Engine, EngineError, Keep, Network, Norm, Params};

/// A network with its values, run under running statistics: batch statistics would let images of a batch help each
/// other, and ten attack steps would drift them.
#[derive(Clone, Copy)]
pub struct Victim<'a> {
    /// What runs it.
    pub engine: &'a dyn Engine,
    /// The architecture.
    pub network: &'a Network,
    /// The values.
    pub params: &'a Params,
}

impl Victim<'_> {
    /// Logits `(N, K)`.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, EngineError> {
        self.engine.logits(self.network, self.params, images)
    }

    /// The gradient `(N, C, H, W)` at `images` of a loss of the logits; a scalar, so summed over the batch.
    pub fn image_gradient(
        &self,
        images: &Tensor,
        loss: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Tensor, EngineError> {
        let pass =
            self.engine.forward(self.network, self.params, images, Norm::Running, Keep::ForImage, &[])?;
        let seed = gradient_at(&pass.logits, loss)?;
        let gradient = self.engine.backward(pass.tape, &[Some(seed)], None)?;
        Ok(gradient.expect("forward kept the image"))
    }
}

/// The gradient of a scalar expression of the logits, by candle's autograd.
fn gradient_at(
    logits: &Tensor,
    loss: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Tensor> {
    let leaf = candle_core::Var::from_tensor(logits)?;
    let gradients = loss(leaf.as_tensor())?.backward()?;
    match gradients.get(leaf.as_tensor()) {
        Some(gradient) => Ok(gradient.clone()),
        None => leaf.zeros_like(),
    }
}
