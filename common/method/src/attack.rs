//! Finding adversarial images, for training and for judging.
//!
//! In training, [`Pgd`] climbs a [`Field`] that the objective lays over images. In judging, an [`Attack`] sees a
//! [`Victim`] and the classes that it must not be right about, never which data set they are of. The evaluator alone
//! projects what comes out, checks it and counts. To add one: one file with its own row, and the row in [`ATTACKS`].

mod ascent;
mod fgsm;
mod field;
mod pgd;
mod row;
mod start;
mod victim;

pub use field::{Answers, At, Field};
pub use pgd::{Pgd, Start};
pub use row::{Aim, Attack, Row};
pub use start::Starts;
pub use victim::Victim;

use names::{Table, Unknown};

/// Every attack.
pub const ATTACKS: &Table<Row> = &[&fgsm::ROW, &pgd::ROW];

/// The attack called `name`.
pub fn find(name: &str) -> Result<Box<dyn Attack>, Unknown> {
    // Clean accuracy is asked for by a name beside the attacks', so the list of known names has it too.
    let known = std::iter::once("clean").chain(ATTACKS.iter().map(|row| row.name));
    let found = ATTACKS.iter().find_map(|row| (row.make)(name));
    found.ok_or_else(|| Unknown::beside(ATTACKS, name, known))
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
