//! IAD on AdaAD's attack. Source: Huang et al., CVPR 2023, arXiv:2303.05754.

use candle_core::{Result, Tensor};

use super::adaad;
use super::iad::{self, Introspection};
use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::Answers;
use crate::options::Choice;

const TEMPERATURE: Choice = Choice { default: 30.0, ..iad::TEMPERATURE };

pub(super) static ROW: Row = Row {
    name: "adaiad",
    summary: "adaad, and the student's own clean logits as far as the live teacher errs (arXiv:2303.05754)",
    options: &[iad::ALPHA, TEMPERATURE, iad::TRUST, iad::BEGIN],
    as_published: None,
    make: |options| Box::new(AdaIad { introspection: Introspection::of(options) }),
};

/// AdaIAD: IAD-I's loss on images where the student and the teacher differ most.
///
/// Attack: AdaAD's. Loss: IAD-I's with the teacher's term towards T(x') in place of T(x):
/// `alpha t^2 mean KL(T(x') / t || S(x') / t) + alpha mean (1 - c) KL(S(x) || S(x')) + (1 - alpha) mean CE(S(x), y)`, the
/// second term after 60 epochs. t is 30; c is IAD-I's trust.
///
/// As in its authors' code (boyellow/AdaAD, `main.py`, method `AdaAD_with_IAD1`): the clean forward comes first, then x', then
/// x for the second term once it has begun, and x for the hard labels even where alpha is 1: three forwards, then four, move
/// the running statistics. Its rate falls as it says. Weight decay, epochs, eps and step are AdaAD's.
#[derive(Clone, Copy, Debug)]
pub struct AdaIad {
    /// The loss.
    pub introspection: Introspection,
}

impl Objective for AdaIad {
    fn needs(&self) -> Needs {
        Needs::teacher(Asked::about([Forward::Adversarial]).climbed())
    }

    fn inner(&self) -> Option<Inner> {
        Some(adaad::inner())
    }

    fn attack_loss(&self, answers: &Answers, _: &Targets) -> Result<Tensor> {
        adaad::attack_loss(answers)
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        let mut forwards = vec![Forward::Clean, Forward::Adversarial, Forward::Clean];
        if self.introspection.has_begun(epoch) {
            forwards.push(Forward::Clean);
        }
        forwards
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        self.introspection.loss(targets.teacher.adversarial(), said, targets)
    }
}
