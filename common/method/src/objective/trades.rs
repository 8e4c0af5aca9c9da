//! TRADES. Source: Zhang et al., ICML 2019, arXiv:1901.08573.

use candle_core::{Result, Tensor};

use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::sat::SMOOTHING;
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{kl, smoothed_cross_entropy, softmax};

const BETA: Choice = Choice {
    key: "beta",
    default: 6.0,
    least: 0.0,
    most: 1e3,
    is_whole: false,
    help: "weight of the robust term",
};

pub(super) static ROW: Row = Row {
    name: "trades",
    summary: "cross-entropy plus 6 times the KL between clean and adversarial (arXiv:1901.08573)",
    options: &[BETA, SMOOTHING],
    as_published: None,
    make: |options| Box::new(Trades { beta: options.get(BETA.key), smoothing: options.get(SMOOTHING.key) }),
};

/// TRADES: stay right on clean images and alike on adversarial ones.
///
/// Attack: raise `sum KL(S(x) || S(x'))` with S(x) under running statistics, from 0.001 times a normal. Loss:
/// `mean CE(S(x), y) + beta * mean KL(S(x) || S(x'))`, where both logits get gradients.
///
/// As in its authors' code (yaodongyu/TRADES, trades.py), three training forwards move the running statistics: the clean
/// images, the adversarial ones, and the clean ones again, for the target of the KL. Their script's eps is 0.031, its
/// step 0.007 and its schedule another than RSLAD's: the preset `trades-100-cifar10`. With `smoothing` the cross-entropy
/// on clean images is smoothed, which neither the attack nor the KL sees; its authors do not smooth.
#[derive(Clone, Copy, Debug)]
pub struct Trades {
    /// Weight of the robust term; 6 in the paper's CIFAR-10 runs.
    pub beta: f64,
    /// Share of each label that is spread over all classes in the cross-entropy.
    pub smoothing: f64,
}

impl Default for Trades {
    fn default() -> Self {
        Self { beta: BETA.default, smoothing: SMOOTHING.default }
    }
}

impl Objective for Trades {
    fn needs(&self) -> Needs {
        Needs::nothing()
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner { from_own_clean: true, ..Inner::from(Start::Gaussian { sigma: 0.001 }) })
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        kl(targets.own_clean(), &answers.student)
    }

    fn attack_target(&self, targets: &Targets, _: usize) -> Result<Option<Tensor>> {
        softmax(targets.own_clean()).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let right = smoothed_cross_entropy(said.clean(), &targets.labels, self.smoothing)?.mean_all()?;
        let alike = kl(said.nth(Forward::Clean, 1), said.adversarial())?.mean_all()?;
        right + (alike * self.beta)?
    }
}
