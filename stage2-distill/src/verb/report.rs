//! `distill report`: one HTML file of a run, or of several beside each other.
//!
//! `measure` finds what no file of a run says, `parts` are the sections of one run, `beside` compares several, `page` puts
//! them together.

mod beside;
mod card;
mod charts;
mod gallery;
mod headline;
mod measure;
mod page;
mod parts;
mod tables;

use std::path::{Path, PathBuf};

use clap::Args;
use cli::{MachineArgs, Stop, Verdicts, note, warn, whole};
use data::DatasetSpec;
use method::attack;

use self::measure::{Measured, Measuring};
use crate::account::Account;
use crate::error::RunError;

/// What is read and what is measured, for `--help`.
pub const RULES: &str = "Figures are read from the files of `distill eval RUN --json FILE` in a run's
folder or beside it. What no file says is measured on the first --images of the
test split with --attack: accuracy at five radii about the run's eps, and the
images of the gallery. Such figures are upper bounds and say so, but those of
AutoAttack. `--images 0` measures nothing. The page loads nothing from anywhere.
";

/// Flags of `distill report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Runs' folders, or folders of runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page [default: report.html in the run's folder; of several runs, here]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Test images to measure on, for the radii and the gallery; 0 measures nothing
    #[arg(long, value_name = "N", default_value = "100", value_parser = whole::<0, { u32::MAX }>)]
    images: u32,
    /// Attack to measure with
    #[arg(long, value_name = "NAME", default_value = "quick")]
    attack: String,
    /// Data set to measure on [default: the run's]
    #[arg(long, value_name = "DATASET")]
    data: Option<String>,
    /// Images run together; changes no result [default: 128; 512 on a GPU]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65536>)]
    batch: Option<u32>,
}

/// A run, and what was measured of it.
struct Told {
    account: Account,
    measured: Result<Measured, Missing>,
}

/// Why nothing was measured: a sentence, and the command that would; none where no command can.
struct Missing {
    what: String,
    command: Option<String>,
}

/// What is missing on the page, and the command that would bring it, where one can.
fn missing(what: &str, command: Option<&str>) -> ::page::Html {
    match command {
        Some(command) => ::page::Html::missing(what, command),
        None => ::page::Html::paragraph(what),
    }
}

impl ReportArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let measuring = self.measuring()?;
        let accounts = Account::read_all(&self.runs)?;
        let out = self.place(&accounts);
        refuse_place(&out)?;
        let stop = Stop::on_signals_after("this pass")?;
        let machine = machine.machine();
        let mut told = Vec::new();
        for account in accounts {
            let measured = measured(&account, measuring.as_ref(), machine, &stop)?;
            told.push(Told { account, measured });
        }
        let page = page::of(&told);
        page::write(&out, &page)?;
        note(format_args!("{}: the report", out.display()));
        Ok(())
    }

    /// What is to be measured; none where nothing is.
    fn measuring(&self) -> Result<Option<Measuring>, RunError> {
        let mut chains = attack::chains(std::slice::from_ref(&self.attack))?;
        let (Some(chain), true) = (chains.pop(), chains.is_empty()) else {
            return Err(RunError::Refused(format!(
                "--attack {}: a report measures with one attack\nhint: name one, such as quick, pgd20 or autoattack",
                self.attack
            )));
        };
        let images = self.images as usize;
        let batch = self.batch.map(|batch| batch as usize);
        Ok((images > 0).then(|| Measuring { chain, images, batch, data: self.data.clone() }))
    }

    fn place(&self, accounts: &[Account]) -> PathBuf {
        const NAME: &str = "report.html";
        match (&self.out, accounts) {
            (Some(out), _) => out.clone(),
            (None, [account]) => account.folder.join(NAME),
            (None, _) => NAME.into(),
        }
    }
}

/// What a run's student does on the first images. Images that are not at hand are no reason to show nothing.
fn measured(
    account: &Account,
    measuring: Option<&Measuring>,
    machine: cli::Machine,
    stop: &Stop,
) -> Result<Result<Measured, Missing>, RunError> {
    let run = cli::quoted(&account.folder.display().to_string());
    let Some(student) = &account.student else {
        let command = format!("distill train --config {run}/config.toml --out {run}");
        return Ok(Err(Missing { what: "The run has no student yet.".into(), command: Some(command) }));
    };
    if student.damage.is_some() {
        return Ok(Err(Missing {
            what: "Its student's file is damaged: nothing was measured.".into(),
            command: None,
        }));
    }
    let Some(measuring) = measuring else {
        let command = format!("distill report {run} --images 100");
        return Ok(Err(Missing {
            what: "Nothing was measured for this page.".into(),
            command: Some(command),
        }));
    };
    let engine = machine.start_for_judging(false, Verdicts::Attacked)?;
    match measuring.run(account, student, engine.as_ref(), stop) {
        Err(RunError::Common(cli::Error::Data(error))) => {
            let text = error.to_string();
            let what = text.lines().next().unwrap_or_default();
            warn(format_args!("{}: not measured: {what}", account.name));
            let command = format!("distill report {run} --data {}", example(&account.config.data));
            Ok(Err(Missing {
                what: format!("The images could not be read: {what}."),
                command: Some(command),
            }))
        }
        measured => measured.map(Ok),
    }
}

/// How a data set of the same kind is named.
fn example(data: &str) -> String {
    data.parse::<DatasetSpec>().map_or_else(|_| data.to_owned(), |spec| spec.row().form.to_owned())
}

fn refuse_place(path: &Path) -> Result<(), RunError> {
    let is_free = ::page::is_free(path).map_err(cli::Error::io("write", path))?;
    if is_free {
        return Ok(());
    }
    Err(RunError::Refused(format!(
        "--out {}: there is a file that is no report\nhint: name another file, or move what is there",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_elsewhere_is_named_as_its_table_does() {
        for (data, form) in [
            ("npz:a/digits.npz", "npz:FILE"),
            ("cifar10-c:a/b/fog@3", "cifar10-c:FOLDER/fog@S"),
            ("imagefolder:signs@32", "imagefolder:DIR@N"),
            ("cifar10:C", "cifar10:FOLDER"),
            ("sample", "sample"),
        ] {
            assert_eq!(example(data), form);
        }
    }
}
