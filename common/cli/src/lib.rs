//! What both binaries say and how: one progress, one stop signal, one set of exit codes, one way to print, one `--help`.
//!
//! A binary parses, chooses a verb and runs it; everything between that and the person before the terminal is here. No
//! result depends on this crate.

mod end;
mod error;
mod exit;
pub mod help;
mod machine;
mod print;
mod progress;
mod stop;

pub use end::end;
pub use error::Error;
pub use exit::{Exit, Exits};
pub use machine::{Machine, MachineArgs, one_to};
pub use print::{json, print, say, show};
pub use progress::Progress;
pub use stop::Stop;
