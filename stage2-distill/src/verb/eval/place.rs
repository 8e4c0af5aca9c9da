//! Where a report may be written.

use std::io::Write;
use std::path::{Path, PathBuf};

use disk::{Existing, publish};

use crate::error::RunError;

/// Whether a regular file lies there that is not an earlier report: a report may be written anew, a run's record, data
/// or weights may not be written over.
fn holds_something_else(path: &Path) -> bool {
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let is_report = || -> Option<bool> {
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let one = report.get("weights_blake3").is_some() && report.get("per_class").is_some();
        Some(one || report.get("reports").is_some())
    };
    is_file && std::fs::metadata(path).is_ok_and(|found| found.len() > 0) && is_report() != Some(true)
}

/// The file that a path leads to: through links, also one to a file that is not there yet.
pub(super) fn target(path: &Path) -> PathBuf {
    let linked = std::fs::read_link(path).map(|to| path.parent().unwrap_or(Path::new("")).join(to));
    std::fs::canonicalize(path).ok().or(linked.ok()).unwrap_or_else(|| path.into())
}

/// Whether something is there that is written into and not replaced: a pipe, a terminal, a device.
pub(super) fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Writes a report.
pub(super) fn write_report(path: &Path, text: &str) -> std::io::Result<()> {
    if is_stream(path) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
    }
    publish(&target(path), Existing::Replace, |out| out.write_all(text.as_bytes()))
}

/// Where the report cannot lie, or must not: in the student's place.
pub(super) fn refuse_place(report: &Path, student: &Path) -> Result<(), RunError> {
    if let Some(folder) = report.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        return Err(RunError::Refused(format!(
            "--json {}: there is no folder {}\nhint: make it first, or name another file",
            report.display(),
            folder.display()
        )));
    }
    let is_label_set = |folder: &Path| {
        folder.join("manifest.json").exists()
            && ["shards", "data"].iter().any(|part| folder.join(part).is_dir())
    };
    if report.parent().is_some_and(is_label_set) {
        return Err(RunError::Refused(format!(
            "--json {}: that is in a label set, which holds nothing but its own files\nhint: name another file for the report",
            report.display()
        )));
    }
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    if place(report).is_some_and(|report| place(student) == Some(report)) {
        return Err(RunError::Refused(format!(
            "--json {}: that is the student itself\nhint: name another file for the report",
            report.display()
        )));
    }
    if holds_something_else(report) {
        return Err(RunError::Refused(format!(
            "--json {}: there is a file that is no report\nhint: name another file for the report, or move what is there",
            report.display()
        )));
    }
    Ok(())
}
