//! Flags of `distill eval`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use cli::{Interruptible, MachineArgs, NetworkArgs, Stop, json, show, whole};
use disk::{Existing, publish};
use method::threat::Fraction;

use crate::error::RunError;
use crate::evaluate::{Chosen, Examination, Reach, chains, evaluate};
use crate::trained::{self, Trained};

/// Flags of `distill eval`.
#[derive(Args)]
pub struct EvalArgs {
    /// A run's folder, for its best student (its last one where it selected none), or a student's weights
    #[arg(value_name = "RUN", required_unless_present = "student")]
    run: Option<PathBuf>,
    /// The same: weights of the student, or its run's folder
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    student: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Data set: `sample`, or like `cifar10:FOLDER`; the names are below [default: the run's]
    #[arg(long, value_name = "DATASET")]
    data: Option<String>,
    /// Part of the data set: train or test
    #[arg(long, default_value = "test", value_name = "SPLIT")]
    split: data::Split,
    /// Attacks, separated by commas; clean accuracy is always measured
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "clean,fgsm,pgd20")]
    attack: Vec<String>,
    /// Radius of the attack, such as 8/255 [default: the run's]
    #[arg(long, value_name = "FRACTION")]
    eps: Option<Fraction>,
    /// Change of a pixel per step of an iterated attack [default: the run's, or eps / 4 where --eps is given]
    #[arg(long, value_name = "FRACTION")]
    step_size: Option<Fraction>,
    /// Runs of each attack from different starts; an image must withstand all
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<1, 1000>)]
    restarts: u32,
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = whole::<1, { u32::MAX }>)]
    limit: Option<u32>,
    /// Images run together; changes no result
    #[arg(long, value_name = "N", default_value = "128", value_parser = whole::<1, 65536>)]
    batch: u32,
    /// Keys the attacks' starts
    #[arg(long, value_name = "S", default_value = "0")]
    seed: u64,
    /// No fast convolution that rounds more than a plain sum
    #[arg(long)]
    exact_conv: bool,
    /// Also write the result as JSON to this file, or to standard output for `-`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Whether a regular file lies there that is not an earlier report: a report may be written anew, a run's record, data
/// or weights may not be written over.
fn holds_something_else(path: &Path) -> bool {
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let is_report = || -> Option<bool> {
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        Some(report.get("weights_blake3").is_some() && report.get("per_class").is_some())
    };
    is_file && std::fs::metadata(path).is_ok_and(|found| found.len() > 0) && is_report() != Some(true)
}

/// The file that a path leads to: through links, also one to a file that is not there yet.
fn target(path: &Path) -> PathBuf {
    let linked = std::fs::read_link(path).map(|to| path.parent().unwrap_or(Path::new("")).join(to));
    std::fs::canonicalize(path).ok().or(linked.ok()).unwrap_or_else(|| path.into())
}

/// Whether something is there that is written into and not replaced: a pipe, a terminal, a device.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Writes a report.
fn write_report(path: &Path, text: &str) -> std::io::Result<()> {
    if is_stream(path) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
    }
    publish(&target(path), Existing::Replace, |out| out.write_all(text.as_bytes()))
}

/// Where the report cannot lie, or must not: in the student's place.
fn refuse_place(report: &Path, student: &Path) -> Result<(), RunError> {
    if let Some(folder) = report.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        return Err(RunError::Refused(format!(
            "--json {}: there is no folder {}\nhint: make it first, or name another file",
            report.display(),
            folder.display()
        )));
    }
    let is_label_set = |folder: &Path| {
        folder.join("manifest.json").exists()
            && ["shards", "data"].iter().any(|part| folder.join(part).is_dir())
    };
    if report.parent().is_some_and(is_label_set) {
        return Err(RunError::Refused(format!(
            "--json {}: that is in a label set, which holds nothing but its own files\nhint: name another file for the report",
            report.display()
        )));
    }
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    if place(report).is_some_and(|report| place(student) == Some(report)) {
        return Err(RunError::Refused(format!(
            "--json {}: that is the student itself\nhint: name another file for the report",
            report.display()
        )));
    }
    if holds_something_else(report) {
        return Err(RunError::Refused(format!(
            "--json {}: there is a file that is no report\nhint: name another file for the report, or move what is there",
            report.display()
        )));
    }
    Ok(())
}

impl EvalArgs {
    /// What is to be judged, with what is not given taken from the run.
    fn examination(&self) -> Result<Examination, RunError> {
        let attacking = !chains(&self.attack)?.is_empty();
        let path = self.run.as_ref().or(self.student.as_ref()).expect("one of the two is required");
        let trained = trained::find(path)?;
        let student = trained.student.clone();
        let shown = student.display();
        let run = trained.run.as_ref();
        let data = self.data.clone().or_else(|| run.map(|run| run.config.data.clone())).ok_or_else(|| {
            RunError::Refused(format!(
                "{shown}: no run's folder says on which data to judge it\nhint: add --data, as in --data cifar10:FOLDER"
            ))
        })?;
        Ok(Examination {
            said: self.network.foreign()?,
            data,
            split: self.split,
            attacks: self.attack.clone(),
            reach: if attacking { Some(self.reach(&trained)?) } else { None },
            trained_eps: run.map(|run| run.config.eps.clone()),
            restarts: self.restarts as usize,
            limit: self.limit.map(|limit| limit as usize),
            batch: self.batch as usize,
            seed: self.seed,
            student,
        })
    }

    /// How far attacks may go: as given, else as the run trained. No constant is right for every student.
    fn reach(&self, trained: &Trained) -> Result<Reach, RunError> {
        let given = |value: &Fraction| Chosen { value: value.clone(), from: "given".into() };
        let quarter = |eps: &Fraction| Chosen { value: eps.usual_step(), from: "eps / 4".into() };
        if let Some(eps) = &self.eps {
            let step_size = self.step_size.as_ref().map_or_else(|| quarter(eps), given);
            return Ok(Reach { eps: given(eps), step_size });
        }
        let Some(run) = &trained.run else {
            return Err(RunError::Refused(format!(
                "{}: no run's folder says for which eps it was trained\nhint: add --eps, as in --eps 8/255 for CIFAR or --eps 0.3 for MNIST",
                trained.student.display()
            )));
        };
        let of_run = |value: Fraction| Chosen { value, from: run.record.display().to_string() };
        let step_size = self.step_size.as_ref().map_or_else(|| of_run(run.config.step_size()), given);
        Ok(Reach { eps: of_run(run.config.eps.clone()), step_size })
    }

    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let exam = self.examination()?;
        let to_stdout = self.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
        let file = self.json.as_deref().filter(|_| !to_stdout);
        if let Some(path) = file {
            // An evaluation may take hours, and its result must have somewhere to go.
            if !is_stream(path) {
                refuse_place(path, &exam.student)?;
                disk::probe(&target(path)).map_err(cli::Error::io("write", path))?;
            }
        }
        let stop = Stop::on_signals_after("this pass")?;
        let machine = machine.machine();
        let engine = machine.start(self.exact_conv)?;
        let report = evaluate(&exam, &Interruptible::new(engine.as_ref(), &stop), machine.threads)?;
        show(&report, to_stdout)?;
        if let Some(path) = file {
            write_report(path, &json(&report)).map_err(cli::Error::io("write", path))?;
        }
        Ok(())
    }
}
