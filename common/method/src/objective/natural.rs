//! Training without an adversary, for comparison.

use candle_core::{Result, Tensor};

use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::Answers;
use crate::soft::{cross_entropy, one_hot};

pub(super) static ROW: Row = Row {
    name: "natural",
    summary: "cross-entropy on clean images: no robustness",
    options: &[],
    as_published: None,
    make: |_| Box::new(Natural),
};

/// Cross-entropy with hard labels on clean views.
#[derive(Clone, Copy, Debug)]
pub struct Natural;

impl Objective for Natural {
    fn needs(&self) -> Needs {
        Needs::nothing()
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
        cross_entropy(said.clean(), &targets.labels)?.mean_all()
    }
}
