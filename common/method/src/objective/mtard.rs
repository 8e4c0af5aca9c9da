//! Multi-teacher adversarial robustness distillation. Source: Zhao et al., ECCV 2022, arXiv:2206.14108.

use candle_core::{DType, Result, Tensor};

use super::memory::Memory;
use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::rslad;
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{cross_entropy, kl, one_hot};

const RATE: Choice = Choice {
    key: "weight-rate",
    default: 0.025,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "share of the way that the weights go each step; falls with the learning rate",
};

pub(super) static ROW: Row = Row {
    name: "mtard",
    summary: "a robust teacher on adversarial images, a second, natural one on clean ones, in balance (arXiv:2206.14108)",
    options: &[RATE, rslad::KL_SCALE],
    as_published: None,
    make: |options| {
        Box::new(Mtard { rate: options.get(RATE.key), kl_scale: options.get(rslad::KL_SCALE.key) })
    },
};

/// MTARD: two teachers whose weights keep the two losses falling alike.
///
/// Attack: raise `sum CE(S(x'), y)` from 0.001 times a normal. Loss, U being the second teacher:
/// `w L_a + (1 - w) L_n`, with `L_a = scale mean KL(T(x') || S(x'))` and `L_n = scale mean KL(U(x) || S(x))`, means over the
/// batch. With `r_a` and `r_n` each loss over what it was in the run's first step, w is moved before each step's loss is
/// weighted: `1 - w <- (1 - w) + r (r_n / (r_a + r_n) - (1 - w))`, from a half; the weights are constants of the step. r is
/// 0.025 and falls with the learning rate. The robust teacher is asked about images that the attack makes; the natural half
/// may be a label set, or a network.
///
/// As in its authors' code (zhaoshiji123/MTARD 6480a1b, `mtard_resnet18_cifar10.py`), which forwards x', then x; the scale is
/// 0.1, which their mean over batch and classes gives for 10 classes and their factor 10 restores for 100. Difference: their
/// 1e-5 inside the logarithm of the teacher's probabilities shifts both losses, and so the ratios a little; it is left out.
/// B-MTARD, which balances the teachers' temperatures too, is not here.
#[derive(Clone, Copy, Debug)]
pub struct Mtard {
    /// Share of the way that the weights go each step, at the full learning rate.
    pub rate: f64,
    /// Factor on the whole loss, the same for any number of classes.
    pub kl_scale: f64,
}

/// The natural teacher's weight after the last step.
const WEIGHT: &str = "natural-weight";
/// The losses of the run's first step, natural and adversarial; 0 before it.
const FIRST: &str = "first-losses";

/// What a step finds.
struct Balance {
    natural: Tensor,
    adversarial: Tensor,
    /// The natural teacher's weight in it.
    weight: f64,
    /// Both losses of the first step.
    first: [f64; 2],
}

impl Mtard {
    fn balance(&self, said: &Said, targets: &Targets) -> Result<Balance> {
        let mean = |teacher: &Tensor, student: &Tensor| kl(teacher, student)?.mean_all()? * self.kl_scale;
        let natural = mean(targets.second.clean(), said.clean())?;
        let adversarial = mean(targets.teacher.adversarial(), said.adversarial())?;
        let value = |loss: &Tensor| loss.to_dtype(DType::F64)?.to_scalar::<f64>();
        let now = [value(&natural)?, value(&adversarial)?];
        let first = match *targets.memory.row(FIRST) {
            [natural, adversarial] if natural > 0.0 && adversarial > 0.0 => [natural, adversarial],
            _ => now,
        };
        let [ratio, other] = [now[0] / first[0], now[1] / first[1]];
        let before = targets.memory.row(WEIGHT)[0];
        let rate = self.rate * targets.epoch.rate_factor();
        let weight = before - rate * (before - ratio / (ratio + other));
        Ok(Balance { natural, adversarial, weight, first })
    }
}

impl Objective for Mtard {
    fn needs(&self) -> Needs {
        Needs {
            second: Asked::about([Forward::Clean]),
            ..Needs::teacher(Asked::about([Forward::Adversarial]))
        }
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Gaussian { sigma: 0.001 }))
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
        let Balance { natural, adversarial, weight, .. } = self.balance(said, targets)?;
        (adversarial * (1.0 - weight))? + (natural * weight)?
    }

    fn memory(&self, _: usize) -> Memory {
        Memory::default().with(WEIGHT, vec![0.5]).with(FIRST, vec![0.0, 0.0])
    }

    fn note(&self, said: &Said, targets: &Targets, memory: &mut Memory) -> Result<()> {
        let Balance { weight, first, .. } = self.balance(said, targets)?;
        memory.row_mut(WEIGHT)[0] = weight;
        memory.row_mut(FIRST).copy_from_slice(&first);
        Ok(())
    }
}
