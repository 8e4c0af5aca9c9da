//! Finding adversarial images, for training and for judging.
//!
//! An attack sees a [`Victim`] and a loss to raise; it never sees which data set or objective it serves. The evaluator
//! projects what comes out and checks it with [`crate::threat::Threat::check`]. To add an attack: one file, and one row
//! in [`crate::eval::ATTACKS`].

mod ascent;
mod pgd;
mod start;
mod victim;

pub use pgd::{Pgd, Start};
pub use start::Starts;
pub use victim::Victim;
