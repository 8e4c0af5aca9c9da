//! `label verify`: every byte and row of a label set, and on request the teacher once more on some rows.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use cli::{Machine, MachineArgs, NetworkArgs, Stop, print, say};
use data::DatasetSpec;
use labels::{Check, Hex, Kind, LabelSet, Report};

use crate::recompute::{Apart, Recomputed, Request, recompute};
use crate::teacher::started;
use crate::watch::Onlooker;
use crate::{Error, Result};

/// Flags of `label verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The label set's folder
    pub dir: PathBuf,
    /// The content hash that the label set must have, as a paper or a colleague gives it
    #[arg(long, value_name = "HASH")]
    pub expect: Option<Hex>,
    /// Run the teacher again on N rows, drawn by the content hash
    #[arg(long, value_name = "N", requires = "teacher", requires = "data")]
    pub recompute: Option<NonZeroUsize>,
    /// The teacher's weights, for --recompute
    #[arg(long, value_name = "WEIGHTS", requires = "recompute")]
    pub teacher: Option<PathBuf>,
    /// What is said of its file, for --recompute; what the label set records where nothing is.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The labelled dataset, for --recompute
    #[arg(long, value_name = "DATASET", requires = "recompute")]
    pub data: Option<DatasetSpec>,
    /// Bring every image to N x N pixels, as `@N` behind the dataset's place does
    #[arg(long, value_name = "N", value_parser = cli::whole::<1, 1024>, requires = "data")]
    pub size: Option<u32>,
}

impl VerifyArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        if let (None, Some(flag)) = (self.recompute, machine.given()) {
            return Err(Error::Usage {
                what: format!("{flag} says what runs a network, and none is run"),
                hint: "add --recompute N with --teacher and --data, or drop it".into(),
            });
        }
        let stop = Stop::on_signals()?;
        let (findings, result) = run(self, machine.machine(), &stop);
        print(&findings.checked)?;
        for note in &findings.notes {
            say(format_args!("note: {note}"));
        }
        for problem in &findings.problems {
            say(problem);
        }
        result
    }
}

/// What verification did, for people: what was checked, on stdout; what is wrong, on stderr.
#[derive(Debug, Default)]
pub struct Findings {
    /// Lines for stdout.
    pub checked: String,
    /// What is other than it was written, and wrong with nothing.
    pub notes: Vec<String>,
    /// Each thing that is wrong, worded with its hint.
    pub problems: Vec<String>,
}

/// Checks a label set in all its forms. What is wrong with it is also the error that is returned beside the findings.
pub fn run(args: &VerifyArgs, machine: Machine, stop: &Stop) -> (Findings, Result<()>) {
    let mut findings = Findings::default();
    let result = check(args, machine, stop, &mut findings);
    (findings, result)
}

fn check(args: &VerifyArgs, machine: Machine, stop: &Stop, findings: &mut Findings) -> Result<()> {
    if let (None, Some(flag)) = (args.recompute, args.network.given()) {
        return Err(Error::Usage {
            what: format!("{flag} says something of a teacher, and none is run"),
            hint: "add --recompute N with --teacher and --data, or drop it".into(),
        });
    }
    // The device first: to hash every byte may take minutes, and it may not be there.
    let engine = args.recompute.map(|_| started(machine)).transpose()?;
    let onlooker = Onlooker::new(stop);
    let report = labels::verify_watched(&args.dir, machine.threads, &onlooker)?;
    drop(onlooker);
    let mut report = report.ok_or_else(|| Error::VerifyInterrupted { dir: args.dir.clone() })?;
    describe(&report, &mut findings.checked);
    findings.notes = report.notes.iter().map(ToString::to_string).collect();
    // A file that cannot be read is no damage: the disk, or who may read it, is to be mended.
    if report.problems.iter().all(|problem| problem.kind() == Kind::Io)
        && let Some(unread) = report.problems.pop()
    {
        findings.problems = report.problems.iter().map(ToString::to_string).collect();
        return Err(unread.into());
    }
    findings.problems = report.problems.iter().map(ToString::to_string).collect();
    if !report.is_sound() {
        return Err(Error::Damaged { dir: args.dir.clone(), problems: report.problems.len() });
    }
    // Sound: the manifest's hash is that of the rows.
    let found = report.manifest.content_hash;
    if let Some(wanted) = args.expect.filter(|&wanted| wanted != found) {
        return Err(Error::Unexpected { dir: args.dir.clone(), wanted, found });
    }
    let (Some(engine), Some(rows), Some(weights), Some(data)) =
        (engine, args.recompute, &args.teacher, &args.data)
    else {
        return Ok(());
    };
    let data = &data.clone().sized(args.size)?;
    let set = LabelSet::open(&args.dir, Check::Sizes)?;
    let said = args.network.foreign()?;
    let request = Request { rows: rows.get(), weights, said: &said, data, stop };
    let result = recompute(&set, &request, engine)?;
    describe_recomputed(&report, &result, &mut findings.checked);
    match &result.worst {
        None => Ok(()),
        Some(worst) => Err(Error::Recomputed {
            dir: args.dir.clone(),
            beyond: result.beyond,
            rows: result.rows(),
            worst: worst.to_string(),
        }),
    }
}

fn describe(report: &Report, out: &mut String) {
    let manifest = &report.manifest;
    let mut line =
        |name: &str, value: String| writeln!(out, "{name:<14}{value}").expect("a string takes text");
    line("manifest", format!("id {} holds", manifest.id));
    line("files", format!("{} of {} hashed, {} bytes", report.files, manifest.files.len(), report.bytes));
    for (form, hash) in &report.content {
        let verdict =
            if *hash == manifest.content_hash { "as in the manifest" } else { "another than the manifest's" };
        line(&form.to_string(), format!("{} rows, content_hash {verdict}", manifest.rows));
    }
    if report.content.is_empty() {
        line("rows", "no form could be read whole: right answers and content_hash were not checked".into());
        return;
    }
    // What the manifest says is quoted only where the rows say so, too.
    let agrees = report.content.iter().all(|(_, hash)| *hash == manifest.content_hash);
    let is_of_right = |problem: &labels::Error| matches!(problem, labels::Error::ManifestField { field, .. } if field == "right");
    if !report.problems.iter().any(is_of_right) {
        line("right answers", format!("{} of {} rows", manifest.right.right, manifest.right.rows));
    }
    if agrees {
        line("content_hash", manifest.content_hash.to_string());
    }
}

fn describe_recomputed(report: &Report, result: &Recomputed, out: &mut String) {
    let recorded = &report.manifest.teacher;
    let mut line =
        |name: &str, value: String| writeln!(out, "{name:<14}{value}").expect("a string takes text");
    let Recomputed { equal, close, beyond, .. } = result;
    line(
        "recomputed",
        format!(
            "{} rows: {equal} with equal bits, {close} within the tolerance, {beyond} beyond",
            result.rows()
        ),
    );
    let apart = |of: &Apart, what: &str| {
        let (largest, mean) = (of.largest_difference, of.mean_difference());
        format!("largest {largest:.2e}, mean {mean:.2e}, of {what} up to {:.2}", of.largest_value)
    };
    line("difference", apart(&result.logits, "logits"));
    if report.manifest.features.is_some() {
        line("", apart(&result.maps, "feature maps"));
    }
    line("", format!("another class comes first in {} of {} rows", result.turned, result.rows()));
    let by = |engine: &str, precision: &str, device: &str| match device {
        "cpu" => format!("{engine} in {precision}"),
        card => format!("{engine} in {precision} on {card}"),
    };
    let now = by(&result.engine, &result.precision, &result.device);
    let then = if report.manifest.answered.is_empty() {
        by(&recorded.engine, &recorded.precision, &recorded.device)
    } else {
        report.manifest.computed_by()
    };
    if now != then {
        line("computed now", now);
        line("computed then", then);
    } else if *close > 0 {
        line("", format!("the same engine and build ({now}) on another kind of machine"));
    }
    if report.manifest.teacher.weights_blake3.is_none() {
        line("", "the label set does not record its teacher's weights: values alone were compared".into());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use cli::{Exit, Exits};

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        args: VerifyArgs,
    }

    /// A set that was written once and is kept.
    fn kept() -> VerifyArgs {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/labels/tests/format-2");
        Words::parse_from(["verify".as_ref(), dir.as_os_str()]).args
    }

    #[test]
    fn asked_to_stop_it_says_nothing_of_the_set_and_ends_with_75() {
        let machine = || MachineArgs { threads: NonZeroUsize::new(3), ..MachineArgs::default() }.machine();
        let (findings, result) = run(&kept(), machine(), &Stop::asked());
        assert_eq!(result.map_err(|error| error.exit()), Err(Exit::Interrupted));
        assert_eq!((findings.checked.as_str(), findings.notes.len(), findings.problems.len()), ("", 0, 0));
        let (findings, result) = run(&kept(), machine(), &Stop::never());
        assert!(result.is_ok() && findings.checked.contains("7 of 7 hashed"), "{}", findings.checked);
    }
}
