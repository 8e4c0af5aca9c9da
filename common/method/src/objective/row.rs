//! What an objective is: what it needs and says, and its row in the table.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use engine::Norm;

use super::around::with_around;
use super::heads::{Fresh, HeadsError, Leaves};
use super::memory::Memory;
use super::needs::{Forward, Needs};
use crate::attack::{Answers, At, Pgd, Start};
use crate::options::{Choice, Options, Tunable};
use crate::schedule::Schedule;
use crate::taps::MapShapes;
use crate::threat::Threat;

/// The label of an image that has none.
pub const UNLABELLED: u32 = u32::MAX;

/// Numbers of each image of a batch, by name: a weight, or 0 and 1 for a flag.
pub type Marks = BTreeMap<&'static str, Vec<f64>>;

/// Logits `(N, K)` that a network gave, by what it gave them for, and feature maps where they were asked for.
#[derive(Default)]
pub struct Said {
    forwards: Vec<(Forward, Tensor)>,
    maps: Vec<(Forward, Vec<Tensor>)>,
}

impl Said {
    /// Adds what was said in one more forward.
    pub fn push(&mut self, forward: Forward, logits: Tensor) {
        self.forwards.push((forward, logits));
    }

    /// Adds the feature maps of one more forward, `(N, C, H, W)` each, tap by tap.
    pub fn push_maps(&mut self, forward: Forward, maps: Vec<Tensor>) {
        self.maps.push((forward, maps));
    }

    /// Whether the feature maps of these images are there.
    pub fn has_maps(&self, forward: Forward) -> bool {
        self.maps.iter().any(|(of, _)| *of == forward)
    }

    /// The feature maps of these images, tap by tap.
    pub fn maps(&self, forward: Forward) -> &[Tensor] {
        let those = self.maps.iter().find(|(of, _)| *of == forward);
        &those.expect("an objective reads maps that it declared").1
    }

    /// Whether anything was said of these images.
    pub fn has(&self, forward: Forward) -> bool {
        self.forwards.iter().any(|(of, _)| *of == forward)
    }

    /// On the clean views; the first time where they were forwarded more than once.
    pub fn clean(&self) -> &Tensor {
        self.nth(Forward::Clean, 0)
    }

    /// On the adversarial images, likewise.
    pub fn adversarial(&self) -> &Tensor {
        self.nth(Forward::Adversarial, 0)
    }

    /// On their opposites, likewise.
    pub fn opposite(&self) -> &Tensor {
        self.nth(Forward::Opposite, 0)
    }

    /// The `n`-th time, from 0, that these images were forwarded.
    pub fn nth(&self, forward: Forward, n: usize) -> &Tensor {
        let mut those = self.forwards.iter().filter(|(of, _)| *of == forward);
        &those.nth(n).expect("an objective reads what it declared").1
    }
}

/// Where in a run a step lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// From 0.
    pub number: usize,
    /// Epochs of the run.
    pub of: usize,
    /// How the learning rate falls over them.
    pub schedule: Schedule,
}

impl Epoch {
    /// The factor on the learning rate during this epoch.
    pub fn rate_factor(self) -> f64 {
        self.schedule.factor(self.number, self.of)
    }

    /// The epoch that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// What a batch is to be learned from.
pub struct Targets {
    /// Where in the run the step lies.
    pub epoch: Epoch,
    /// Of the run: keys what an objective draws.
    pub seed: u64,
    /// Each image's index in the data set.
    pub places: Vec<usize>,
    /// Hard labels `(N,)`, u32; [`UNLABELLED`] of images without one, which only an objective meets that takes them.
    pub labels: Tensor,
    /// What else is known of each image.
    pub marks: Marks,
    /// The teacher's logits, constants; there where [`Objective::needs`] asks for them.
    pub teacher: Said,
    /// Those of a second teacher, likewise.
    pub second: Said,
    /// Those of the student's moving average under running statistics, likewise.
    pub average: Said,
    /// The student's own logits `(N, K)` on the clean views under running statistics, a constant; there where
    /// [`Inner::from_own_clean`] asks for them.
    pub own_clean: Option<Tensor>,
    /// The objective's memory as it was before the step.
    pub memory: Memory,
    /// What is trained beside the student, as leaves of the loss.
    pub heads: Leaves,
}

impl Targets {
    /// Of labelled images of which nothing else is known, in a run of seed 0.
    pub fn new(epoch: Epoch, places: Vec<usize>, labels: Tensor) -> Self {
        Self {
            epoch,
            seed: 0,
            places,
            labels,
            marks: Marks::new(),
            teacher: Said::default(),
            second: Said::default(),
            average: Said::default(),
            own_clean: None,
            memory: Memory::default(),
            heads: Leaves::default(),
        }
    }

    /// The student's own clean logits, for an objective that declared it wants them.
    pub fn own_clean(&self) -> &Tensor {
        self.own_clean.as_ref().expect("the trainer gives clean logits to an objective that attacks them")
    }

    /// Which rows of the batch have a label: `(M,)`, u32.
    pub fn labelled(&self) -> Result<Tensor> {
        let labels = self.labels.to_vec1::<u32>()?;
        let rows: Vec<u32> =
            (0..).zip(labels).filter(|&(_, label)| label != UNLABELLED).map(|(row, _)| row).collect();
        Tensor::new(rows, &Device::Cpu)
    }

    /// A mark of each image: `(N,)` in the precision of `like`.
    pub fn mark(&self, name: &str, like: &Tensor) -> Result<Tensor> {
        let values = self.marks.get(name).expect("an objective reads marks that its batches carry");
        Tensor::new(values.as_slice(), &Device::Cpu)?.to_dtype(like.dtype())
    }
}

/// How the student is attacked while it trains: the inner maximisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inner {
    /// Where the attack starts.
    pub start: Start,
    /// The statistics of BatchNorm in its forwards. Under the batch's own, each of its forwards moves the running
    /// ones, as a network left in PyTorch's `train()` does.
    pub norm: Norm,
    /// Whether it moves away from the student's own clean logits.
    pub from_own_clean: bool,
}

impl Inner {
    /// Under running statistics.
    pub fn from(start: Start) -> Self {
        Self { start, norm: Norm::Running, from_own_clean: false }
    }

    /// The attack within a threat.
    pub fn pgd(self, threat: Threat, steps: usize, step_size: f64) -> Pgd {
        Pgd { threat, steps, step_size, start: self.start }
    }
}

with_around! {
    /// A way to train a student.
    pub trait Objective: Send + Sync {
        /// What it needs besides images and labels, over the whole run.
        fn needs(&self) -> Needs;

        /// How the student is attacked; none for training without an adversary.
        fn inner(&self) -> Option<Inner>;

        /// What the attack raises: one value per image, `(N,)`.
        fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor>;

        /// The forwards of a step of this epoch, in the order in which they move the running statistics.
        fn forwards(&self, epoch: Epoch) -> Vec<Forward>;

        /// The loss, a scalar, of the student's logits in [`Objective::forwards`].
        fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor>;

        provided:

        /// What it needs in a step of this epoch, where it does not need all of it always.
        fn needs_in(&self, epoch: Epoch) -> Needs {
            let _ = epoch;
            self.needs()
        }

        /// How the learning rate falls over `epochs`, where the run asks for `schedule`: released code does not always do as it
        /// says.
        fn schedule(&self, schedule: Schedule, epochs: usize) -> Schedule {
            let _ = epochs;
            schedule
        }

        /// Whether what it does in an epoch depends on how many the run has, besides its learning rate. Such a run cannot be made
        /// longer once it has begun.
        fn is_paced(&self) -> bool {
            false
        }

        /// The distribution t `(N, K)`, of any float type, where the gradient of [`Objective::attack_loss`] at the student's
        /// logits z is, for each image, a positive multiple of `softmax(z) - t`, and t depends on nothing that the attack
        /// changes. Such an attack runs where the engine computes. None, for every other loss, costs a round trip of the
        /// logits, the gradient and the images at each of its steps.
        fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
            let _ = (targets, classes);
            Ok(None)
        }

        /// How many clean views of each image a step draws; the teacher's cached answers come with each.
        fn views(&self) -> usize {
            1
        }

        /// Whether a step also draws a strong view of each image, [`Forward::Strong`]: two changes drawn from RandAugment's,
        /// then Cutout.
        fn strong(&self) -> bool {
            false
        }

        /// How many images without a label a batch holds for each that has one; none where it may hold no such image.
        fn unlabelled_each(&self) -> Option<usize> {
            None
        }

        /// What it trains beside the student, where it reads feature maps of these shapes.
        fn heads(&self, maps: &MapShapes) -> std::result::Result<Vec<Fresh>, HeadsError> {
            let _ = maps;
            Ok(Vec::new())
        }

        /// What it remembers when a run begins.
        fn memory(&self, classes: usize) -> Memory {
            let _ = classes;
            Memory::default()
        }

        /// Whether [`Objective::watch`] is to be called: an attack that somebody watches runs step by step, as one without an
        /// [`Objective::attack_target`].
        fn watches(&self) -> bool {
            false
        }

        /// Sees what the attack found before each of its steps, for an objective that says it [`watches`](Objective::watches).
        fn watch(&self, at: &At, targets: &Targets, memory: &mut Memory) -> Result<()> {
            let _ = (at, targets, memory);
            Ok(())
        }

        /// Sees what the student said in a step.
        fn note(&self, said: &Said, targets: &Targets, memory: &mut Memory) -> Result<()> {
            let _ = (said, targets, memory);
            Ok(())
        }

        /// Draws its conclusions from an epoch.
        fn close_epoch(&self, epoch: Epoch, memory: &mut Memory) {
            let _ = (epoch, memory);
        }
    }
}

/// An objective that the command line knows.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// The numbers that its user may choose.
    pub options: &'static [Choice],
    /// What its authors' released code does against their own words, in a line; none where nothing is known. Whoever
    /// chooses `as-published` gets it: [`Options::as_published`].
    pub as_published: Option<&'static str>,
    /// Makes it.
    pub make: fn(&Options) -> Box<dyn Objective>,
}

impl names::Row for Row {
    const WHAT: &'static str = "objective";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("at", "sat"),
        ("pgd-at", "sat"),
        ("madry", "sat"),
        ("adversarial", "sat"),
        ("standard", "natural"),
        ("clean", "natural"),
        ("ce", "natural"),
        ("ada-ad", "adaad"),
        ("distillation", "kd"),
        ("hinton", "kd"),
        ("iad-i", "iad"),
        ("iad-1", "iad"),
        ("iad-2", "iad-ii"),
        ("ada-iad", "adaiad"),
    ];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("igdm", "IGDM goes with any objective that attacks: `--objective rslad --set igdm=0.9`"),
        (
            "dpk",
            "DPK goes with any objective, beside a teacher: `--objective kd --set dpk=0.3 --teacher WEIGHTS`",
        ),
        (
            "b-mtard",
            "B-MTARD is not here; `mtard` balances the losses of two teachers, not their temperatures",
        ),
    ];
}

impl Tunable for Row {
    fn options(&self) -> &'static [Choice] {
        self.options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_of_the_same_images_are_told_apart_by_their_order() {
        let logits = |value: f32| Tensor::new(&[[value]], &candle_core::Device::Cpu).unwrap();
        let mut said = Said::default();
        for (forward, value) in [(Forward::Clean, 1.0), (Forward::Adversarial, 2.0), (Forward::Clean, 3.0)] {
            said.push(forward, logits(value));
        }
        let value = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0] as u32;
        let found = [said.clean(), said.adversarial(), said.nth(Forward::Clean, 1)].map(value);
        assert_eq!(found, [1, 2, 3]);
    }
}
