//! Projected gradient descent in the l-infinity ball, as training uses it. Source: Madry et al., arXiv:1706.06083.

use candle_core::Tensor;
use engine::EngineError;

use super::ascent::ascend;
use super::field::{At, Field};
use super::start::Starts;
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
    /// Adversarial images for `images` `(N, C, H, W)`, at which the field is to be high. With `steps` 0 it gives the
    /// start, which only projection would bring into the ball.
    ///
    /// `watch` sees what was found before each step: at the start first, at the result never.
    pub fn perturb(
        &self,
        field: &Field,
        images: &Tensor,
        starts: &Starts,
        watch: &mut dyn FnMut(&At) -> candle_core::Result<()>,
    ) -> Result<Tensor, EngineError> {
        let mut adversarial = match self.start {
            Start::Image => images.clone(),
            Start::Uniform => (images + (starts.uniform(images)? * self.threat.eps)?)?,
            Start::Gaussian { sigma } => (images + (starts.normal(images)? * sigma)?)?,
        };
        for _ in 0..self.steps {
            let at = field.at(&adversarial)?;
            watch(&at)?;
            adversarial = ascend(self.threat, self.step_size, images, &adversarial, &at.gradient)?;
        }
        Ok(adversarial)
    }
}
