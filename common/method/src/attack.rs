//! Finding adversarial images, for training and for judging.
//!
//! In training, [`Pgd`] climbs a [`Field`] that the objective lays over images. In judging, an [`Attack`] sees a
//! [`Victim`] and the classes that it must not be right about, never which data set they are of. The evaluator alone
//! projects what comes out, checks it and counts. To add one: one file with its own row, and the row in [`ATTACKS`].

mod ascent;
mod fgsm;
mod field;
mod pgd;
mod start;
mod victim;

pub use field::{Answers, At, Field};
pub use pgd::{Pgd, Start};
pub use start::Starts;
pub use victim::Victim;

use std::collections::BTreeMap;

use candle_core::Tensor;
use engine::EngineError;
use names::{Table, Unknown};

use crate::options::{Choice, Options, Tunable};
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
    /// The numbers that its user may choose.
    pub options: &'static [Choice],
    /// Makes it where `name` is one of its names.
    pub make: fn(name: &str, options: &Options) -> Option<Box<dyn Attack>>,
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

impl Tunable for Row {
    fn options(&self) -> &'static [Choice] {
        self.options
    }
}

/// Every attack.
pub const ATTACKS: &Table<Row> = &[&fgsm::ROW, &pgd::ROW];

/// The attack called `name`, with its options as they are by default.
pub fn find(name: &str) -> Result<Box<dyn Attack>, Unknown> {
    let make = |row: &'static Row| {
        let options = Options::of(row, &BTreeMap::new()).expect("defaults lie in their own ranges");
        (row.make)(name, &options)
    };
    // Clean accuracy is asked for by a name beside the attacks', so the list of known names has it too.
    let known = || std::iter::once("clean").chain(ATTACKS.iter().map(|row| row.name));
    ATTACKS.iter().copied().find_map(make).ok_or_else(|| Unknown::new("attack", name, known()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_answers_to_its_example_and_reports_it() {
        for row in ATTACKS {
            assert_eq!(find(row.example).unwrap().name(), row.example);
        }
    }

    #[test]
    fn a_number_of_steps_is_part_of_the_name_and_written_one_way() {
        assert_eq!(find("pgd20").unwrap().name(), "pgd20");
        for bad in ["pgd", "pgd0", "pgd020", "pgd+1", "pgd1.5", "PGD20"] {
            assert!(find(bad).is_err(), "{bad}");
        }
        let error = find("fgms").err().unwrap().to_string();
        assert_eq!(error, "unknown attack `fgms`\nhint: did you mean `fgsm`? known: clean, fgsm, pgdN");
    }
}
