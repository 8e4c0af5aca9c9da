//! Projected gradient descent in the l-infinity ball. Source: Madry et al., arXiv:1706.06083.

use candle_core::Tensor;
use engine::EngineError;

use super::ascent::ascend;
use super::{Starts, Victim};
use crate::threat::Threat;

/// Where PGD starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// At the image: one step of size eps from here is FGSM.
    Image,
    /// Uniform in the ball, as Madry et al.
    Uniform,
    /// The image plus `sigma` times a standard normal, not clamped, as TRADES and RSLAD do with sigma 0.001.
    Gaussian {
        /// Standard deviation in units of the pixel range.
        sigma: f64,
    },
}

/// PGD: `steps` times `step_size * sign(gradient)`, projected into the ball and the pixel range after each.
///
/// Pixels whose gradient is exactly zero stay (sign(0) = 0, as in PyTorch).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pgd {
    /// What the adversary may do.
    pub threat: Threat,
    /// Number of gradient steps.
    pub steps: usize,
    /// Change of a pixel per step, in units of the pixel range.
    pub step_size: f64,
    /// Where it starts.
    pub start: Start,
}

impl Pgd {
    /// Adversarial images for `images` `(N, C, H, W)`, of which `loss` of the logits (a scalar, summed over the batch)
    /// is to become large. With `steps` 0 it gives the start, which only projection would bring into the ball.
    pub fn perturb(
        &self,
        victim: &Victim,
        images: &Tensor,
        starts: &Starts,
        loss: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Tensor, EngineError> {
        let mut adversarial = match self.start {
            Start::Image => images.clone(),
            Start::Uniform => (images + (starts.uniform(images)? * self.threat.eps)?)?,
            Start::Gaussian { sigma } => (images + (starts.normal(images)? * sigma)?)?,
        };
        for _ in 0..self.steps {
            let gradient = victim.image_gradient(&adversarial, loss)?;
            adversarial = ascend(self.threat, self.step_size, images, &adversarial, &gradient)?;
        }
        Ok(adversarial)
    }
}
