//! Sample-wise adaptive adversarial distillation: its weights by the teacher's entropy. Source: Lee et al., TMLR 2026,
//! arXiv:2512.10275.

use candle_core::{D, Result, Tensor};

use super::igdm;
use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{kl, log_softmax, softmax};

const SCALE: Choice = Choice {
    key: "entropy-scale",
    default: 5.0,
    least: 1e-3,
    most: 1e3,
    is_whole: false,
    help: "weight of an image per nat by which the teacher is less sure of it than of the batch's surest",
};
const ALPHA: Choice = Choice {
    key: "alpha",
    default: 1.0,
    least: 0.0,
    most: 1e4,
    is_whole: false,
    help: "weight of IGDM's term in the last epoch; it grows from 0 in proportion to the epochs",
};
const CLEAN: Choice = Choice {
    key: "clean",
    default: 0.0,
    least: 0.0,
    most: 1e3,
    is_whole: false,
    help: "weight of the clean term, which the images have that the teacher is sure of",
};

pub(super) static ROW: Row = Row {
    name: "saad",
    summary: "a live teacher's adversarial logits, more of the images that it is unsure of (arXiv:2512.10275)",
    options: &[SCALE, ALPHA, CLEAN],
    as_published: None,
    make: |options| {
        Box::new(Saad {
            scale: options.get(SCALE.key),
            alpha: options.get(ALPHA.key),
            clean: options.get(CLEAN.key),
        })
    },
};

/// SAAD's loss: each image counts by the teacher's entropy on its adversarial version.
///
/// Attack: RSLAD's, `sum KL(T(x) || S(x'))` from 0.001 times a normal. Loss, with H the entropy of T(x') in nats,
/// `w = scale (H - min H)` over the batch and `v = w / (max w + 1e-8)`, constants:
/// `mean [w (KL(T(x') || S(x')) + alpha (ep / E) KL_IGDM) + c (1 - v) KL(T(x) || S(x))]`, `KL_IGDM` as in [`Igdm`](super::Igdm),
/// means over the batch, ep from 1. Alpha is 1 on CIFAR-10, 20 on CIFAR-100 and 10 on Tiny-ImageNet; c is 0 (SAAD), 0.2 or
/// 0.5 (SAAD-C). Images are weighed within the step's batch, so the batch's size is part of the method.
///
/// As in its authors' code (HongsinLee/saad 295121c, saad.py): forwards of x', x - d, x, the last even where c is 0. Left
/// out of SAAD: the attack's target is T(x) as it is, where theirs adds the teacher's image gradient of the label's logit times
/// x' - x to that logit (their lambda 1; this is their lambda 0); the average of the student's weights from epoch 95 on is not
/// part of the objective.
#[derive(Clone, Copy, Debug)]
pub struct Saad {
    /// Weight of an image per nat of entropy.
    pub scale: f64,
    /// Weight of IGDM's term at the end of the run.
    pub alpha: f64,
    /// Weight of the clean term.
    pub clean: f64,
}

/// Entropy of the softmax of `(N, K)` logits in nats, `(N,)`.
fn entropy(logits: &Tensor) -> Result<Tensor> {
    let logarithms = log_softmax(logits)?;
    (logarithms.exp()? * logarithms)?.sum(D::Minus1)?.neg()
}

impl Objective for Saad {
    fn needs(&self) -> Needs {
        Needs::teacher(Asked::about([Forward::Clean, Forward::Adversarial, Forward::Opposite]))
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Gaussian { sigma: 0.001 }))
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        kl(targets.teacher.clean(), &answers.student)
    }

    fn attack_target(&self, targets: &Targets, _: usize) -> Result<Option<Tensor>> {
        softmax(targets.teacher.clean()).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Opposite, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let entropy = entropy(targets.teacher.adversarial())?;
        let weights = (entropy.broadcast_sub(&entropy.min_keepdim(0)?)? * self.scale)?;
        let taught = kl(targets.teacher.adversarial(), said.adversarial())?;
        let alike = (igdm::mismatch(said, targets)? * self.alpha)?;
        let mut loss = (&weights * (taught + alike)?)?;
        if self.clean > 0.0 {
            let most = (weights.max_keepdim(0)? + 1e-8)?;
            let sure = (1.0 - weights.broadcast_div(&most)?)?;
            let clean = (kl(targets.teacher.clean(), said.clean())? * sure)?;
            loss = (loss + (clean * self.clean)?)?;
        }
        loss.mean_all()
    }
}
