//! Introspective adversarial distillation, with two teachers (IAD-II). Source: Zhu et al., ICLR 2022, arXiv:2106.04928.

use candle_core::{Result, Tensor};

use super::iad::{self, Iad, Introspection};
use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets};
use crate::attack::Answers;
use crate::options::Choice;
use crate::schedule::Schedule;
use crate::soft::{cross_entropy, kl, tempered};

const ALPHA: Choice = Choice {
    default: 0.5,
    help: "weight of the robust teacher and of the student's own answers",
    ..iad::ALPHA
};
const SECOND: Choice = Choice {
    key: "second",
    default: 0.25,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "weight of the second teacher; hard labels on adversarial images have what is left of 1",
};
const BEGIN: Choice = Choice { default: 40.0, ..iad::BEGIN };

pub(super) static ROW: Row = Row {
    name: "iad-ii",
    summary: "iad from adversarial answers, with a second, natural teacher and hard labels (arXiv:2106.04928)",
    options: &[ALPHA, SECOND, iad::TEMPERATURE, iad::TRUST, BEGIN],
    as_published: Some(iad::LOST_DROP),
    make: |options| {
        let (introspection, as_published) = (Introspection::of(options), options.as_published());
        Box::new(IadIi { base: Iad { introspection, as_published }, second: options.get(SECOND.key) })
    },
};

/// IAD-II: two teachers' answers on the adversarial image, the robust one's as far as it is to be trusted.
///
/// Attack: as IAD-I's. Loss, with the trust `c = T_y(x')^e` a constant of each image and U the second, natural teacher:
/// `(1 - a - b) mean CE(S(x'), y) + a t^2 mean [c KL(T(x') / t || S(x') / t) + (1 - c) KL(S(x) || S(x'))] +
/// b t^2 mean KL(U(x') / t || S(x') / t)`, means over the batch. Until 40 epochs are done c is 1, and x is not forwarded. S(x)
/// carries gradient. Both teachers are asked about images that the attack makes, so neither can be a label set.
///
/// As in its authors' code (ZFancy/IAD a8091a8, IAD-II.py): a 0.5, b 0.25, e 0.1, t 1. One forward of x' and, once the
/// second half has begun, one of x; with the ten of the attack, 11 and then 12 a step move the running statistics. The script
/// declares `--beta` twice, which its parser refuses; the second declaration's 0.1 is taken. Its learning rate loses the
/// second drop: `as-published`.
#[derive(Clone, Copy, Debug)]
pub struct IadIi {
    /// Weight and trust of the robust teacher.
    pub base: Iad,
    /// Weight of the second teacher.
    pub second: f64,
}

impl Objective for IadIi {
    fn needs(&self) -> Needs {
        let asked = Asked::about([Forward::Adversarial]);
        Needs { second: asked.clone(), ..Needs::teacher(asked) }
    }

    fn schedule(&self, schedule: Schedule, epochs: usize) -> Schedule {
        self.base.schedule(schedule, epochs)
    }

    fn inner(&self) -> Option<Inner> {
        self.base.inner()
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        self.base.attack_loss(answers, targets)
    }

    fn attack_target(&self, targets: &Targets, classes: usize) -> Result<Option<Tensor>> {
        self.base.attack_target(targets, classes)
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        let mut forwards = vec![Forward::Adversarial];
        if self.base.introspection.has_begun(epoch) {
            forwards.push(Forward::Clean);
        }
        forwards
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let Introspection { alpha, temperature, .. } = self.base.introspection;
        let soft = |logits: &Tensor| tempered(logits, temperature);
        let mut robust = self.base.introspection.taught(targets.teacher.adversarial(), said)?;
        if self.base.introspection.has_begun(targets.epoch) {
            let trusted = (robust * self.base.introspection.trust(targets)?)?;
            robust = (trusted + self.base.introspection.own(said, targets)?)?;
        }
        let natural = kl(&soft(targets.second.adversarial())?, &soft(said.adversarial())?)?;
        let right = cross_entropy(said.adversarial(), &targets.labels)?;
        let square = temperature * temperature;
        let taught = ((robust * (alpha * square))? + (natural * (self.second * square))?)?;
        let rest = (1.0 - alpha - self.second).max(0.0);
        (taught + (right * rest)?)?.mean_all()
    }
}
