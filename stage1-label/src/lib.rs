//! Stage one: a robust teacher answers to views of clean images, once, and its logits become a label set.
//!
//! Each subcommand of `label` is one module with its flags, what it does, and what it reports; `main` parses, dispatches
//! and chooses the exit code. What a label set is lives in the crate `labels`, pixels come from `data`, networks run on
//! the `engine`.

pub mod args;
mod error;
pub mod estimate;
pub mod import;
pub mod inspect;
pub mod npy;
pub mod plan;
pub mod progress;
pub mod recompute;
pub mod rows_file;
pub mod run;
pub mod stop;
pub mod teacher;
pub mod verify;
mod write;

pub use error::{Error, Result};
pub use write::Written;
