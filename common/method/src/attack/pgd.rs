//! Projected gradient descent in the l-infinity ball, as training uses it. Source: Madry et al., arXiv:1706.06083.

use candle_core::Tensor;
use engine::{Ascent, AttackLoss, EngineError, Images, host};

use super::field::{At, Field};
use super::start::Starts;
use super::victim::Victim;
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
    /// Adversarial images for `images` `(N, C, H, W)`, at which a loss that the engine knows is high for the student: to be
    /// far from a distribution `(N, K)` (its gradient at the logits z is `softmax(z) - target`; a tensor is one), or wrong
    /// by a wide margin of logits. The whole attack is one call of the engine, under running statistics. With `steps` 0 it
    /// gives the start.
    pub fn flee<'a>(
        &self,
        student: &Victim,
        loss: impl Into<AttackLoss<'a>>,
        images: &Images,
        starts: &Starts,
    ) -> Result<Images, EngineError> {
        let shift = |offsets: &Tensor, by| student.engine.shift(images, offsets, by);
        let start = self.start(images, starts, shift)?;
        student.engine.attack(student.network, student.params, images, &start, loss.into(), self.ascent())
    }

    /// The same for any field, which is to be high there: slower, since logits, gradient and images come to the host at
    /// each step. With `steps` 0 it gives the start, which only projection would bring into the ball.
    ///
    /// `watch` sees what was found before each step: at the start first, at the result never.
    pub fn perturb(
        &self,
        field: &Field,
        images: &Images,
        starts: &Starts,
        watch: &mut dyn FnMut(&At) -> candle_core::Result<()>,
    ) -> Result<Images, EngineError> {
        // Each step reads it on the host.
        let shift = |offsets: &Tensor, by| host::shift(images, offsets, by);
        let mut adversarial = self.start(images, starts, shift)?;
        for _ in 0..self.steps {
            let at = field.at(&adversarial)?;
            watch(&at)?;
            adversarial =
                host::ascend(self.ascent(), images.tensor()?, adversarial.tensor()?, &at.gradient)?.into();
        }
        Ok(adversarial)
    }

    /// Where it starts; `shift` gives the images and so much of these offsets.
    fn start(
        &self,
        images: &Images,
        starts: &Starts,
        shift: impl Fn(&Tensor, f64) -> Result<Images, EngineError>,
    ) -> Result<Images, EngineError> {
        match self.start {
            Start::Image => Ok(images.clone()),
            Start::Uniform => shift(&starts.uniform(images)?, self.threat.eps),
            Start::Gaussian { sigma } => shift(&starts.normal(images)?, sigma),
        }
    }

    fn ascent(&self) -> Ascent {
        Ascent { steps: self.steps, step_size: self.step_size, eps: self.threat.eps }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn a_step_is_the_sign_and_the_threats_projection() {
        let threat = Threat::linf(8.0 / 255.0);
        let values = |seed: usize| -> Vec<f64> {
            (0..240).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f64 / 999.0).collect()
        };
        for dtype in [DType::F32, DType::F64] {
            let tensor = |values: Vec<f64>| {
                Tensor::from_vec(values, (2, 3, 5, 8), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let images = tensor(values(1));
            let adversarial = (&images + ((tensor(values(2)) - 0.5).unwrap() * 0.08).unwrap()).unwrap();
            let gradient = ((tensor(values(3)) * 5.0).unwrap().floor().unwrap() - 2.0).unwrap();
            let pgd = Pgd { threat, steps: 1, step_size: 2.0 / 255.0, start: Start::Image };
            let found = host::ascend(pgd.ascent(), &images, &adversarial, &gradient).unwrap();
            let sign = (gradient.gt(0.0).unwrap().to_dtype(dtype).unwrap()
                - gradient.lt(0.0).unwrap().to_dtype(dtype).unwrap())
            .unwrap();
            let moved = (&adversarial + (sign * (2.0 / 255.0)).unwrap()).unwrap();
            let wanted = threat.project(&images, &moved).unwrap();
            assert_eq!(format!("{:?}", bits(&found)), format!("{:?}", bits(&wanted)));
            assert_ne!(bits(&found), bits(&adversarial));
        }
    }

    fn bits(tensor: &Tensor) -> Vec<u64> {
        let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        values.into_iter().map(f64::to_bits).collect()
    }
}
