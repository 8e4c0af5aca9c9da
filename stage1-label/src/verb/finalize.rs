//! `label finalize`: publishes what several `label run --part` have written.

use std::path::PathBuf;

use clap::Args;
use cli::{MachineArgs, Stop};

use crate::watch::Onlooker;
use crate::write::published;
use crate::{Error, Result};

/// Flags of `label finalize`.
#[derive(Debug, Clone, Args)]
pub struct FinalizeArgs {
    /// The folder that every part was written into
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
}

impl FinalizeArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let stop = Stop::on_signals_after("this shard")?;
        run(self, machine.threads(), &stop)
    }
}

/// Hashes every shard and publishes the label set; verifies one that is published, on so many threads.
pub fn run(args: &FinalizeArgs, threads: usize, stop: &Stop) -> Result<()> {
    let manifest = labels::finalize_watched(&args.labels, threads, &Onlooker::new(stop))?;
    let manifest = manifest.ok_or_else(|| Error::VerifyInterrupted { dir: args.labels.clone() })?;
    published(&args.labels, &manifest, "complete");
    Ok(())
}
