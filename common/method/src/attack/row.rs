//! What an attack is: what it is told, what it gives, and its row in the table.

use candle_core::Tensor;
use engine::EngineError;

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
}

/// An attack that judges.
pub trait Attack: Send + Sync {
    /// The name under which it is reported.
    fn name(&self) -> String;

    /// Images that the student is to get wrong, from `images` `(N, C, H, W)`.
    fn perturb(&self, victim: &Victim, images: &Tensor, aim: &Aim) -> Result<Tensor, EngineError>;
}

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
}
