//! Command line of stage one: `label run | verify | inspect | estimate | plan | import`.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use engine::Kind;
use serde::Serialize;
use stage1_label::progress::Progress;
use stage1_label::stop::Stop;
use stage1_label::teacher::Machine;
use stage1_label::{Error, Written};
use stage1_label::{estimate, import, inspect, plan, run, verify};

/// Runs a robust teacher once over views of clean images and shares its answers as a label set.
#[derive(Parser)]
#[command(name = "label", version, after_help = tables(), infer_subcommands = true)]
struct Cli {
    /// Threads; no result depends on them [default: all processors]
    #[arg(long, global = true, display_order = 900, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// What runs the teacher: cpu, or reference, the slow oracle
    #[arg(long, global = true, display_order = 901, value_name = "NAME", default_value_t)]
    engine: Kind,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a teacher over a dataset and write its label set; run it again to resume
    #[command(after_help = tables())]
    Run(run::RunArgs),
    /// Check every byte of a label set, and on request its teacher's answers
    Verify(verify::VerifyArgs),
    /// Show what a label set holds and how well its teacher answers
    Inspect(inspect::InspectArgs),
    /// Say what a label set would cost and save
    #[command(after_help = tables())]
    Estimate(estimate::EstimateArgs),
    /// Write the rows that a teacher outside this program has to answer
    #[command(after_help = tables())]
    Plan(plan::PlanArgs),
    /// Make a label set from the answers to a plan
    Import(import::ImportArgs),
}

/// The names that --arch and --data know.
fn tables() -> String {
    let row = |row: &method::model::Architecture| format!("  {:<16} {}\n", row.name, row.summary);
    let architectures: String = method::model::ZOO.iter().map(row).collect();
    let datasets = data::help().trim_end().replace('\n', "\n  ");
    format!(
        "Architectures:\n{architectures}\nDatasets:\n  {datasets}\n\nExit codes: 0 done, 1 a check failed, 2 bad usage or input, 74 disk,\n  75 interrupted: run the same command again"
    )
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads =
        cli.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    // Before anything else: it sets the environment, which no other thread may be reading.
    engine::process::configure(threads);
    match dispatch(&cli.command, Machine { engine: cli.engine, threads }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: &Command, machine: Machine) -> Result<(), Error> {
    match command {
        Command::Run(args) => {
            let stop = Stop::on_signals()?;
            let written = run::run(args, machine, &stop, &mut Progress::on_stderr())?;
            report(&written, &args.out.out);
        }
        Command::Import(args) => {
            let stop = Stop::on_signals()?;
            let written = import::run(args, &stop, &mut Progress::on_stderr())?;
            report(&written, &args.out.out);
        }
        Command::Verify(args) => {
            let (findings, result) = verify::run(args, machine);
            print(&findings.checked)?;
            for problem in &findings.problems {
                eprintln!("{problem}");
            }
            result?;
        }
        Command::Inspect(args) => show(&inspect::run(args)?, args.json)?,
        Command::Estimate(args) => show(&estimate::run(args)?, args.json)?,
        Command::Plan(args) => {
            let header = plan::run(args)?;
            eprintln!("{}: {} rows of {} images", args.out.display(), header.rows, header.images);
        }
    }
    Ok(())
}

/// Says on stderr what became of a label set.
fn report(written: &Written, dir: &std::path::Path) {
    let manifest = &written.manifest;
    let state = if written.already { "already complete" } else { "complete" };
    let right = &manifest.right;
    let share = 100.0 * right.right as f64 / right.rows as f64;
    eprintln!("{}: {state}, {} rows, right answers {share:.2} %", dir.display(), manifest.rows);
    eprintln!("content_hash {}", manifest.content_hash);
}

fn show<T: Serialize + std::fmt::Display>(value: &T, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string_pretty(value).expect("summaries are plain data");
        return print(&format!("{text}\n"));
    }
    print(&value.to_string())
}

/// Writes to stdout. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "write", path: "stdout".into(), source })
        }
        _ => Ok(()),
    }
}
