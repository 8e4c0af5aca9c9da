//! What a student learns: the losses of the attack and of the weights, as candle expressions on `(N, K)` logits.
//!
//! An objective says what it needs, how its attack starts and what the attack raises, which forwards a step runs and
//! in which order (each moves the running statistics), and the loss. To add one: one file, and one row in
//! [`OBJECTIVES`].

mod natural;
mod rslad;
mod sat;
mod trades;

pub use natural::Natural;
pub use rslad::Rslad;
pub use sat::Sat;
pub use trades::Trades;

use candle_core::{Result, Tensor};

use crate::attack::Start;

/// What an objective learns from, besides images and hard labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Hard labels are enough.
    Nothing,
    /// The teacher's logits on the clean views: from a label set, or from a teacher run online.
    CachedLabels,
    /// A teacher that can be asked about adversarial images: no label set can answer that.
    LiveTeacher,
}

/// One training forward of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Of the clean views.
    Clean,
    /// Of the adversarial images that the attack found.
    Adversarial,
}

/// What a batch is to be learned from.
pub struct Targets {
    /// Hard labels `(N,)`, u32.
    pub labels: Tensor,
    /// The teacher's logits `(N, K)` on the clean views; there where the objective needs them.
    pub teacher: Option<Tensor>,
    /// The student's own logits `(N, K)` on the clean views under running statistics, a constant; there where the
    /// objective's attack moves away from them.
    pub own_clean: Option<Tensor>,
}

impl Targets {
    fn teacher(&self) -> &Tensor {
        self.teacher.as_ref().expect("the trainer gives teacher logits to an objective that needs them")
    }

    fn own_clean(&self) -> &Tensor {
        self.own_clean.as_ref().expect("the trainer gives clean logits to an objective that attacks them")
    }
}

/// A way to train a student.
pub trait Objective: Send + Sync {
    /// What it needs besides images and labels.
    fn needs(&self) -> Needs;

    /// Where its attack starts; none for training without one.
    fn attack_start(&self) -> Option<Start>;

    /// Whether its attack moves away from the student's own clean logits.
    fn attacks_own_clean(&self) -> bool {
        false
    }

    /// What the attack raises: a scalar, summed over the batch. `logits` are the student's on the attacked images.
    fn attack_loss(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor>;

    /// The forwards of a step, in the order in which they move the running statistics.
    fn forwards(&self) -> &'static [Forward];

    /// The loss, a scalar, of the logits of [`Objective::forwards`], in their order.
    fn loss(&self, logits: &[Tensor], targets: &Targets) -> Result<Tensor>;
}

/// An objective that the command line knows.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Makes it.
    pub make: fn() -> Box<dyn Objective>,
}

/// Every objective.
pub const OBJECTIVES: &[Row] = &[
    Row {
        name: "rslad",
        summary: "robust soft label distillation from a teacher's clean logits (arXiv:2108.07969)",
        make: || Box::new(Rslad::default()),
    },
    Row {
        name: "trades",
        summary: "cross-entropy plus 6 times the KL between clean and adversarial (arXiv:1901.08573)",
        make: || Box::new(Trades::default()),
    },
    Row {
        name: "sat",
        summary: "cross-entropy on PGD images: standard adversarial training (arXiv:1706.06083)",
        make: || Box::new(Sat),
    },
    Row {
        name: "natural",
        summary: "cross-entropy on clean images: no robustness",
        make: || Box::new(Natural),
    },
];

/// The objective called `name`.
pub fn find(name: &str) -> std::result::Result<&'static Row, UnknownObjective> {
    OBJECTIVES.iter().find(|row| row.name == name).ok_or_else(|| UnknownObjective { name: name.into() })
}

/// A name that is not in [`OBJECTIVES`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown objective `{name}`\n{}", crate::suggest::hint(.name, &OBJECTIVES.iter().map(|row| row.name).collect::<Vec<_>>()))]
pub struct UnknownObjective {
    name: String,
}
