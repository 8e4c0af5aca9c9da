//! Projected gradient descent in the l-infinity ball. Source: Madry et al., arXiv:1706.06083.

use candle_core::Tensor;
use engine::EngineError;

use super::ascent::ascend;
use super::field::{Answers, At, Field};
use super::row::{Aim, Attack, Row};
use super::start::Starts;
use super::victim::Victim;
use crate::soft::cross_entropy;
use crate::threat::Threat;

/// PGD as it judges: on cross-entropy, from a uniform start.
pub(super) static ROW: Row = Row {
    name: "pgdN",
    summary: "N signed gradient steps of cross-entropy from a uniform start, such as pgd20 (arXiv:1706.06083)",
    example: "pgd20",
    make: |name| {
        let steps = steps_after("pgd", name)?;
        Some(Box::new(Signed { name: name.into(), steps, start: Start::Uniform, stride: Stride::Given }))
    },
};

/// The number N of a name `PREFIXN`, from 1 to 100,000 and written the one usual way.
pub(super) fn steps_after(prefix: &str, name: &str) -> Option<usize> {
    let digits = name.strip_prefix(prefix)?;
    let most = 1..=100_000;
    digits.parse().ok().filter(|steps: &usize| most.contains(steps) && steps.to_string() == digits)
}

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

/// How far a judging attack goes per step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stride {
    /// As far as the ball reaches.
    Eps,
    /// As far as its user says.
    Given,
}

/// PGD on cross-entropy with hard labels, under a name.
pub(super) struct Signed {
    pub name: String,
    pub steps: usize,
    pub start: Start,
    pub stride: Stride,
}

impl Attack for Signed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn perturb(&self, victim: &Victim, images: &Tensor, aim: &Aim) -> Result<Tensor, EngineError> {
        let step_size = match self.stride {
            Stride::Eps => aim.threat.eps,
            Stride::Given => aim.step_size,
        };
        let pgd = Pgd { threat: aim.threat, steps: self.steps, step_size, start: self.start };
        let value = |answers: &Answers| cross_entropy(&answers.student, aim.classes);
        let field = Field { student: *victim, teacher: None, value: &value };
        pgd.perturb(&field, images, &aim.starts, &mut |at| (aim.watch)(at))
    }
}
