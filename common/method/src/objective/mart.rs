//! Misclassification-aware adversarial training. Source: Wang et al., ICLR 2020.

use candle_core::{D, Result, Tensor};

use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use super::sat::SMOOTHING;
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{cross_entropy, log_softmax, one_hot, smoothed_cross_entropy};

const BETA: Choice = Choice {
    key: "beta",
    default: 5.0,
    least: 0.0,
    most: 1e3,
    is_whole: false,
    help: "weight of the term for images that are misclassified when clean",
};

pub(super) static ROW: Row = Row {
    name: "mart",
    summary: "boosted cross-entropy plus 5 times a KL that weighs misclassified images (ICLR 2020)",
    options: &[BETA, SMOOTHING],
    as_published: None,
    make: |options| Box::new(Mart { beta: options.get(BETA.key), smoothing: options.get(SMOOTHING.key) }),
};

/// MART: away from the likeliest wrong class on adversarial images, and the more like the clean answer the less sure that
/// is of the label.
///
/// Attack: raise `sum CE(S(x'), y)` under running statistics, from 0.001 times a normal. Loss, with p the softmax of
/// S(x'), q that of S(x) and k the likeliest class of p but y, all means over the batch:
/// `CE(S(x'), y) - log(1.0001 - p_k) + beta sum_c q_c (log q_c - log p_c) (1.0000001 - q_y)`. Everything carries gradient,
/// the target q and its weight too; only the choice of k is a constant. The forwards are the clean one, then the
/// adversarial one.
///
/// As in its authors' code (YisenWang/MART 1c2a930, mart.py), with its constants against logarithms of zero: 1e-12 beside
/// p in both logarithms, 1.0001 and 1.0000001 for the paper's 1. There log q is that of a softmax, which is minus infinity
/// where q vanishes; here it is the log-softmax. Its scripts and the paper have a beta of 5, the function's own default is
/// 6; eps is 0.031, the step 0.007, and rate, decay and schedule are those of the preset `mart-120-cifar10`. With
/// `smoothing` the cross-entropy alone is smoothed; its authors do not smooth.
#[derive(Clone, Copy, Debug)]
pub struct Mart {
    /// Weight of the term for images that are misclassified when clean.
    pub beta: f64,
    /// Share of each label that is spread over all classes in the cross-entropy.
    pub smoothing: f64,
}

/// What the released code adds to a probability before it takes the logarithm.
const TINY: f64 = 1e-12;

impl Default for Mart {
    fn default() -> Self {
        Self { beta: BETA.default, smoothing: SMOOTHING.default }
    }
}

impl Objective for Mart {
    fn needs(&self) -> Needs {
        Needs::nothing()
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Gaussian { sigma: 0.001 }))
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        cross_entropy(&answers.student, &targets.labels)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        one_hot(&targets.labels, classes).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let labels = &targets.labels;
        let hard = log_softmax(said.adversarial())?.exp()?;
        let wrong = hard.gather(&likeliest_but(labels, &hard)?, 1)?.squeeze(1)?;
        // In the order of the released code's roundings: 1.0001 - p is near 1e-4 where p is near 1.
        let margin = ((wrong.neg()? + 1.0001)? + TINY)?.log()?.neg()?;
        let right = smoothed_cross_entropy(said.adversarial(), labels, self.smoothing)?;

        let log_easy = log_softmax(said.clean())?;
        let easy = log_easy.exp()?;
        let apart = (&easy * (log_easy - (hard + TINY)?.log()?)?)?.sum(D::Minus1)?;
        let unsure = (easy.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?.neg()? + 1.000_000_1)?;
        let alike = (apart * unsure)?.mean_all()?;
        (right + margin)?.mean_all()? + (alike * self.beta)?
    }
}

/// The likeliest class of each image but its own: `(N, 1)`, u32, a constant.
fn likeliest_but(labels: &Tensor, probabilities: &Tensor) -> Result<Tensor> {
    let own = one_hot(labels, probabilities.dim(1)?)?.to_dtype(probabilities.dtype())?;
    (probabilities.detach() - (own * 2.0)?)?.argmax_keepdim(D::Minus1)
}
