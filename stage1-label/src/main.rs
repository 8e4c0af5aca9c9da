//! `label`: runs a robust teacher over views of clean images, and shares its answers.

use std::process::ExitCode;

fn main() -> ExitCode {
    let label = cli::parse::<stage1_label::verb::Label>();
    label.talk.configure();
    label.machine.configure();
    cli::end(label.verb.run(label.machine))
}
