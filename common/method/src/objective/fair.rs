//! Weights of classes by how long the student withstands the attack: what Fair-ARD and Fair-RSLAD share.
//! Source: Yue et al., 2023, "Revisiting Adversarial Robustness Distillation from the Perspective of Robust
//! Fairness"; code NISP-official/Fair-ARD 910c8cd.

use candle_core::{Result, Tensor};

use super::memory::Memory;
use super::row::{Around, Epoch, Objective, Said, Targets};
use crate::attack::At;
use crate::options::{Choice, Options};

const BETA: Choice = Choice {
    key: "beta",
    default: 2.0,
    least: 0.0,
    most: 10.0,
    is_whole: false,
    help: "power by which a class counts more the fewer steps it withstands",
};
const LIGHTEST: Choice = Choice {
    key: "weight-least",
    default: 5.0 / 6.0,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "lower bound of a class's weight",
};
const HEAVIEST: Choice = Choice {
    key: "weight-most",
    default: 5.0 / 2.0,
    least: 1.0,
    most: 100.0,
    is_whole: false,
    help: "upper bound of a class's weight",
};

/// The options that both methods have besides their own.
pub(super) const OPTIONS: [Choice; 3] = [BETA, LIGHTEST, HEAVIEST];

/// An objective whose images can be weighed.
pub trait Weighed: Objective {
    /// The loss with a weight `(N,)` on each image, or none.
    fn weighted(&self, said: &Said, targets: &Targets, weights: Option<&Tensor>) -> Result<Tensor>;
}

/// `base`, whose images weigh as their class does, by the steps that it withstands.
#[derive(Clone, Copy, Debug)]
pub struct Fair<B> {
    /// What is weighed.
    pub base: B,
    /// How.
    pub fairness: Fairness,
}

/// How classes are weighed.
///
/// kappa of an image is the number of the attack's iterates that the student still gets right, the start counted and the
/// result not; of a class it is the mean over the epoch's images, k. After an epoch, for the next,
/// `w_k <- clamp(K k^-beta / sum_j j^-beta, 5/6, 5/2)` over the K classes, not normalised again; the first epoch's weights
/// are 1.
///
/// The authors divide a class's sum by N / K, the mean where classes are balanced. Here a class is divided by its own
/// images, and one without images in an epoch keeps its weight and counts for nothing. To each k Fair-ARD adds 1e-5, as
/// published; Fair-RSLAD counts at least 1e-5. Classes that withstand no step at all share all the weight before it is
/// clamped.
#[derive(Clone, Copy, Debug)]
pub struct Fairness {
    /// The power.
    pub beta: f64,
    /// Lower bound of weights.
    pub lightest: f64,
    /// Upper bound of weights.
    pub heaviest: f64,
    /// What is added to each class's kappa.
    pub added: f64,
    /// The least that it counts then. With neither, a class that withstands nothing has a weight that is no number.
    pub least_kappa: f64,
}

/// The classes' weights.
const WEIGHT: &str = "weight";
/// Steps that the epoch's images withstood so far, summed by class.
const WITHSTOOD: &str = "withstood";
/// Images that they are sums of.
const IMAGES: &str = "images";

impl Fairness {
    /// As chosen; `added` and `least_kappa` belong to the method.
    pub(super) fn of(options: &Options, added: f64, least_kappa: f64) -> Self {
        let [beta, lightest, heaviest] = OPTIONS.map(|choice| options.get(choice.key));
        Self { beta, lightest, heaviest, added, least_kappa }
    }

    /// What it remembers when a run begins.
    fn memory(classes: usize) -> Memory {
        let row = |value| vec![value; classes];
        Memory::default().with(WEIGHT, row(1.0)).with(WITHSTOOD, row(0.0)).with(IMAGES, row(0.0))
    }

    /// Weighs the classes anew after an epoch.
    fn close_epoch(&self, memory: &mut Memory) {
        let (withstood, images) = (memory.row(WITHSTOOD).to_vec(), memory.row(IMAGES).to_vec());
        let seen: Vec<usize> = (0..images.len()).filter(|&class| images[class] > 0.0).collect();
        let urgency = |class: usize| {
            let kappa = withstood[class] / images[class] + self.added;
            (1.0 / kappa.max(self.least_kappa)).powf(self.beta)
        };
        let sum: f64 = seen.iter().map(|&class| urgency(class)).sum();
        let weights = memory.row_mut(WEIGHT);
        for &class in &seen {
            let share = urgency(class) * (seen.len() as f64 / sum);
            weights[class] = share.clamp(self.lightest, self.heaviest);
        }
        memory.row_mut(WITHSTOOD).fill(0.0);
        memory.row_mut(IMAGES).fill(0.0);
    }
}

impl<B: Weighed> Around for Fair<B> {
    fn base(&self) -> &dyn Objective {
        &self.base
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let weights = targets.memory.of_images(WEIGHT, &targets.labels, said.adversarial())?;
        self.base.weighted(said, targets, Some(&weights))
    }

    fn memory(&self, classes: usize) -> Memory {
        Fairness::memory(classes)
    }

    fn watches(&self) -> bool {
        true
    }

    /// Counts the images that are still right before a step of the attack.
    fn watch(&self, at: &At, targets: &Targets, memory: &mut Memory) -> Result<()> {
        let right = at.logits.argmax(1)?.eq(&targets.labels)?;
        memory.add_by_class(WITHSTOOD, &targets.labels, &right)
    }

    /// Counts a step's images.
    fn note(&self, _: &Said, targets: &Targets, memory: &mut Memory) -> Result<()> {
        memory.add_by_class(IMAGES, &targets.labels, &targets.labels.ones_like()?)
    }

    fn close_epoch(&self, _: Epoch, memory: &mut Memory) {
        self.fairness.close_epoch(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSLAD: Fairness =
        Fairness { beta: 2.0, lightest: 5.0 / 6.0, heaviest: 5.0 / 2.0, added: 0.0, least_kappa: 1e-5 };

    fn weighed(fairness: Fairness, withstood: &[f64], images: &[f64]) -> Vec<f64> {
        let mut memory = Fairness::memory(images.len());
        memory.row_mut(WITHSTOOD).copy_from_slice(withstood);
        memory.row_mut(IMAGES).copy_from_slice(images);
        fairness.close_epoch(&mut memory);
        assert!(memory.row(IMAGES).iter().chain(memory.row(WITHSTOOD)).all(|&count| count == 0.0));
        memory.row(WEIGHT).to_vec()
    }

    /// By numpy: `w = (1 / k) ** 2; (w * len(k) / w.sum()).clip(5 / 6, 5 / 2)` with k = 4, 2.5, 5, 3, 4.
    #[test]
    fn a_class_that_falls_sooner_weighs_more_within_the_bounds() {
        let found = weighed(RSLAD, &[8.0, 5.0, 15.0, 6.0, 4.0], &[2.0, 2.0, 3.0, 2.0, 1.0]);
        let wanted = [
            0.833_333_333_333_333_4,
            1.834_394_904_458_598_8,
            0.833_333_333_333_333_4,
            1.273_885_350_318_471_3,
        ];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-14, "{found}, not {wanted}");
        }
        assert_eq!(found[4].to_bits(), found[0].to_bits(), "a class is as hard as its mean image");
        let even = weighed(Fairness { beta: 0.0, ..RSLAD }, &[8.0, 1.0], &[2.0, 2.0]);
        assert_eq!(even, [1.0, 1.0], "the power 0 knows no difference");
    }

    /// The published code of Fair-RSLAD divides by zero there, and its next loss is not a number.
    #[test]
    fn classes_that_withstand_nothing_share_the_weight_and_absent_ones_keep_theirs() {
        for (added, least_kappa) in [(0.0, 1e-5), (1e-5, 0.0)] {
            let fairness = Fairness { added, least_kappa, ..RSLAD };
            let found = weighed(fairness, &[0.0, 6.0, 0.0, 9.0, 0.0], &[3.0, 2.0, 0.0, 3.0, 1.0]);
            // Four classes share 4 between two.
            let heavy = [found[0], found[4]];
            assert!(heavy.iter().all(|weight| (weight - 2.0).abs() < 1e-9), "{found:?}");
            assert_eq!(found[1..4], [5.0 / 6.0, 1.0, 5.0 / 6.0]);
        }
        assert_eq!(weighed(RSLAD, &[0.0; 3], &[2.0; 3]), [1.0; 3]);
    }

    /// PyTorch 2: `w = (1 / torch.tensor([0., 3.])) ** 2; torch.clamp(w * (2 / w.sum()), 5/6, 5/2)` is [nan, 0.8333].
    #[test]
    fn as_published_a_class_that_withstands_nothing_has_a_weight_that_is_no_number() {
        let found = weighed(Fairness { least_kappa: 0.0, ..RSLAD }, &[0.0, 6.0], &[2.0, 2.0]);
        assert!(found[0].is_nan());
        assert_eq!(found[1].to_bits(), (5.0f64 / 6.0).to_bits());
    }
}
