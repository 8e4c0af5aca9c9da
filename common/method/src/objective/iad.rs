//! Introspective adversarial distillation, with one teacher (IAD-I). Source: Zhu et al., ICLR 2022, arXiv:2106.04928.

use candle_core::{Result, Tensor};
use engine::Norm;

use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, Start};
use crate::options::{Choice, Options};
use crate::schedule::Schedule;
use crate::soft::{cross_entropy, kl, one_hot, tempered};

pub(super) const ALPHA: Choice = Choice {
    key: "alpha",
    default: 1.0,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "weight of both terms without hard labels; hard labels on clean images have the rest",
};
pub(super) const TEMPERATURE: Choice = Choice {
    key: "temperature",
    default: 1.0,
    least: 0.01,
    most: 1e3,
    is_whole: false,
    help: "divisor of both networks' logits in the teacher's term, which is multiplied by its square",
};
pub(super) const TRUST: Choice = Choice {
    key: "trust",
    default: 0.1,
    least: 0.0,
    most: 100.0,
    is_whole: false,
    help: "power of the teacher's adversarial probability of the label, which is the trust in it",
};
pub(super) const BEGIN: Choice = Choice {
    key: "begin",
    default: 60.0,
    least: 0.0,
    most: 1e6,
    is_whole: true,
    help: "epochs before the student begins to listen to itself",
};

/// What the loop of the authors loses, for the rows of both variants.
pub(super) const LOST_DROP: &str = "the learning rate falls at the first milestone alone";

pub(super) static ROW: Row = Row {
    name: "iad",
    summary: "a teacher's clean logits, and the student's own as far as a live teacher errs (arXiv:2106.04928)",
    options: &[ALPHA, TEMPERATURE, TRUST, BEGIN],
    as_published: Some(LOST_DROP),
    make: |options| {
        Box::new(Iad { introspection: Introspection::of(options), as_published: options.as_published() })
    },
};

/// The loss of IAD-I, whatever the teacher's term is about.
#[derive(Clone, Copy, Debug)]
pub struct Introspection {
    /// Weight of the terms without hard labels.
    pub alpha: f64,
    /// Divisor of logits in the teacher's term.
    pub temperature: f64,
    /// Exponent of the trust.
    pub exponent: f64,
    /// Epochs before the student begins to listen to itself.
    pub begin: usize,
}

impl Introspection {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            alpha: options.get(ALPHA.key),
            temperature: options.get(TEMPERATURE.key),
            exponent: options.get(TRUST.key),
            begin: options.get(BEGIN.key) as usize,
        }
    }

    pub(super) fn has_begun(&self, epoch: Epoch) -> bool {
        epoch.number >= self.begin
    }

    /// `(N,)`: KL of the student on x' from `teacher`'s logits, both softened.
    pub(super) fn taught(&self, teacher: &Tensor, said: &Said) -> Result<Tensor> {
        let soft = |logits: &Tensor| tempered(logits, self.temperature);
        kl(&soft(teacher)?, &soft(said.adversarial())?)
    }

    /// `(N,)`: the teacher's probability of the label on x', to that power; a constant.
    pub(super) fn trust(&self, targets: &Targets) -> Result<Tensor> {
        (cross_entropy(targets.teacher.adversarial(), &targets.labels)? * -self.exponent)?.exp()
    }

    /// `(N,)`: KL of the student on x' from the student on x, times what trust in the teacher leaves. Both carry gradient.
    pub(super) fn own(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        kl(said.clean(), said.adversarial())? * (1.0 - self.trust(targets)?)?
    }

    /// The whole loss, where the teacher's term is towards `teacher`.
    pub(super) fn loss(&self, teacher: &Tensor, said: &Said, targets: &Targets) -> Result<Tensor> {
        let scale = self.alpha * self.temperature * self.temperature;
        let mut loss = (self.taught(teacher, said)?.mean_all()? * scale)?;
        if self.has_begun(targets.epoch) {
            loss = (loss + (self.own(said, targets)?.mean_all()? * self.alpha)?)?;
        }
        if self.alpha < 1.0 {
            let right = cross_entropy(said.clean(), &targets.labels)?.mean_all()?;
            loss = (loss + (right * (1.0 - self.alpha))?)?;
        }
        Ok(loss)
    }
}

/// IAD-I: the teacher's soft labels, and one's own where the teacher is not to be trusted.
///
/// Attack: raise `sum CE(S(x'), y)` from a uniform start, with BatchNorm on the batch's own statistics, as ARD's. Loss, with
/// the trust `c = T_y(x')^b` a constant of each image: `alpha t^2 mean KL(T(x) / t || S(x') / t) +
/// alpha mean (1 - c) KL(S(x) || S(x')) + (1 - alpha) mean CE(S(x), y)`, means over the batch. The second term begins after 60
/// epochs; the live teacher is asked one forward a step, from then on. S(x) carries gradient in it.
///
/// As in its authors' code (ZFancy/IAD a8091a8, IAD-I.py), which is not the paper's formula: the teacher's term has its full
/// weight, is about the clean image, t is 1 and b 0.1. Training forwards, in order: x' for the loss, x' for nothing, x for the
/// second term once it has begun, and x for the hard labels even where alpha is 1; with the ten of the attack, 13 a step move
/// the running statistics, then 14. (A later state of that file drops the second x': 12 and 13.) Beginning after 60 epochs is
/// of their 200, and does not shrink with a shorter run. Their loop means to lower the rate after 100 and 150 and lowers it
/// once: `as-published`. It asks the teacher about x' from the first epoch on, for nothing.
#[derive(Clone, Copy, Debug)]
pub struct Iad {
    /// The loss.
    pub introspection: Introspection,
    /// Whether the learning rate loses its second drop.
    pub as_published: bool,
}

impl Objective for Iad {
    fn needs(&self) -> Needs {
        Needs::teacher(Asked::about([Forward::Clean, Forward::Adversarial]))
    }

    fn needs_in(&self, epoch: Epoch) -> Needs {
        if self.introspection.has_begun(epoch) { self.needs() } else { Needs::cached_labels() }
    }

    fn schedule(&self, schedule: Schedule, epochs: usize) -> Schedule {
        if self.as_published { schedule.first_drop_only(epochs) } else { schedule }
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner { norm: Norm::Batch, ..Inner::from(Start::Uniform) })
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        cross_entropy(&answers.student, &targets.labels)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        one_hot(&targets.labels, classes).map(Some)
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        let mut forwards = vec![Forward::Adversarial, Forward::Adversarial, Forward::Clean];
        if self.introspection.has_begun(epoch) {
            forwards.push(Forward::Clean);
        }
        forwards
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        self.introspection.loss(targets.teacher.clean(), said, targets)
    }
}
