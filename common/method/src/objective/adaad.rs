//! Adaptive adversarial distillation. Source: Huang et al., CVPR 2023, arXiv:2303.05754.

use candle_core::{Result, Tensor};

use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::rslad;
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::kl;

const ALPHA: Choice = Choice { default: 1.0, ..rslad::ALPHA };

pub(super) static ROW: Row = Row {
    name: "adaad",
    summary: "a live teacher's logits on images where it and the student differ most (arXiv:2303.05754)",
    options: &[ALPHA, rslad::KL_SCALE],
    as_published: None,
    make: |options| {
        Box::new(AdaAd { alpha: options.get(ALPHA.key), kl_scale: options.get(rslad::KL_SCALE.key) })
    },
};

/// Adaptive distillation: agree with the teacher where the two disagree most.
///
/// Attack: raise `sum KL(T(x') || S(x'))` from 0.001 times a normal, with the gradient through student *and* teacher.
/// Loss: `scale * (alpha mean KL(T(x') || S(x')) + (1 - alpha) mean KL(T(x) || S(x)))`, means over the batch, the
/// teacher's logits constants. The clean forward comes first and counts for the running statistics even where alpha is 1.
///
/// As in its authors' code (boyellow/AdaAD, `main.py` and `AT_helper.py`): alpha is 1, and the scale is 0.1, which their
/// mean over batch and classes gives on CIFAR-10. On CIFAR-100 they average over the batch alone: pass a scale of 1 there.
/// Their T(x) at alpha 1 has no effect and is not asked for. Their 200 epochs fall after 100 and 150 under a weight decay
/// of 5e-4; eps and step are 16/255 and 4/255 unless their command line says 8 and 2.
#[derive(Clone, Copy, Debug)]
pub struct AdaAd {
    /// Weight of the adversarial term; the clean term has the rest.
    pub alpha: f64,
    /// Factor on the whole loss.
    pub kl_scale: f64,
}

/// How the student is attacked, by every method that climbs where it and the teacher differ.
pub(super) fn inner() -> Inner {
    Inner::from(Start::Gaussian { sigma: 0.001 })
}

/// What that attack raises.
pub(super) fn attack_loss(answers: &Answers) -> Result<Tensor> {
    kl(answers.teacher(), &answers.student)
}

impl AdaAd {
    fn asks_about_clean(&self) -> bool {
        self.alpha < 1.0
    }
}

impl Objective for AdaAd {
    fn needs(&self) -> Needs {
        let adversarial = Asked::about([Forward::Adversarial]).climbed();
        Needs::teacher(if self.asks_about_clean() {
            Asked::about([Forward::Clean]).and(adversarial)
        } else {
            adversarial
        })
    }

    fn inner(&self) -> Option<Inner> {
        Some(inner())
    }

    fn attack_loss(&self, answers: &Answers, _: &Targets) -> Result<Tensor> {
        attack_loss(answers)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let mut loss = (kl(targets.teacher.adversarial(), said.adversarial())?.mean_all()? * self.alpha)?;
        if self.asks_about_clean() {
            let clean = kl(targets.teacher.clean(), said.clean())?.mean_all()?;
            loss = (loss + (clean * (1.0 - self.alpha))?)?;
        }
        loss * self.kl_scale
    }
}
