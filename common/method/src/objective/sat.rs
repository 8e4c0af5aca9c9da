//! Standard adversarial training. Source: Madry et al., ICLR 2018, arXiv:1706.06083.

use candle_core::{Result, Tensor};

use super::{Forward, Needs, Objective, Targets};
use crate::attack::Start;
use crate::soft::cross_entropy;

/// SAT: cross-entropy with hard labels on PGD images that start uniformly in the ball. Clean images are not trained on.
#[derive(Clone, Copy, Debug)]
pub struct Sat;

impl Objective for Sat {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn attack_start(&self) -> Option<Start> {
        Some(Start::Uniform)
    }

    fn attack_loss(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        cross_entropy(logits, &targets.labels)?.sum_all()
    }

    fn forwards(&self) -> &'static [Forward] {
        &[Forward::Adversarial]
    }

    fn loss(&self, logits: &[Tensor], targets: &Targets) -> Result<Tensor> {
        cross_entropy(&logits[0], &targets.labels)?.mean_all()
    }
}
