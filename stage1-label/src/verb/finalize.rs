//! `label finalize`: publishes what several `label run --part` have written.

use std::path::PathBuf;

use clap::Args;

use crate::Result;
use crate::write::published;

/// Flags of `label finalize`.
#[derive(Debug, Clone, Args)]
pub struct FinalizeArgs {
    /// The folder that every part was written into
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
}

impl FinalizeArgs {
    pub(super) fn run(&self) -> Result<()> {
        published(&self.labels, &labels::finalize(&self.labels)?, "complete");
        Ok(())
    }
}
