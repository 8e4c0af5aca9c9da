//! What a student learns: the losses of the attack and of the weights, as candle expressions on `(N, K)` logits.
//!
//! An objective says what it needs, how the student is attacked while it trains and what that attack raises, which
//! forwards a step runs and in which order (each moves the running statistics), and the loss. What it learns about the
//! run lies in a [`Memory`]. To add one: one file with its own row, and the row in [`OBJECTIVES`].

mod absld;
mod adaad;
mod ard;
mod memory;
mod natural;
mod row;
mod rslad;
mod sat;
mod trades;

pub use absld::Absld;
pub use adaad::AdaAd;
pub use ard::Ard;
pub use memory::Memory;
pub use natural::Natural;
pub use row::{Epoch, Forward, Inner, Marks, Needs, Objective, Row, Said, Targets, UNLABELLED};
pub use rslad::Rslad;
pub use sat::Sat;
pub use trades::Trades;

pub use crate::options::{Choice, OptionError, Options};

use names::{Table, Unknown};

/// Every objective.
pub const OBJECTIVES: &Table<Row> =
    &[&rslad::ROW, &ard::ROW, &absld::ROW, &adaad::ROW, &trades::ROW, &sat::ROW, &natural::ROW];

/// The objective called `name`.
pub fn find(name: &str) -> std::result::Result<&'static Row, Unknown> {
    names::find(OBJECTIVES, name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_objective_is_made_at_both_ends_of_every_option() {
        for row in OBJECTIVES {
            for choice in row.options {
                assert!(choice.least <= choice.default && choice.default <= choice.most, "{}", choice.key);
                for value in [choice.least, choice.most] {
                    let options = Options::of(*row, &BTreeMap::from([(choice.key.to_string(), value)]));
                    (row.make)(&options.unwrap());
                }
            }
        }
    }
}
