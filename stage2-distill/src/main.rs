//! `distill`: trains small robust students from a teacher's soft labels, and judges them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let distill = cli::parse::<stage2_distill::verb::Distill>();
    distill.talk.configure();
    distill.machine.configure();
    cli::end(distill.verb.run(distill.machine))
}
