//! Stage two: trains a small student with PGD, from a label set or from a teacher run online, and judges it.
//!
//! Each subcommand of `distill` is one module of [`verb`] with its flags; `main` parses and dispatches, and what every
//! command says alike lies in the crate `cli`.

pub mod account;
pub mod bench;
pub mod config;
pub mod course;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod folder;
pub mod list;
pub mod metrics;
pub mod ranks;
pub mod select;
pub mod source;
pub mod step;
pub mod train;
pub mod trained;
pub mod verb;
