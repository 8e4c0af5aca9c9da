//! `distill`: trains small robust students, and judges them.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use engine::{Engine, Kind};
use method::eval::Report;
use method::model::Task;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use stage2_distill::args::{BenchArgs, Cli, Command, EvalArgs, Resume, TrainArgs};
use stage2_distill::bench::{self, Bench, Timing};
use stage2_distill::error::RunError;
use stage2_distill::evaluate::evaluate;
use stage2_distill::folder::FolderError;
use stage2_distill::train::{Surroundings, train};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Train(args) => run_train(&args),
        Command::Eval(args) => run_eval(&args),
        Command::Bench(args) => run_bench(&args),
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

/// What every command runs with.
struct Started {
    engine: Box<dyn Engine>,
    threads: usize,
    /// Set by a signal.
    stop: Arc<AtomicBool>,
}

/// Starts the engine on so many threads, and listens for signals. Nothing else may run before it.
fn start(kind: Kind, exact: bool, threads: Option<usize>) -> anyhow::Result<Started> {
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
    let engine = kind.start(threads, exact).map_err(RunError::from)?;
    Ok(Started { engine, threads, stop })
}

fn run_train(args: &TrainArgs) -> anyhow::Result<()> {
    let config = args.config().map_err(RunError::from)?;
    let kind = config.engine.parse().expect("settings are checked as they are read");
    let Started { engine, threads, stop } = start(kind, config.exact_conv, args.threads)?;
    let around = Surroundings {
        out: &args.out,
        resume: args.resume == Resume::Auto,
        engine: engine.as_ref(),
        threads,
        stop: &stop,
        command: std::env::args_os()
            .map(|word| quoted(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" "),
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

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn run_eval(args: &EvalArgs) -> anyhow::Result<()> {
    let to_stdout = args.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
    // Opened first: an evaluation may take hours, and its result must have somewhere to go.
    let file = match args.json.as_deref().filter(|_| !to_stdout) {
        None => None,
        Some(path) => {
            let file = std::fs::File::create(path).map_err(|source| FolderError::Io {
                doing: "write",
                path: path.display().to_string(),
                source,
            });
            Some(file.map_err(RunError::from)?)
        }
    };
    let Started { engine, stop, .. } = start(args.engine, args.exact_conv, args.threads)?;
    let report = evaluate(&args.examination(), engine.as_ref(), &stop)?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report as JSON")? + "\n";
    print(&if to_stdout { json.clone() } else { table(&report) })?;
    if let Some(mut file) = file {
        file.write_all(json.as_bytes()).context("cannot write the report")?;
    }
    Ok(())
}

fn run_bench(args: &BenchArgs) -> anyhow::Result<()> {
    let Started { engine, threads, .. } = start(args.engine, args.exact_conv, args.threads)?;
    let timing = bench::bench(&Bench {
        student: &args.student,
        task: Task { input: args.input.0, classes: args.classes as usize },
        batch: args.batch as usize,
        mode: args.mode,
        repetitions: args.repetitions as usize,
        engine: engine.as_ref(),
        threads,
    })?;
    if args.json {
        return print(&(serde_json::to_string_pretty(&timing).context("cannot write the timing")? + "\n"));
    }
    print(&timing_lines(&timing))
}

/// A timing in a few lines, at most 80 columns wide.
fn timing_lines(timing: &Timing) -> String {
    let Timing { student, engine, mode, batch, threads, repetitions, .. } = timing;
    let mut lines = vec![
        format!("{student}, {mode:?} of {batch} images, {engine}, {threads} threads").to_lowercase(),
        format!(
            "median of {repetitions}: {:.2} ms, half within {:.1} %; {:.0} images/s",
            timing.median_seconds * 1e3,
            timing.spread_percent,
            timing.images_per_second
        ),
        format!(
            "{:.0} GFLOP/s of direct convolution, {:.0} % of the {:.0} that the threads' FMA reach",
            timing.gflops, timing.peak_percent, timing.peak_gflops
        ),
    ];
    lines.extend(
        timing.gathering_percent.map(|percent| format!("gathering views and labels: {percent:.2} %")),
    );
    lines.extend(timing.peak_memory_mib.map(|mib| format!("peak memory: {mib:.0} MiB")));
    lines.join("\n") + "\n"
}

/// Writes to standard output. A reader that went away, as `head` does, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// The report as a table, at most 80 columns wide.
fn table(report: &Report) -> String {
    let Report { architecture, data, split, images, eps, .. } = report;
    let mut lines = vec![
        format!("{architecture} on {data} {split}: {images} images, eps {eps}"),
        format!("{:<10} {:>8}   {}", "attack", "accuracy", "worst class"),
    ];
    for (name, score) in &report.scores {
        let worst = score.worst_class().map_or_else(String::new, |(class, percent)| {
            let class = report.class_names.get(class).map_or("?", String::as_str);
            format!("{percent:.2} % ({class})")
        });
        lines.push(format!("{name:<10} {:>7.2}%   {worst}", score.percent()));
    }
    lines.join("\n") + "\n"
}
