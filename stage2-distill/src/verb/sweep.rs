//! `distill sweep`: its flags, and what becomes of a file of runs.
//!
//! `file` makes runs of the file, `runs` has them trained and judged as `distill train` and `distill eval` do, `outcome` is
//! what one of them came to, `table` what all of them did. Everything that a run leaves lies in its own folder, so that
//! processes with a run each need nothing of one another.

mod file;
mod outcome;
mod runs;
mod table;

use std::path::{Path, PathBuf};

use clap::Args;
use cli::{MachineArgs, Stop, note, print, quoted, show, whole};
use disk::Existing;

use crate::error::RunError;
use crate::ranks::refuse_several;

use self::file::SweepFile;
use self::runs::Sweep;
use self::table::Table;

/// A file that does something, for `--help`.
pub const EXAMPLE: &str = r#"  # Settings of every run, as in `distill train --config`. A list is crossed.
  data = "cifar10:cifar10"
  student = "resnet8"
  labels = "labels"
  epochs = 10
  seed = [0, 1, 2]

  [[run]]
  objective = ["rslad", "trades"]

  [[run]]
  objective = "ard"
  lr = 0.05

  [eval]
  attack = ["pgd20", "autoattack"]
  limit = 1000
"#;

/// How a file is read, for `--help`.
pub const RULES: &str = "These are nine runs in folders such as rslad-seed0 and ard-lr0.05-seed2.
A [[run]] lays its settings over the common ones and may have a `name`, and
[run.options] for its objective; without [[run]] there is one group.
`preset = \"NAME\"` begins with a preset. Numbers that are one value, as
milestones = [74, 89], stay one; [[74, 89], [50, 75]] are two. The keys of
[eval] are the flags of `distill eval`; without it, PGD-20 judges.
Runs that are done are not done again; one whose settings the file has changed
since is refused, and the others go on. The table is table.md in --out, too.

Array jobs: `distill sweep FILE --out DIR --only $SLURM_ARRAY_TASK_ID` (or
$JOB_COMPLETION_INDEX), counted from 0; then without --only for the table.
";

/// Flags of `distill sweep`.
#[derive(Args)]
pub struct SweepArgs {
    /// TOML file of the runs
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder for the folders of the runs, and for the table
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Do nothing, and print a command for each run, one a line
    #[arg(long, conflicts_with_all = ["only", "json"])]
    print: bool,
    /// Do run I alone, counted from 0
    #[arg(long, value_name = "I", value_parser = whole::<0, 1_000_000>)]
    only: Option<u32>,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
}

impl SweepArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let file = SweepFile::read(&self.file, machine)?;
        if self.print {
            return Ok(print(&commands(&file))?);
        }
        let only = self.only.map(|only| only as usize);
        if let Some(only) = only.filter(|only| *only >= file.runs.len()) {
            let (shown, last) = (self.file.display(), file.runs.len() - 1);
            return Err(RunError::Refused(format!(
                "{shown}: it has no run {only}, the last is {last}\nhint: they are counted from 0; --print lists them"
            )));
        }
        refuse_several("sweep")?;
        let stop = Stop::on_signals_after("this step")?;
        let words = std::env::args().map(|word| quoted(&word));
        let sweep = Sweep {
            file: &file,
            out: &self.out,
            machine: machine.machine(),
            stop: &stop,
            command: words.collect::<Vec<_>>().join(" "),
        };
        let table = sweep.run(only)?;
        if only.is_none() {
            write(&self.out.join("table.md"), &table)?;
        }
        show(&table, self.json)?;
        match table.failed() {
            0 => Ok(()),
            failed => Err(RunError::Sweep { failed, runs: table.runs.len() }),
        }
    }
}

fn write(path: &Path, table: &Table) -> Result<(), RunError> {
    let text = table.markdown();
    if let Some(folder) = path.parent() {
        // No run may have come as far as to make it.
        std::fs::create_dir_all(folder).map_err(cli::Error::io("make", folder))?;
    }
    disk::publish(path, Existing::Replace, |out| std::io::Write::write_all(out, text.as_bytes()))
        .map_err(cli::Error::io("write", path))?;
    note(format_args!("{}: the table", path.display()));
    Ok(())
}

/// This command once for each run.
fn commands(file: &SweepFile) -> String {
    let words: Vec<String> =
        std::env::args().filter(|word| word != "--print").map(|word| quoted(&word)).collect();
    let words = words.join(" ");
    let line = |(number, name): (usize, &str)| format!("{words} --only {number}  # {name}\n");
    file.runs.iter().map(|run| run.name.as_str()).enumerate().map(line).collect()
}
