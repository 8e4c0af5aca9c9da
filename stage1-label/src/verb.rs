//! What `label` can do: one file a verb, each with its flags, what it does and what it says.

use clap::{Parser, Subcommand};
use cli::{CompletionsArgs, MachineArgs, ManualArgs, TalkArgs, help};

use crate::{Error, Result};

pub mod append;
pub mod estimate;
pub mod finalize;
pub mod import;
pub mod inspect;
pub mod merge;
pub mod plan;
pub mod pull;
pub mod push;
pub mod repair;
pub mod run;
pub mod subset;
pub mod verify;

/// Runs a robust teacher once over views of clean images and shares its answers as a label set.
#[derive(Parser)]
#[command(name = "label", version = cli::build::SAID.as_str(), after_help = tables(), infer_subcommands = true)]
pub struct Label {
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
    /// Run a teacher over a dataset and write its label set; run it again to resume
    #[command(after_help = tables())]
    Run(Box<run::RunArgs>),
    /// Write a label set with more views or images than another one, whose answers it takes over
    #[command(after_help = tables())]
    Append(Box<append::AppendArgs>),
    /// Take some rows of a label set, or all in another form
    Subset(subset::SubsetArgs),
    /// Join label sets of the same images and teacher, or parts of one that were written into folders of their own
    Merge(merge::MergeArgs),
    /// Publish a label set that several machines have written in parts
    Finalize(finalize::FinalizeArgs),
    /// Check every byte of a label set, and on request its teacher's answers
    #[command(after_help = tables())]
    Verify(verify::VerifyArgs),
    /// Bring lost and damaged shards back, from their other form or by the teacher
    #[command(after_help = tables())]
    Repair(Box<repair::RepairArgs>),
    /// Send a label set to a place that others can read; again to go on
    Push(push::PushArgs),
    /// Fetch a label set that was pushed, or put somewhere by other means; again to go on
    Pull(pull::PullArgs),
    /// Show what a label set holds and how well its teacher answers; compare several
    #[command(after_help = tables())]
    Inspect(Box<inspect::InspectArgs>),
    /// Say what a label set would cost and save
    #[command(after_help = tables())]
    Estimate(estimate::EstimateArgs),
    /// Write the rows that a teacher outside this program has to answer
    #[command(after_help = tables())]
    Plan(plan::PlanArgs),
    /// Make a label set from the answers to a plan
    #[command(after_help = tables())]
    Import(Box<import::ImportArgs>),
    /// Print what a shell completes
    #[command(after_help = help::after([help::section("Where it goes", &cli::COMPLETIONS.replace("NAME", "label"))]))]
    Completions(CompletionsArgs),
    /// Write manual pages
    Manual(ManualArgs),
}

impl Verb {
    /// Does it, on this machine, and says what came of it.
    pub fn run(&self, machine: MachineArgs) -> Result<()> {
        let runs_none = matches!(
            self,
            Self::Subset(_)
                | Self::Merge(_)
                | Self::Finalize(_)
                | Self::Push(_)
                | Self::Pull(_)
                | Self::Plan(_)
                | Self::Import(_)
                | Self::Completions(_)
                | Self::Manual(_)
        );
        if let (true, Some(flag)) = (runs_none, machine.given()) {
            return Err(Error::Usage {
                what: format!("{flag} says what runs a network, and this command runs none"),
                hint: "leave it out".into(),
            });
        }
        match self {
            Self::Run(args) => args.run(machine),
            Self::Append(args) => args.run(machine),
            Self::Subset(args) => args.run(machine),
            Self::Merge(args) => args.run(machine),
            Self::Finalize(args) => args.run(machine),
            Self::Verify(args) => args.run(machine),
            Self::Repair(args) => args.run(machine),
            Self::Push(args) => args.run(),
            Self::Pull(args) => args.run(),
            Self::Inspect(args) => args.run(machine),
            Self::Estimate(args) => args.run(machine),
            Self::Plan(args) => args.run(),
            Self::Import(args) => args.run(machine),
            Self::Completions(args) => Ok(args.run::<Label>()?),
            Self::Manual(args) => Ok(args.run::<Label>()?),
        }
    }
}

/// The names that --arch and --data know.
pub fn tables() -> String {
    help::after([help::architectures(), help::normalisations(), help::datasets()])
}
