//! Anti-bias soft label distillation. Source: Zhao et al., 2024, arXiv:2312.05508.

use candle_core::{Result, Tensor};

use super::memory::Memory;
use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::rslad;
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{cross_entropy, kl, softmax};

const RATE: Choice = Choice {
    key: "temperature-rate",
    default: 0.1,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "largest change of a class's temperature per epoch; falls with the learning rate",
};
const COLDEST: Choice = Choice {
    key: "temperature-least",
    default: 0.5,
    least: 0.01,
    most: 1.0,
    is_whole: false,
    help: "lower bound of a class's temperature",
};
const HOTTEST: Choice = Choice {
    key: "temperature-most",
    default: 5.0,
    least: 1.0,
    most: 100.0,
    is_whole: false,
    help: "upper bound of a class's temperature",
};

pub(super) static ROW: Row = Row {
    name: "absld",
    summary: "rslad with a teacher's temperature per class, sharper for harder classes (arXiv:2312.05508)",
    options: &[rslad::ALPHA, rslad::KL_SCALE, RATE, COLDEST, HOTTEST],
    as_published: Some("both targets are softened by the product of both temperatures"),
    make: |options| {
        Box::new(Absld {
            alpha: options.get(rslad::ALPHA.key),
            kl_scale: options.get(rslad::KL_SCALE.key),
            rate: options.get(RATE.key),
            coldest: options.get(COLDEST.key),
            hottest: options.get(HOTTEST.key),
            is_shared: options.as_published(),
        })
    },
};

/// ABSLD: RSLAD whose soft labels are sharper for the classes that the student finds hard.
///
/// The teacher's logits on an image of class y are divided by that class's temperature, one for the adversarial term
/// and the attack, another for the clean term; the student's are not. Attack and loss are RSLAD's. All temperatures begin
/// at 1. After an epoch, with R the mean cross-entropy of each class over the epoch's training forwards, adversarial and
/// clean apart: `T_k <- clip(T_k - r (R_k - mean R) / max |R - mean R|, 0.5, 5)`. r is 0.1 times the learning rate's
/// factor in the epoch that follows: the authors' code lowers both before it moves the temperatures.
///
/// Differences from the authors' code: it divides both targets, the attack's too, by the product of both temperatures,
/// because they share storage; here each has its own, as in the paper, unless `as-published` is chosen. It sums R over a class's images, here it is their mean, which on
/// balanced classes moves the temperatures alike. A class without images in an epoch keeps its temperatures and does not
/// count in the mean.
#[derive(Clone, Copy, Debug)]
pub struct Absld {
    /// Weight of the adversarial term; the clean term has the rest.
    pub alpha: f64,
    /// Factor on the whole loss, the same for any number of classes.
    pub kl_scale: f64,
    /// Largest change of a temperature per epoch.
    pub rate: f64,
    /// Lower bound of temperatures.
    pub coldest: f64,
    /// Upper bound of temperatures.
    pub hottest: f64,
    /// Whether both targets are softened by both temperatures.
    pub is_shared: bool,
}

/// The temperatures of the adversarial term, one per class.
const ADVERSARIAL: &str = "temperature-adversarial";
/// Those of the clean term.
const CLEAN: &str = "temperature-clean";
/// Sums of the epoch's cross-entropies so far.
const ADVERSARIAL_LOSS: &str = "loss-adversarial";
const CLEAN_LOSS: &str = "loss-clean";
/// Images that they are sums of.
const IMAGES: &str = "images";

impl Absld {
    /// The teacher's logits, each image's divided by its class's temperature.
    fn softened(&self, targets: &Targets, side: &str) -> Result<Tensor> {
        let divided = |logits: &Tensor, side: &str| {
            let divisors = targets.memory.of_images(side, &targets.labels, logits)?;
            logits.broadcast_div(&divisors.unsqueeze(1)?)
        };
        let teacher = targets.teacher.clean();
        if self.is_shared { divided(&divided(teacher, ADVERSARIAL)?, CLEAN) } else { divided(teacher, side) }
    }

    /// Moves one side's temperatures by what an epoch found.
    fn move_by(&self, temperatures: &mut [f64], losses: &[f64], images: &[f64], rate: f64) {
        let seen = || (0..losses.len()).filter(|&class| images[class] > 0.0);
        let risk = |class: usize| losses[class] / images[class];
        let mean = seen().map(risk).sum::<f64>() / seen().count() as f64;
        let widest = seen().map(|class| (risk(class) - mean).abs()).fold(0.0, f64::max);
        if widest > 0.0 {
            for class in seen() {
                let moved = temperatures[class] - rate * (risk(class) - mean) / widest;
                temperatures[class] = moved.clamp(self.coldest, self.hottest);
            }
        }
    }
}

impl Objective for Absld {
    fn needs(&self) -> Needs {
        Needs::cached_labels()
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Gaussian { sigma: 0.001 }))
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        kl(&self.softened(targets, ADVERSARIAL)?, &answers.student)
    }

    fn attack_target(&self, targets: &Targets, _: usize) -> Result<Option<Tensor>> {
        softmax(&self.softened(targets, ADVERSARIAL)?).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let adversarial = kl(&self.softened(targets, ADVERSARIAL)?, said.adversarial())?.mean_all()?;
        let clean = kl(&self.softened(targets, CLEAN)?, said.clean())?.mean_all()?;
        ((adversarial * self.alpha)? + (clean * (1.0 - self.alpha))?)? * self.kl_scale
    }

    fn memory(&self, classes: usize) -> Memory {
        let row = |value| vec![value; classes];
        let temperatures = Memory::default().with(ADVERSARIAL, row(1.0)).with(CLEAN, row(1.0));
        temperatures.with(ADVERSARIAL_LOSS, row(0.0)).with(CLEAN_LOSS, row(0.0)).with(IMAGES, row(0.0))
    }

    fn note(&self, said: &Said, targets: &Targets, memory: &mut Memory) -> Result<()> {
        let labels = &targets.labels;
        for (row, logits) in [(ADVERSARIAL_LOSS, said.adversarial()), (CLEAN_LOSS, said.clean())] {
            memory.add_by_class(row, labels, &cross_entropy(&logits.detach(), labels)?)?;
        }
        memory.add_by_class(IMAGES, labels, &labels.ones_like()?)
    }

    fn close_epoch(&self, epoch: Epoch, memory: &mut Memory) {
        let rate = self.rate * epoch.next().rate_factor();
        let images = memory.row(IMAGES).to_vec();
        for (temperatures, losses) in [(ADVERSARIAL, ADVERSARIAL_LOSS), (CLEAN, CLEAN_LOSS)] {
            let sums = memory.row(losses).to_vec();
            self.move_by(memory.row_mut(temperatures), &sums, &images, rate);
            memory.row_mut(losses).fill(0.0);
        }
        memory.row_mut(IMAGES).fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    /// By hand, from the formula: the mean risk is 2, the widest gap 1.
    #[test]
    fn a_harder_class_gets_a_lower_temperature_within_the_bounds() {
        let absld =
            Absld { alpha: 0.5, kl_scale: 0.1, rate: 0.1, coldest: 0.95, hottest: 5.0, is_shared: false };
        let mut memory = absld.memory(4);
        memory.row_mut(ADVERSARIAL_LOSS).copy_from_slice(&[6.0, 2.0, 0.0, 2.0]);
        memory.row_mut(CLEAN_LOSS).copy_from_slice(&[2.0, 2.0, 0.0, 1.0]);
        memory.row_mut(IMAGES).copy_from_slice(&[2.0, 2.0, 0.0, 1.0]);
        absld.close_epoch(Epoch { number: 0, of: 300, schedule: Schedule::Multistep }, &mut memory);
        assert_eq!(memory.row(ADVERSARIAL), [0.95, 1.1, 1.0, 1.0]);
        assert_eq!(memory.row(CLEAN), [1.0; 4], "equal classes stay");
        assert_eq!(memory.row(IMAGES), [0.0; 4], "the next epoch counts anew");
    }

    #[test]
    fn the_rate_falls_with_the_epoch_after_which_the_learning_rate_falls() {
        let absld =
            Absld { alpha: 0.5, kl_scale: 0.1, rate: 0.1, coldest: 0.5, hottest: 5.0, is_shared: false };
        for (number, moved) in [(213, 0.1), (214, 0.01)] {
            let mut memory = absld.memory(2);
            memory.row_mut(ADVERSARIAL_LOSS).copy_from_slice(&[3.0, 1.0]);
            memory.row_mut(IMAGES).copy_from_slice(&[1.0, 1.0]);
            absld.close_epoch(Epoch { number, of: 300, schedule: Schedule::Multistep }, &mut memory);
            let found = memory.row(ADVERSARIAL);
            assert!((found[0] - (1.0 - moved)).abs() < 1e-12 && (found[1] - (1.0 + moved)).abs() < 1e-12);
        }
    }

    /// By numpy: the logits are 4, 0, -4 and the temperatures of their class 2 and 4.
    #[test]
    fn as_published_both_targets_are_softened_by_the_product_of_both_temperatures() {
        let usual =
            Absld { alpha: 0.5, kl_scale: 1.0, rate: 0.1, coldest: 0.5, hottest: 5.0, is_shared: false };
        let device = &candle_core::Device::Cpu;
        let epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };
        let mut targets = Targets::new(epoch, vec![0], Tensor::new(&[1u32], device).unwrap());
        targets.teacher.push(Forward::Clean, Tensor::new(&[[4.0f64, 0.0, -4.0]], device).unwrap());
        targets.memory = usual.memory(3);
        targets.memory.row_mut(ADVERSARIAL)[1] = 2.0;
        targets.memory.row_mut(CLEAN)[1] = 4.0;
        for (is_shared, wanted) in
            [(false, [[2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]), (true, [[0.5, 0.0, -0.5]; 2])]
        {
            let absld = Absld { is_shared, ..usual };
            for (side, wanted) in [ADVERSARIAL, CLEAN].into_iter().zip(wanted) {
                let found = absld.softened(&targets, side).unwrap().to_vec2::<f64>().unwrap();
                assert_eq!(found, [wanted], "{side}");
            }
        }
    }
}
