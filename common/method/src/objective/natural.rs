//! Training without an adversary, for comparison.

use candle_core::{Result, Tensor};

use super::{Forward, Needs, Objective, Targets};
use crate::attack::Start;
use crate::soft::cross_entropy;

/// Cross-entropy with hard labels on clean views.
#[derive(Clone, Copy, Debug)]
pub struct Natural;

impl Objective for Natural {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn attack_start(&self) -> Option<Start> {
        None
    }

    fn attack_loss(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        cross_entropy(logits, &targets.labels)?.sum_all()
    }

    fn forwards(&self) -> &'static [Forward] {
        &[Forward::Clean]
    }

    fn loss(&self, logits: &[Tensor], targets: &Targets) -> Result<Tensor> {
        cross_entropy(&logits[0], &targets.labels)?.mean_all()
    }
}
