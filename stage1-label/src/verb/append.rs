//! `label append`: a label set with more rows than another one, whose answers it takes over.

use std::path::PathBuf;

use clap::Args;
use cli::MachineArgs;

use crate::Result;
use crate::verb::run::RunArgs;

/// Flags of `label append`.
#[derive(Debug, Clone, Args)]
pub struct AppendArgs {
    /// The label set to begin with: what it holds is taken over, only what it lacks is asked for
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
    /// The label set that is to be there in the end, in a folder of its own.
    #[command(flatten)]
    pub run: RunArgs,
}

impl AppendArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let mut run = self.run.clone();
        run.reuse.insert(0, self.labels.clone());
        run.run(machine)
    }
}
