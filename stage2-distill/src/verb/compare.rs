//! `distill compare`: runs beside each other, from what their folders and evaluations say.

mod comparison;
mod settings;
mod text;

use std::path::PathBuf;

use clap::Args;
use cli::show;

pub use self::comparison::{Column, Comparison, Found, Side};
pub use self::settings::Difference;
use crate::account::Account;
use crate::error::RunError;

/// What is read and how it is shown, for `--help`.
pub const RULES: &str = "Nothing is run. Evaluations are the files of `distill eval RUN --json FILE` in
a run's folder or beside it, known by the digest of the student; of several of
one attack, that of most images. Robust accuracy is AutoAttack's; figures of
other attacks are upper bounds of it and marked `<`. Intervals are Wilson's of
95 %. A folder of runs, such as that of `distill sweep`, stands for all of them.
";

/// Flags of `distill compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// Runs' folders, or folders of runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CompareArgs {
    pub(super) fn run(&self) -> Result<(), RunError> {
        let accounts = Account::read_all(&self.runs)?;
        Ok(show(&Comparison::of(&accounts.iter().collect::<Vec<_>>()), self.json)?)
    }
}
