//! `distill`: trains small robust students, and judges them.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use common::eval::Report;
use engine::Reference;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use stage2_distill::args::{Cli, Command, EvalArgs, Resume, TrainArgs};
use stage2_distill::error::RunError;
use stage2_distill::evaluate::evaluate;
use stage2_distill::train::{Surroundings, train};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Train(args) => run_train(&args),
        Command::Eval(args) => run_eval(&args),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Our own errors speak for themselves; what anyhow wrapped is a file that could not be written.
    if let Some(ours) = error.downcast_ref::<RunError>() {
        eprintln!("error: {ours}");
        return ExitCode::from(ours.exit_code());
    }
    eprintln!("error: {error:#}");
    ExitCode::from(74)
}

/// Starts the engine on so many threads, and listens for signals. Nothing else may run before it.
fn start(threads: Option<usize>) -> anyhow::Result<(Reference, usize, Arc<AtomicBool>)> {
    let available = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = threads.unwrap_or_else(available).max(1);
    engine::process::configure(threads);
    let stop = Arc::new(AtomicBool::new(false));
    // HUP keeps its meaning, so that `nohup` works; a killed run resumes as well as an interrupted one.
    for signal in [SIGINT, SIGTERM] {
        // The first signal asks to stop, the second ends the process at once.
        flag::register_conditional_shutdown(signal, 75, stop.clone()).context("cannot listen for signals")?;
        flag::register(signal, stop.clone()).context("cannot listen for signals")?;
    }
    Ok((Reference::new(threads).map_err(RunError::from)?, threads, stop))
}

fn run_train(args: &TrainArgs) -> anyhow::Result<()> {
    let config = args.config().map_err(RunError::from)?;
    let (engine, threads, stop) = start(args.threads)?;
    let around = Surroundings {
        out: &args.out,
        resume: args.resume == Resume::Auto,
        engine: &engine,
        threads,
        stop: &stop,
        command: std::env::args().collect::<Vec<_>>().join(" "),
    };
    let summary = train(&config, &around)?;
    let out = args.out.display();
    if summary.was_done {
        eprintln!("{out}: the run is at its end already");
    }
    eprintln!(
        "{out}/student.safetensors: after {} epochs of {} images",
        summary.epochs, summary.train_images
    );
    if let Some(best) = summary.best {
        let on = if summary.selected_on_test {
            "test images (selected on them, as the paper did)"
        } else {
            "held-out images"
        };
        eprintln!(
            "{out}/best.safetensors: epoch {}, clean {:.2} %, pgd20 {:.2} % of {} {on}",
            best.epoch,
            best.clean_percent(),
            best.robust_percent(),
            best.images
        );
    }
    Ok(())
}

fn run_eval(args: &EvalArgs) -> anyhow::Result<()> {
    let (engine, _, stop) = start(args.threads)?;
    let report = evaluate(&args.examination(), &engine, &stop)?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report as JSON")? + "\n";
    match args.json.as_deref() {
        Some(path) if path.as_os_str() == "-" => {
            print!("{json}");
            return Ok(());
        }
        Some(path) => {
            std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => {}
    }
    print_report(&report);
    Ok(())
}

/// The report as a table, at most 80 columns wide.
fn print_report(report: &Report) {
    println!(
        "{} on {} {}: {} images, eps {}",
        report.architecture, report.data, report.split, report.images, report.eps
    );
    println!("{:<10} {:>8}   {:<30}", "attack", "accuracy", "worst class");
    for (name, score) in &report.scores {
        let worst = score.worst_class().map_or_else(String::new, |(class, percent)| {
            let class = report.class_names.get(class).map_or("?", String::as_str);
            format!("{percent:.2} % ({class})")
        });
        println!("{name:<10} {:>7.2}%   {worst:<30}", score.percent());
    }
}
