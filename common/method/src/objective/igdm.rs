//! Indirect gradient distillation matching, on top of any objective that attacks. Source: Lee et al., ICLR 2025,
//! arXiv:2312.03286.

use candle_core::{Result, Tensor};

use super::addition::Addition;
use super::needs::{Asked, Forward, Needs};
use super::row::{Around, Epoch, Objective, Said, Targets};
use crate::options::Choice;
use crate::soft::kl;

const WEIGHT: Choice = Choice {
    key: "igdm",
    default: 0.9,
    least: 0.0,
    most: 1e4,
    is_whole: false,
    help: "weight of IGDM's term in the last epoch; it grows from 0 in proportion to the epochs",
};

pub(super) static ROW: Addition = Addition {
    name: "igdm",
    summary: "differences of logits across an image as a live teacher's are, a stand-in for its gradient (arXiv:2312.03286)",
    options: &[WEIGHT],
    needs_attack: true,
    make: |options, base| Box::new(Igdm { weight: options.get(WEIGHT.key), base }),
};

/// IGDM: where an attack leads from x to x + d, the student's logits are to differ between x + d and x - d as the teacher's
/// do.
///
/// Adds `w (ep / E) mean KL(T(x + d) - T(x - d) || S(x + d) - S(x - d))` to the loss of its base, the mean over the batch, ep
/// from 1 in a run of E epochs. The teacher's logits are constants, both of the student's carry gradient. d comes from the
/// base's own attack; x - d may leave the pixel range.
///
/// In place of the base's first clean forward stand three: x + d, x, x - d; a base without a clean one has them last. That is
/// the order of the released `adaad_IGDM_cifar100.py` (x + d, x, x - d, and the base's x' again) and
/// `rslad_IGDM_cifar100.py` (the base's x', then the three). Their `ard_IGDM_cifar100.py` takes x + d for ARD's x' too, and
/// so moves the running statistics once less. x + d is taken to be x', which theirs is but for rounding, and is computed once.
///
/// Differences from the released code, which has CIFAR-100 alone: it divides by 200 in a run of any length; that is E here.
/// The weights of the paper's runs on RSLAD are 0.9 on CIFAR-10 (ResNet-18, LTD's teacher) and 3 on CIFAR-100; on AdaAD 5
/// and 15, on ARD 5 and 50, on IAD 50 and 20, on PGD-AT 60 and 100, on TRADES 20 and 5.
pub struct Igdm {
    /// Weight of the term at the end of the run.
    pub weight: f64,
    /// What it is added to.
    pub base: Box<dyn Objective>,
}

/// What one network's logits on x + d and x - d differ by.
pub(super) fn difference(said: &Said) -> Result<Tensor> {
    said.adversarial() - said.opposite()
}

/// `(N,)`: how far the student's differences are from the teacher's, times the share of the run that is done.
pub(super) fn mismatch(said: &Said, targets: &Targets) -> Result<Tensor> {
    let Epoch { number, of, .. } = targets.epoch;
    kl(&difference(&targets.teacher)?, &difference(said)?)? * ((number + 1) as f64 / of as f64)
}

impl Igdm {
    fn asks() -> Needs {
        Needs::teacher(Asked::about([Forward::Adversarial, Forward::Opposite]))
    }
}

impl Around for Igdm {
    fn base(&self) -> &dyn Objective {
        self.base.as_ref()
    }

    fn needs(&self) -> Needs {
        self.base.needs().and(Self::asks())
    }

    fn needs_in(&self, epoch: Epoch) -> Needs {
        self.base.needs_in(epoch).and(Self::asks())
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        let mut forwards = self.base.forwards(epoch);
        let clean = forwards.iter().position(|&forward| forward == Forward::Clean);
        let place = clean.map_or(forwards.len()..forwards.len(), |place| place..place + 1);
        forwards.splice(place, [Forward::Adversarial, Forward::Clean, Forward::Opposite]);
        forwards
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        self.base.loss(said, targets)? + (mismatch(said, targets)?.mean_all()? * self.weight)?
    }
}
