//! Where what an evaluation leaves may be written.

use std::io::{Read, Write};
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

/// Whether a folder is a label set, which holds nothing but its own files.
fn is_label_set(folder: &Path) -> bool {
    folder.join("manifest.json").exists() && ["shards", "data"].iter().any(|part| folder.join(part).is_dir())
}

/// Whether nothing lies there, or adversarial images of an earlier evaluation.
fn is_free_for_images(path: &Path) -> bool {
    let Ok(found) = std::fs::symlink_metadata(path) else { return true };
    let names_attacks = || -> Option<bool> {
        let mut file = std::fs::File::open(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length).min(1 << 20)).read_to_end(&mut header).ok()?;
        let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
        Some(header.get("adversarial").is_some() && header["__metadata__"].get("attacks").is_some())
    };
    found.is_file() && (found.len() == 0 || names_attacks() == Some(true))
}

/// Where adversarial images must not lie: in the place of anything else, in a label set, among what is kept for resuming.
pub(super) fn refuse_place_of_images(
    path: &Path,
    report: Option<&Path>,
    state: Option<&Path>,
) -> Result<(), RunError> {
    let refused = |what: &str| {
        Err(RunError::Refused(format!(
            "--save-adversarial {}: {what}\nhint: name a new file, such as adversarial.safetensors",
            path.display()
        )))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    if !folder.is_dir() {
        return refused("its folder is not there");
    }
    if is_label_set(folder) {
        return refused("that is in a label set, which holds nothing but its own files");
    }
    if state.is_some_and(|state| whole(state).is_some() && whole(state) == whole(folder) || state == folder) {
        return refused("that is in the --state folder, which holds nothing but its own files");
    }
    if report.is_some_and(|report| target(report) == target(path)) {
        return refused("that is the file of --json");
    }
    if !is_free_for_images(path) {
        return refused("something else is there");
    }
    Ok(())
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
