//! Fair robust soft label distillation. Source: Yue et al., 2023; code NISP-official/Fair-ARD 910c8cd.

use candle_core::{Result, Tensor};

use super::fair::{self, Fairness};
use super::memory::Memory;
use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::rslad::{self, Rslad};
use crate::attack::{Answers, At};

pub(super) static ROW: Row = Row {
    name: "fair-rslad",
    summary: "rslad with more weight on classes that the attack breaks in fewer steps (NeurIPS 2023)",
    options: &[rslad::ALPHA, rslad::KL_SCALE, fair::OPTIONS[0], fair::OPTIONS[1], fair::OPTIONS[2]],
    as_published: Some("a class that withstands no step of the attack in an epoch ends the run"),
    make: |options| {
        let rslad = Rslad {
            adversarial: options.get(rslad::ALPHA.key),
            kl_scale: options.get(rslad::KL_SCALE.key),
            ..Rslad::default()
        };
        Box::new(FairRslad {
            rslad,
            fairness: Fairness::of(options, 0.0, if options.as_published() { 0.0 } else { LEAST }),
        })
    },
};

/// As a class's kappa counts at least, where the authors divide by zero.
const LEAST: f64 = 1e-5;

/// Fair-RSLAD: RSLAD whose images weigh as their class does, by the steps that it withstands (see [`Fairness`]).
///
/// Attack and forwards are RSLAD's; the student's answers are counted under running statistics, as the attack sees them.
/// Loss: `scale * (5/6 mean w KL(T(x) || S(x')) + 1/6 mean w KL(T(x) || S(x)))`, means over the batch: both terms are
/// weighed.
///
/// In the authors' code (`Fair-RSLAD.py`) SGD is Nesterov's (`--nesterov`). A class of which no image withstands the start
/// divides by zero there: its weight is not a number, nor is any loss from then on. Here it counts as 1e-5, unless
/// `as-published` is chosen: then the run ends with that epoch, diverged.
#[derive(Clone, Copy, Debug)]
pub struct FairRslad {
    /// What is weighed.
    pub rslad: Rslad,
    /// How.
    pub fairness: Fairness,
}

impl Objective for FairRslad {
    fn needs(&self) -> Needs {
        self.rslad.needs()
    }

    fn inner(&self) -> Option<Inner> {
        self.rslad.inner()
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        self.rslad.attack_loss(answers, targets)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        self.rslad.attack_target(targets, classes)
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        self.rslad.forwards(epoch)
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let weights = Fairness::weights(targets, said.adversarial())?;
        self.rslad.weighted(said, targets, Some(&weights))
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
