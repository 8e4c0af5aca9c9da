//! Stage one: a robust teacher answers to views of clean images, once, and its logits become a label set.
//!
//! Each subcommand of `label` is one module of [`verb`] with its flags, what it does, and what it reports; `main` parses
//! and dispatches, and what every command says alike lies in the crate `cli`. What a label set is lives in the crate
//! `labels`, pixels come from `data`, networks run on the `engine`.

pub mod args;
mod error;
pub mod npy;
pub mod recompute;
mod reuse;
pub mod robust;
pub mod rows_file;
mod squashed;
pub mod storing;
pub mod taps;
mod teacher;
pub mod verb;
mod watch;
mod write;

pub use error::{Error, Result};
pub use write::Written;
