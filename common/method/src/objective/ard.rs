//! Adversarially robust distillation. Source: Goldblum et al., AAAI 2020, arXiv:1905.09747.

use candle_core::{Result, Tensor};
use engine::Norm;

use super::fair::Weighed;
use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, Start};
use crate::options::{Choice, Options};
use crate::schedule::Schedule;
use crate::soft::{cross_entropy, kl, mean_weighted, one_hot, tempered};

pub(super) const ALPHA: Choice = Choice {
    key: "alpha",
    default: 1.0,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "weight of the teacher; hard labels on clean images have the rest",
};
pub(super) const TEMPERATURE: Choice = Choice {
    key: "temperature",
    default: 30.0,
    least: 0.01,
    most: 1e3,
    is_whole: false,
    help: "divisor of both networks' logits; the teacher's term is multiplied by its square",
};

/// What the released loops of ARD and Fair-ARD do.
pub(super) const ONE_DROP: &str = "the learning rate falls at its first milestone alone";

pub(super) static ROW: Row = Row {
    name: "ard",
    summary: "a teacher's clean logits, much softened, as the target on PGD images (arXiv:1905.09747)",
    options: &[ALPHA, TEMPERATURE],
    as_published: Some(ONE_DROP),
    make: |options| Box::new(Ard::of(options)),
};

/// ARD: like the teacher's soft labels on the clean view, under an attack on hard labels.
///
/// Attack: raise `sum CE(S(x'), y)` from a uniform start, with BatchNorm on the batch's own statistics: the student is
/// never switched to evaluation, so each step of the attack moves the running ones. Loss:
/// `alpha t^2 / K mean KL(T(x) / t || S(x') / t) + (1 - alpha) mean CE(S(x), y)`, means over the batch. The forwards are
/// the adversarial one, then the clean one, which counts for the running statistics even where alpha is 1.
///
/// As in its authors' code (goldblum/AdversariallyRobustDistillation, main.py), the KL is averaged over batch *and*
/// classes, hence the 1 / K; the paper's sum is K times as large. That code trains 200 epochs and means to lower the rate
/// after 100 and 150, but lowers it from the first rate each time: only the drop after 100 acts. Here all drops do, unless
/// `as-published` is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Ard {
    /// Weight of the teacher's term.
    pub alpha: f64,
    /// Divisor of both networks' logits.
    pub temperature: f64,
    /// Whether the learning rate falls at its first milestone alone.
    pub drops_once: bool,
}

impl Ard {
    /// As chosen.
    pub(super) fn of(options: &Options) -> Self {
        Self {
            alpha: options.get(ALPHA.key),
            temperature: options.get(TEMPERATURE.key),
            drops_once: options.as_published(),
        }
    }
}

impl Weighed for Ard {
    fn weighted(&self, said: &Said, targets: &Targets, weights: Option<&Tensor>) -> Result<Tensor> {
        let soft = |logits: &Tensor| tempered(logits, self.temperature);
        let alike = kl(&soft(targets.teacher.clean())?, &soft(said.adversarial())?)?;
        let classes = said.adversarial().dim(1)? as f64;
        let scale = self.alpha * self.temperature * self.temperature / classes;
        let mut loss = (mean_weighted(&alike, weights)? * scale)?;
        if self.alpha < 1.0 {
            let right = mean_weighted(&cross_entropy(said.clean(), &targets.labels)?, weights)?;
            loss = (loss + (right * (1.0 - self.alpha))?)?;
        }
        Ok(loss)
    }
}

impl Objective for Ard {
    fn needs(&self) -> Needs {
        Needs::cached_labels()
    }

    fn schedule(&self, schedule: Schedule, epochs: usize) -> Schedule {
        if self.drops_once { schedule.first_drop_only(epochs) } else { schedule }
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

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        self.weighted(said, targets, None)
    }
}
