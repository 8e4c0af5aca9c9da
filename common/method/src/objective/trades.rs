//! TRADES. Source: Zhang et al., ICML 2019, arXiv:1901.08573.

use candle_core::{Result, Tensor};

use super::{Forward, Needs, Objective, Targets};
use crate::attack::Start;
use crate::soft::{cross_entropy, kl};

/// TRADES: stay right on clean images and alike on adversarial ones.
///
/// Attack: raise `sum KL(S(x) || S(x'))` with S(x) under running statistics, from 0.001 times a normal. Loss:
/// `mean CE(S(x), y) + beta * mean KL(S(x) || S(x'))`, where both logits get gradients.
#[derive(Clone, Copy, Debug)]
pub struct Trades {
    /// Weight of the robust term; 6 in the paper's CIFAR-10 runs.
    pub beta: f64,
}

impl Default for Trades {
    fn default() -> Self {
        Self { beta: 6.0 }
    }
}

impl Objective for Trades {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn attack_start(&self) -> Option<Start> {
        Some(Start::Gaussian { sigma: 0.001 })
    }

    fn attacks_own_clean(&self) -> bool {
        true
    }

    fn attack_loss(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        kl(targets.own_clean(), logits)?.sum_all()
    }

    fn forwards(&self) -> &'static [Forward] {
        &[Forward::Clean, Forward::Adversarial]
    }

    fn loss(&self, logits: &[Tensor], targets: &Targets) -> Result<Tensor> {
        let right = cross_entropy(&logits[0], &targets.labels)?.mean_all()?;
        let alike = kl(&logits[0], &logits[1])?.mean_all()?;
        right + (alike * self.beta)?
    }
}
