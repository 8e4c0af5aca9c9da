//! Knowledge distillation on clean images. Source: Hinton et al., 2015, arXiv:1503.02531.

use candle_core::{Result, Tensor};

use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::sat::SMOOTHING;
use crate::attack::Answers;
use crate::options::Choice;
use crate::soft::{cross_entropy, kl, one_hot, smoothed_cross_entropy, tempered};

const ALPHA: Choice = Choice {
    key: "alpha",
    default: 0.9,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "weight of the teacher; hard labels have the rest",
};
const TEMPERATURE: Choice = Choice {
    key: "temperature",
    default: 4.0,
    least: 0.01,
    most: 1e3,
    is_whole: false,
    help: "divisor of both networks' logits; the teacher's term is multiplied by its square",
};

pub(super) static ROW: Row = Row {
    name: "kd",
    summary: "a teacher's softened logits on clean images: no robustness (arXiv:1503.02531)",
    options: &[ALPHA, TEMPERATURE, SMOOTHING],
    as_published: None,
    make: |options| {
        Box::new(Kd {
            alpha: options.get(ALPHA.key),
            temperature: options.get(TEMPERATURE.key),
            smoothing: options.get(SMOOTHING.key),
        })
    },
};

/// Plain distillation: hard labels and the teacher's soft ones on the clean view. Nothing is attacked.
///
/// Loss: `alpha t^2 mean KL(T(x) / t || S(x) / t) + (1 - alpha) mean CE(S(x), y)`, means over the batch, labels smoothed where the
/// user wants them so; there is one forward.
///
/// The paper fixes neither number; alpha 0.9 and a temperature of 4 are those of the code that people compare with
/// (HobbitLong/RepDistiller, `scripts/run_cifar_distill.sh` and `distiller_zoo/KD.py`), whose KL is a sum over classes and
/// a mean over the batch as well.
#[derive(Clone, Copy, Debug)]
pub struct Kd {
    /// Weight of the teacher's term.
    pub alpha: f64,
    /// Divisor of both networks' logits.
    pub temperature: f64,
    /// The share of each label that is spread over all classes.
    pub smoothing: f64,
}

impl Objective for Kd {
    fn needs(&self) -> Needs {
        Needs::cached_labels()
    }

    fn inner(&self) -> Option<Inner> {
        None
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        cross_entropy(&answers.student, &targets.labels)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        one_hot(&targets.labels, classes).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let soft = |logits: &Tensor| tempered(logits, self.temperature);
        let alike = kl(&soft(targets.teacher.clean())?, &soft(said.clean())?)?.mean_all()?;
        let right = smoothed_cross_entropy(said.clean(), &targets.labels, self.smoothing)?.mean_all()?;
        (alike * (self.alpha * self.temperature * self.temperature))? + (right * (1.0 - self.alpha))?
    }
}
