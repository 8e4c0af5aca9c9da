//! `label`: runs a robust teacher over views of clean images, and shares its answers.

use std::process::ExitCode;

use clap::Parser;
use cli::{MachineArgs, TalkArgs};
use stage1_label::verb::{Verb, tables};

/// Runs a robust teacher once over views of clean images and shares its answers as a label set.
#[derive(Parser)]
#[command(name = "label", version, after_help = tables(), infer_subcommands = true)]
struct Label {
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    talk: TalkArgs,
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let label = cli::parse::<Label>();
    label.talk.configure();
    label.machine.configure();
    cli::end(label.verb.run(label.machine))
}
