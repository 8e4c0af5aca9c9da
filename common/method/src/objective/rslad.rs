//! Robust soft label adversarial distillation. Source: Zi et al., ICCV 2021, arXiv:2108.07969.

use candle_core::{Result, Tensor};

use super::fair::Weighed;
use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{kl, mean_weighted, softmax, tempered};

pub(super) const ALPHA: Choice = Choice {
    key: "alpha",
    default: 5.0 / 6.0,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "weight of the adversarial term; the clean term has the rest",
};
pub(super) const KL_SCALE: Choice = Choice {
    key: "kl-scale",
    default: 0.1,
    least: 1e-6,
    most: 1e3,
    is_whole: false,
    help: "factor on the whole loss, the same for any number of classes",
};
const TEMPERATURE: Choice = Choice {
    key: "temperature",
    default: 1.0,
    least: 0.01,
    most: 100.0,
    is_whole: false,
    help: "divisor of both networks' logits; the loss is multiplied by its square",
};

pub(super) static ROW: Row = Row {
    name: "rslad",
    summary: "robust soft label distillation from a teacher's clean logits (arXiv:2108.07969)",
    options: &[ALPHA, KL_SCALE, TEMPERATURE],
    as_published: None,
    make: |options| {
        Box::new(Rslad {
            adversarial: options.get(ALPHA.key),
            kl_scale: options.get(KL_SCALE.key),
            temperature: options.get(TEMPERATURE.key),
        })
    },
};

/// RSLAD: the teacher's soft labels on the clean view are the target on the clean and on the adversarial image.
///
/// Attack: raise `sum KL(softmax T(x) || softmax S(x'))`. Loss: `scale * (5/6 mean KL(T(x) || S(x')) +
/// 1/6 mean KL(T(x) || S(x)))`, means over the batch.
///
/// Differences from the paper's text, all as in its authors' code: the KL has the teacher as the target (the paper
/// writes it the other way round); the scale is 0.1, which their mean over batch and classes gives for 10 classes
/// and their factor 10 restores for 100; the attack starts at 0.001 times a normal. Their 1e-5 inside a logarithm
/// of the teacher's probabilities shifts the printed loss and no gradient; it is left out. They have no temperature:
/// ours is 1 unless somebody chooses another, and then as in ordinary distillation (arXiv:1503.02531), with its square
/// on the loss.
#[derive(Clone, Copy, Debug)]
pub struct Rslad {
    /// Weight of the adversarial term; the clean term has the rest.
    pub adversarial: f64,
    /// Factor on the whole loss, the same for any number of classes.
    pub kl_scale: f64,
    /// Divisor of both networks' logits.
    pub temperature: f64,
}

impl Default for Rslad {
    fn default() -> Self {
        Self { adversarial: ALPHA.default, kl_scale: KL_SCALE.default, temperature: TEMPERATURE.default }
    }
}

impl Rslad {
    fn kl(&self, teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
        kl(&tempered(teacher, self.temperature)?, &tempered(student, self.temperature)?)
    }
}

impl Weighed for Rslad {
    fn weighted(&self, said: &Said, targets: &Targets, weights: Option<&Tensor>) -> Result<Tensor> {
        let adversarial = mean_weighted(&self.kl(targets.teacher.clean(), said.adversarial())?, weights)?;
        let clean = mean_weighted(&self.kl(targets.teacher.clean(), said.clean())?, weights)?;
        let scale = self.kl_scale * self.temperature * self.temperature;
        ((adversarial * self.adversarial)? + (clean * (1.0 - self.adversarial))?)? * scale
    }
}

impl Objective for Rslad {
    fn needs(&self) -> Needs {
        Needs::cached_labels()
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Gaussian { sigma: 0.001 }))
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        self.kl(targets.teacher.clean(), &answers.student)
    }

    fn attack_target(&self, targets: &Targets, _: usize) -> Result<Option<Tensor>> {
        // At another temperature the gradient follows the softmax of the student's tempered logits.
        let plain = self.temperature.to_bits() == 1f64.to_bits();
        plain.then(|| softmax(targets.teacher.clean())).transpose()
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        self.weighted(said, targets, None)
    }
}
