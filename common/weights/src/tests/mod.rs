//! Reading and writing, against files and numbers that PyTorch made and against files that nobody should
//! make.

mod forged;
mod hostile;
mod places;
mod publish;
mod pytorch;
mod teachers;

use std::path::PathBuf;

use super::*;

/// A file that `tests/golden/make_weights.py` wrote.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files")).join(name)
}
