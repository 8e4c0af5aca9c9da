//! Robust soft label distillation. Source: Zi et al., ICCV 2021, arXiv:2108.07969.

use candle_core::{Result, Tensor};

use super::{Forward, Needs, Objective, Targets};
use crate::attack::Start;
use crate::soft::kl;

/// RSLAD: the teacher's soft labels on the clean view are the target on the clean and on the adversarial image.
///
/// Attack: raise `sum KL(softmax T(x) || softmax S(x'))`. Loss: `scale * (5/6 mean KL(T(x) || S(x')) +
/// 1/6 mean KL(T(x) || S(x)))`, means over the batch.
///
/// Differences from the paper's text, all as in its authors' code: the KL has the teacher as the target (the paper
/// writes it the other way round); the scale is 0.1, which their mean over batch and classes gives for 10 classes
/// and their factor 10 restores for 100; the attack starts at 0.001 times a normal. Their 1e-5 inside a logarithm
/// of the teacher's probabilities shifts the printed loss and no gradient; it is left out.
#[derive(Clone, Copy, Debug)]
pub struct Rslad {
    /// Weight of the adversarial term; the clean term has the rest.
    pub adversarial: f64,
    /// Factor on the whole loss, the same for any number of classes.
    pub kl_scale: f64,
}

impl Default for Rslad {
    fn default() -> Self {
        Self { adversarial: 5.0 / 6.0, kl_scale: 0.1 }
    }
}

impl Objective for Rslad {
    fn needs(&self) -> Needs {
        Needs::CachedLabels
    }

    fn attack_start(&self) -> Option<Start> {
        Some(Start::Gaussian { sigma: 0.001 })
    }

    fn attack_loss(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        kl(targets.teacher(), logits)?.sum_all()
    }

    fn forwards(&self) -> &'static [Forward] {
        &[Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, logits: &[Tensor], targets: &Targets) -> Result<Tensor> {
        let adversarial = kl(targets.teacher(), &logits[0])?.mean_all()?;
        let clean = kl(targets.teacher(), &logits[1])?.mean_all()?;
        ((adversarial * self.adversarial)? + (clean * (1.0 - self.adversarial))?)? * self.kl_scale
    }
}
