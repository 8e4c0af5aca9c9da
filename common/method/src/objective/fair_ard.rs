//! Fair adversarially robust distillation. Source: Yue et al., 2023; code NISP-official/Fair-ARD 910c8cd.

use candle_core::{Result, Tensor};

use super::ard::{self, Ard};
use super::fair::{self, Fairness};
use super::memory::Memory;
use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, At};
use crate::schedule::Schedule;

pub(super) static ROW: Row = Row {
    name: "fair-ard",
    summary: "ard with more weight on classes that the attack breaks in fewer steps (NeurIPS 2023)",
    options: &[ard::ALPHA, ard::TEMPERATURE, fair::OPTIONS[0], fair::OPTIONS[1], fair::OPTIONS[2]],
    as_published: Some(ard::ONE_DROP),
    make: |options| {
        Box::new(FairArd { ard: Ard::of(options), fairness: Fairness::of(options, ADDED, LEAST) })
    },
};

/// Keeps 1 / kappa finite, in the authors' code.
const ADDED: f64 = 1e-5;
/// So that nothing else has to.
const LEAST: f64 = 0.0;

/// Fair-ARD: ARD whose images weigh as their class does, by the steps that it withstands (see [`Fairness`]).
///
/// Attack and forwards are ARD's: cross-entropy from a uniform start with BatchNorm on the batch's own statistics, under
/// which the student's answers are counted as well; then the adversarial forward and the clean one. Loss:
/// `alpha t^2 / K mean w KL(T(x) / t || S(x') / t) + (1 - alpha) mean w CE(S(x), y)`, means over the batch.
///
/// In the authors' code (`Fair-ARD.py`) SGD is Nesterov's (`--nesterov`). It trains 200 epochs and means to lower the rate
/// after 100 and 150, but lowers it from the first rate each time: only the drop after 100 acts. Here all drops do, unless
/// `as-published` is chosen.
#[derive(Clone, Copy, Debug)]
pub struct FairArd {
    /// What is weighed.
    pub ard: Ard,
    /// How.
    pub fairness: Fairness,
}

impl Objective for FairArd {
    fn needs(&self) -> Needs {
        self.ard.needs()
    }

    fn schedule(&self, schedule: Schedule, epochs: usize) -> Schedule {
        self.ard.schedule(schedule, epochs)
    }

    fn inner(&self) -> Option<Inner> {
        self.ard.inner()
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        self.ard.attack_loss(answers, targets)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        self.ard.attack_target(targets, classes)
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        self.ard.forwards(epoch)
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let weights = Fairness::weights(targets, said.adversarial())?;
        self.ard.weighted(said, targets, Some(&weights))
    }

    fn memory(&self, classes: usize) -> Memory {
        Fairness::memory(classes)
    }

    fn watches(&self) -> bool {
        true
    }

    fn watch(&self, at: &At, targets: &Targets, memory: &mut Memory) -> Result<()> {
        Fairness::watch(at, targets, memory)
    }

    fn note(&self, _: &Said, targets: &Targets, memory: &mut Memory) -> Result<()> {
        Fairness::note(targets, memory)
    }

    fn close_epoch(&self, _: Epoch, memory: &mut Memory) {
        self.fairness.close_epoch(memory);
    }
}
