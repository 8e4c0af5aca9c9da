//! Annealing self-distillation rectification. Source: Wu et al., ICLR 2024, arXiv:2305.12118.

use candle_core::{D, DType, Result, Tensor};
use engine::Norm;

use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{log_softmax, one_hot, softmax, tempered};

const FIRST_TEMPERATURE: Choice = Choice {
    key: "temperature-first",
    default: 2.5,
    least: 0.01,
    most: 100.0,
    is_whole: false,
    help: "divisor of the average's logits in the first epoch",
};
const LAST_TEMPERATURE: Choice = Choice {
    key: "temperature-last",
    default: 2.0,
    least: 0.01,
    most: 100.0,
    is_whole: false,
    help: "divisor to which it goes by half a cosine, reached at the end of the run",
};
const FIRST_LAMBDA: Choice = Choice {
    key: "lambda-first",
    default: 0.7,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "share of the average in each target in the first epoch, where it gives the label the most",
};
const LAST_LAMBDA: Choice = Choice {
    key: "lambda-last",
    default: 0.95,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "share to which it goes by half a cosine, reached at the end of the run",
};

pub(super) static ROW: Row = Row {
    name: "adr",
    summary: "sat on labels rectified by the student's own average, annealed (arXiv:2305.12118)",
    options: &[FIRST_TEMPERATURE, LAST_TEMPERATURE, FIRST_LAMBDA, LAST_LAMBDA],
    as_published: None,
    make: |options| {
        let annealed = |first: Choice, last: Choice| (options.get(first.key), options.get(last.key));
        Box::new(Adr {
            temperature: annealed(FIRST_TEMPERATURE, LAST_TEMPERATURE),
            lambda: annealed(FIRST_LAMBDA, LAST_LAMBDA),
        })
    },
};

/// ADR on SAT: in place of the hard label, a mixture of it with what the student's moving average says.
///
/// With A(x) the average's logits on the clean view under running statistics, t the temperature and l the interpolation
/// factor of the epoch, P = softmax(A(x) / t) and `s = clip(l - (max P - P_y), 0, 1)`: the target is
/// `s P + (1 - s) onehot(y)`, a constant whose largest class is y for any l up to 1 (eq. 3 to 5). Attack: raise the sum of the
/// cross-entropies with the targets from a uniform start, with BatchNorm on the batch's own statistics. Loss: their mean on x'.
/// Clean images are not trained on. t goes from 2.5 to 2 and l from 0.7 to 0.95, both by half a cosine over the run.
///
/// As in the authors' code (yuyuwu5/ADR 0ec83e2, `adr.py`, `advTrainer.py`), the attack climbs the loss with the rectified
/// label, not the hard one; it never switches the student to evaluation, so each of its steps moves the running statistics; and
/// the average, a network in evaluation, holds running statistics as well as weights and moves after each step. The defaults
/// are its `config/cifar10/resnet18_pgd_sgd_adr.gin`, whose average keeps 0.995 a step: `--ema 0.995`. CIFAR-100 has
/// temperatures from 1.5 to 1.
///
/// Differences from it: t and l move once an epoch, there at each step of the run; its attack clamps the start to the pixel range
/// before the first forward; its average begins with the initial weights, here the first step sets it to the student. Its
/// TRADES form is not here.
#[derive(Clone, Copy, Debug)]
pub struct Adr {
    /// Divisor of the average's logits in the first epoch, and to what it goes.
    pub temperature: (f64, f64),
    /// Likewise the share of the average in a target, before what the label lacks is taken off.
    pub lambda: (f64, f64),
}

impl Default for Adr {
    fn default() -> Self {
        Self {
            temperature: (FIRST_TEMPERATURE.default, LAST_TEMPERATURE.default),
            lambda: (FIRST_LAMBDA.default, LAST_LAMBDA.default),
        }
    }
}

/// Half a cosine from the first value to the last, which the epoch after a run's last one would have.
fn annealed((first, last): (f64, f64), epoch: Epoch) -> f64 {
    let share = epoch.number as f64 / epoch.of as f64;
    last + 0.5 * (first - last) * (1.0 + libm::cos(std::f64::consts::PI * share))
}

impl Adr {
    /// The rectified labels `(N, K)` of a batch, distributions in the precision of the average's logits.
    fn rectified(&self, targets: &Targets) -> Result<Tensor> {
        let logits = targets.average.clean();
        let said =
            softmax(&tempered(&logits.to_dtype(DType::F64)?, annealed(self.temperature, targets.epoch))?)?;
        let hard = one_hot(&targets.labels, logits.dim(1)?)?.to_dtype(DType::F64)?;
        let lacking = (said.max_keepdim(D::Minus1)? - (&said * &hard)?.sum_keepdim(D::Minus1)?)?;
        let share = lacking.affine(-1.0, annealed(self.lambda, targets.epoch))?.clamp(0.0, 1.0)?;
        let mixed = (said.broadcast_mul(&share)? + hard.broadcast_mul(&share.affine(-1.0, 1.0)?)?)?;
        mixed.to_dtype(logits.dtype())
    }

    /// Cross-entropy with the rectified labels, `(N,)`.
    fn apart(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        (self.rectified(targets)? * log_softmax(logits)?)?.sum(D::Minus1)?.neg()
    }
}

impl Objective for Adr {
    fn needs(&self) -> Needs {
        Needs { average: vec![Forward::Clean], ..Needs::nothing() }
    }

    fn is_paced(&self) -> bool {
        [self.temperature, self.lambda].iter().any(|(first, last)| first.to_bits() != last.to_bits())
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner { norm: Norm::Batch, ..Inner::from(Start::Uniform) })
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        self.apart(&answers.student, targets)
    }

    fn attack_target(&self, targets: &Targets, _: usize) -> Result<Option<Tensor>> {
        self.rectified(targets).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Adversarial]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        self.apart(said.adversarial(), targets)?.mean_all()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::schedule::Schedule;

    /// PyTorch 2.15 in f64, by eq. 3 to 5. The second image's label is not what the average thinks, the third's so little that
    /// the target stays hard.
    #[test]
    fn rectified_labels_are_pytorchs_at_the_start_and_half_way() {
        let said = [[2.0f64, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 6.0, -1.0], [0.0, 0.0, 0.0]];
        let wanted = [
            [
                [0.630_243_354_747_453_5, 0.148_387_904_495_269_42, 0.221_368_740_757_277],
                [0.156_402_681_536_425_86, 0.031_577_156_807_231_36, 0.812_020_161_656_342_7],
                [0.0, 0.0, 1.0],
                [0.233_333_333_333_333_3, 0.533_333_333_333_333_3, 0.233_333_333_333_333_3],
            ],
            [
                [0.576_989_447_444_337_1, 0.165_262_802_498_560_04, 0.257_747_750_057_102_9],
                [0.217_066_208_182_500_08, 0.036_687_079_507_547_69, 0.746_246_712_309_952_2],
                [0.0, 0.0, 1.0],
                [0.275, 0.45, 0.275],
            ],
        ];
        for (number, wanted) in wanted.iter().enumerate() {
            let epoch = Epoch { number, of: 2, schedule: Schedule::Cosine };
            let labels = Tensor::new(&[0u32, 2, 2, 1], &Device::Cpu).unwrap();
            let mut targets = Targets::new(epoch, (0..4).collect(), labels);
            targets.average.push(Forward::Clean, Tensor::new(&said, &Device::Cpu).unwrap());
            let found = Adr::default().rectified(&targets).unwrap().to_vec2::<f64>().unwrap();
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((found - wanted).abs() < 1e-14, "epoch {number}: {found}, not {wanted}");
            }
        }
    }
}
