//! Standard adversarial training. Source: Madry et al., ICLR 2018, arXiv:1706.06083.

use candle_core::{Result, Tensor};

use super::needs::{Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{cross_entropy, one_hot, smoothed_cross_entropy};

/// Of every objective that trains on hard labels under an attack.
pub(super) const SMOOTHING: Choice = Choice {
    key: "smoothing",
    default: 0.0,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "share of each label spread over all classes in the loss; the attack's labels stay hard",
};

pub(super) static ROW: Row = Row {
    name: "sat",
    summary: "cross-entropy on PGD images: standard adversarial training (arXiv:1706.06083)",
    options: &[SMOOTHING],
    as_published: None,
    make: |options| Box::new(Sat { smoothing: options.get(SMOOTHING.key) }),
};

/// SAT: cross-entropy with hard labels on PGD images that start uniformly in the ball. Clean images are not trained on.
///
/// Difference from its authors' code (`MadryLab/cifar10_challenge`): there one network in training mode is attacked and
/// trained, so that the attack's forwards use the batch's own statistics and move the running ones as well, eleven times
/// a step. Here the attack leaves them alone, as in the distillation code that has SAT as its baseline (boyellow/AdaAD),
/// which starts at 0.001 times a normal instead. RSLAD's repository has no code for its SAT rows.
///
/// With `smoothing`, PGD-AT as fast adversarial training's benchmark runs it (`fzjcdt/FastAT_Benchmark` 1d7105e, `pgd_at.py`,
/// 0.4 on CIFAR-10): the loss is PyTorch's smoothed cross-entropy, and the attack climbs the plain one, with the hard
/// label. P2333/Bag-of-Tricks-for-AT smooths in the loss, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sat {
    /// Share of each label that is spread over all classes in the loss.
    pub smoothing: f64,
}

impl Objective for Sat {
    fn needs(&self) -> Needs {
        Needs::nothing()
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Uniform))
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        cross_entropy(&answers.student, &targets.labels)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        one_hot(&targets.labels, classes).map(Some)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Adversarial]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        smoothed_cross_entropy(said.adversarial(), &targets.labels, self.smoothing)?.mean_all()
    }
}
