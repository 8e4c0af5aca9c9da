//! What `distill` can do: one file a verb, each with its flags and what it says. The work lies in the modules beside.

use clap::{Parser, Subcommand};
use cli::{CompletionsArgs, MachineArgs, ManualArgs, TalkArgs, help};

use crate::config::PRESETS;
use crate::error::RunError;

pub mod bench;
pub mod compare;
pub mod eval;
pub mod export;
pub mod report;
pub mod sweep;
pub mod train;

/// Trains small robust students from a teacher's soft labels, and judges them.
#[derive(Parser)]
#[command(name = "distill", version = cli::build::SAID.as_str(), after_help = tables(), infer_subcommands = true)]
pub struct Distill {
    /// What runs the networks.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// How much is said.
    #[command(flatten)]
    pub talk: TalkArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do. To add a verb: its file, and a variant here with its arm below.
#[derive(Subcommand)]
pub enum Verb {
    /// Train a student; run the same command again to go on where it stopped
    #[command(after_help = tables())]
    Train(Box<train::TrainArgs>),
    /// Measure a student's clean and robust accuracy
    #[command(after_help = help::after([
        help::architectures(),
        help::normalisations(),
        help::attacks(),
        help::datasets(),
    ]))]
    Eval(Box<eval::EvalArgs>),
    /// Write a student in a form that other programs run: ONNX, PyTorch, candle
    #[command(after_help = help::after([
        help::section("Forms", &names::help(crate::export::FORMS)),
        help::architectures(),
        help::normalisations(),
        help::datasets(),
    ]))]
    Export(Box<export::ExportArgs>),
    /// Train and judge the runs of a file, and print one table; run it again to go on
    #[command(after_help = help::after([help::section("Example", sweep::EXAMPLE), sweep::RULES.into()]))]
    Sweep(sweep::SweepArgs),
    /// Compare runs: accuracies with their intervals, settings that differ
    #[command(after_help = compare::RULES)]
    Compare(compare::CompareArgs),
    /// Write a page of a run, or of several compared: curves, accuracies, images
    #[command(after_help = help::after([help::attacks(), report::RULES.into()]))]
    Report(report::ReportArgs),
    /// Time a student on this machine
    #[command(after_help = help::after([help::architectures()]))]
    Bench(bench::BenchArgs),
    /// Print what a shell completes
    #[command(after_help = help::after([help::section("Where it goes", &cli::COMPLETIONS.replace("NAME", "distill"))]))]
    Completions(CompletionsArgs),
    /// Write manual pages
    Manual(ManualArgs),
}

impl Verb {
    /// Does it, on this machine, and says what came of it.
    pub fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        if let (Self::Compare(_), Some(flag)) = (self, machine.given()) {
            return Err(RunError::Refused(format!(
                "{flag} says what runs a network, and this command runs none\nhint: leave it out"
            )));
        }
        match self {
            Self::Train(args) => args.run(machine),
            Self::Eval(args) => args.run(machine),
            Self::Export(args) => args.run(machine),
            Self::Sweep(args) => args.run(machine),
            Self::Compare(args) => args.run(),
            Self::Report(args) => args.run(machine),
            Self::Bench(args) => args.run(machine),
            Self::Completions(args) => Ok(args.run::<Distill>()?),
            Self::Manual(args) => Ok(args.run::<Distill>()?),
        }
    }
}

/// The names that flags take, from the tables that know them.
pub fn tables() -> String {
    help::after([
        help::objectives(),
        help::options(),
        help::architectures(),
        help::normalisations(),
        help::attacks(),
        help::section("Presets", &names::help(PRESETS)),
        help::datasets(),
    ])
}
