//! What an attack is: what it is told, what it gives, and its row in the table.

use candle_core::Tensor;
use engine::EngineError;

use super::field::At;
use super::start::Starts;
use super::victim::Victim;
use crate::threat::Threat;

/// What an attack is to achieve on a batch of images, and within which bounds.
pub struct Aim<'a> {
    /// The classes `(N,)` u32 that the student is to be wrong about.
    pub classes: &'a Tensor,
    /// Everything random: keyed by seed, restart and image, so that no image depends on its batch.
    pub starts: Starts<'a>,
    /// What the adversary may do.
    pub threat: Threat,
    /// Change of a pixel per step, for attacks that do not find their own.
    pub step_size: f64,
    /// To be shown every gradient that the attack climbs by, of all images of the batch in order: where one vanished, the
    /// attack stood still, and the evaluator says so.
    pub watch: &'a dyn Fn(&At) -> candle_core::Result<()>,
}

/// An attack that judges.
pub trait Attack: Send + Sync {
    /// The name under which it is reported.
    fn name(&self) -> String;

    /// Images that the student is to get wrong, from `images` `(N, C, H, W)`.
    fn perturb(&self, victim: &Victim, images: &Tensor, aim: &Aim) -> Result<Tensor, EngineError>;
}

/// What there is in its place.
const AUTOATTACK: &str = "AutoAttack is not here yet; the strongest today is PGD from several starts, as in \
`--attack pgd50 --restarts 5`; PyTorch loads student.safetensors for the rest";

/// An attack that the command line knows.
pub struct Row {
    /// Its name; `N` stands for a number.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// One name that it answers to.
    pub example: &'static str,
    /// Makes it where `name` is one of its names.
    pub make: fn(name: &str) -> Option<Box<dyn Attack>>,
}

impl names::Row for Row {
    const WHAT: &'static str = "attack";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn example(&self) -> &'static str {
        self.example
    }

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("autoattack", AUTOATTACK),
        ("aa", AUTOATTACK),
        ("apgd", AUTOATTACK),
        ("apgd-ce", AUTOATTACK),
        ("apgd-dlr", AUTOATTACK),
        ("apgd-t", AUTOATTACK),
        ("fab", AUTOATTACK),
        ("square", AUTOATTACK),
        ("cw", "CW is not here yet; `pgdN` climbs cross-entropy, as in pgd20"),
        ("pgd", "`pgdN` has its number of steps in its name, as in `pgd20`"),
        ("pgd-20", "written in one word: `pgd20`"),
        ("pgd-10", "written in one word: `pgd10`"),
        ("bim", "`pgdN` starts at random within eps; `fgsm` is one step from the image"),
        ("none", "`clean` is the accuracy without an attack"),
    ];
}
