//! What the integration tests share: golden values from PyTorch, the networks and inputs that they belong to, and the
//! comparison that `tests/golden/README.md` prescribes.
//!
//! Everything here panics with the name of what is wrong: a test has no caller to hand an error to.

mod compare;
mod emulated;
mod golden;
mod gpu;
mod prepared;
mod process;

pub use compare::{Worst, distance, relative, summaries};
pub use emulated::{emulated_driver, on_hardware, with_gpu};
pub use golden::{Golden, json};
pub use gpu::{Gpu, gpu};
pub use prepared::{Case, Cases, Cost, Modes, RoundingErrors, images, named, prepared, upstream, values};
pub use process::{cpu, cpus, reference, reference_of};

use std::path::PathBuf;

/// The folder of real data sets and teachers that `RSLAD_DATA` names.
///
/// Without it a test that needs them has nothing to do: it prints that `test` is skipped, and returns.
pub fn data_dir(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RSLAD_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("{test}: skipped, RSLAD_DATA does not name a folder with real data");
    }
    folder
}
