//! Flags of `distill eval`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use cli::{MachineArgs, Stop, json, show};
use disk::{Existing, publish};
use method::threat::Fraction;

use crate::error::RunError;
use crate::evaluate::{Examination, evaluate};

/// Flags of `distill eval`.
#[derive(Args)]
pub struct EvalArgs {
    /// Weights of the student
    #[arg(long, value_name = "FILE")]
    student: PathBuf,
    /// Architecture, where the file does not say
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Data set: `sample`, or like `cifar10:FOLDER`; the names are below
    #[arg(long, value_name = "DATASET")]
    data: String,
    /// Part of the data set: train or test
    #[arg(long, default_value = "test", value_name = "SPLIT")]
    split: data::Split,
    /// Attacks, separated by commas; clean accuracy is always measured
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "clean,fgsm,pgd20")]
    attack: Vec<String>,
    /// Radius of the attack
    #[arg(long, value_name = "FRACTION", default_value = "8/255")]
    eps: Fraction,
    /// Change of a pixel per step of an iterated attack [default: eps / 4]
    #[arg(long, value_name = "FRACTION")]
    step_size: Option<Fraction>,
    /// Runs of each attack from different starts; an image must withstand all
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    restarts: u32,
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Images run together; changes no result
    #[arg(long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
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

impl EvalArgs {
    /// What is to be judged.
    fn examination(&self) -> Examination {
        Examination {
            student: self.student.clone(),
            arch: self.arch.clone(),
            data: self.data.clone(),
            split: self.split,
            attacks: self.attack.clone(),
            eps: self.eps.clone(),
            step_size: self.step_size.clone(),
            restarts: self.restarts as usize,
            limit: self.limit.map(|limit| limit as usize),
            batch: self.batch as usize,
            seed: self.seed,
        }
    }

    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let to_stdout = self.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
        let file = self.json.as_deref().filter(|_| !to_stdout);
        if let Some(path) = file {
            // An evaluation may take hours, and its result must have somewhere to go.
            disk::probe(path).map_err(cli::Error::io("write", path))?;
        }
        let stop = Stop::on_signals()?;
        let engine = machine.machine().start(self.exact_conv)?;
        let report = evaluate(&self.examination(), engine.as_ref(), &stop)?;
        show(&report, to_stdout)?;
        if let Some(path) = file {
            let written = publish(path, Existing::Replace, |out| out.write_all(json(&report).as_bytes()));
            written.map_err(cli::Error::io("write", path))?;
        }
        Ok(())
    }
}
