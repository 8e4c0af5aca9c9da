//! `distill`: trains small robust students from a teacher's soft labels, and judges them.

use std::process::ExitCode;

use clap::Parser;
use cli::{MachineArgs, TalkArgs};
use stage2_distill::verb::{Verb, tables};

/// Trains small robust students from a teacher's soft labels, and judges them.
#[derive(Parser)]
#[command(name = "distill", version, after_help = tables(), infer_subcommands = true)]
struct Distill {
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    talk: TalkArgs,
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let distill = cli::parse::<Distill>();
    distill.talk.configure();
    distill.machine.configure();
    cli::end(distill.verb.run(distill.machine))
}
