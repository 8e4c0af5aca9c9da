//! What a student was trained for, as the folder of its run says: nothing of it lies in the student's file, whose bytes
//! are those of every equal training.

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, Layers};
use crate::error::RunError;

/// The students that a run leaves, the one to judge first.
const STUDENTS: [&str; 2] = ["best.safetensors", "student.safetensors"];
/// Where a run says what it was.
const RECORD: &str = "config.toml";

/// A student's file, and its run where that is known.
#[derive(Debug)]
pub struct Trained {
    /// The weights.
    pub student: PathBuf,
    /// The run that left them.
    pub run: Option<Origin>,
}

/// A run's settings, and the file that says them.
#[derive(Debug)]
pub struct Origin {
    /// The file.
    pub record: PathBuf,
    /// The settings.
    pub config: Config,
}

/// Whether a run has left a student yet.
pub fn has_student(folder: &Path) -> bool {
    STUDENTS.iter().any(|name| folder.join(name).exists())
}

/// The student that a path names: a run's folder stands for its best student, or its last where it selected none.
pub fn find(path: &Path) -> Result<Trained, RunError> {
    if !path.exists() {
        return Err(RunError::Refused(format!(
            "{}: no such file or folder\nhint: pass the --out of `distill train`, or a weights file",
            path.display()
        )));
    }
    if !path.is_dir() {
        // Before anything is asked about it that its run would say.
        if let Some(run) = run_of_checkpoint(path) {
            let [path, run] = [path, run].map(|path| path.display().to_string());
            return Err(zoo::LoadError::Checkpoint { path, run: Some(run) }.into());
        }
        let run = path.parent().filter(|_| STUDENTS.iter().any(|name| path.ends_with(name)));
        return Ok(Trained { student: path.into(), run: run.map(origin).transpose()?.flatten() });
    }
    let found = STUDENTS.iter().map(|name| path.join(name)).find(|file| file.exists());
    let student = found.ok_or_else(|| {
        let (what, hint) = if path.join(RECORD).exists() {
            ("a run without a student yet", "a student is there after the first epoch")
        } else {
            (
                "no run's folder: student.safetensors is not there",
                "pass the --out of `distill train`, or a weights file",
            )
        };
        RunError::Refused(format!("{}: {what}\nhint: {hint}", path.display()))
    })?;
    Ok(Trained { student, run: origin(path)? })
}

/// The run's folder that a file lies in as a checkpoint.
fn run_of_checkpoint(file: &Path) -> Option<&Path> {
    let folder = file.parent().filter(|folder| folder.ends_with("checkpoints"))?;
    folder.parent().filter(|run| run.join(RECORD).exists())
}

/// The run in a folder; none where no run's record lies there.
fn origin(folder: &Path) -> Result<Option<Origin>, RunError> {
    let record = folder.join(RECORD);
    let mut layers = Layers::defaults();
    match layers.file(&record) {
        Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(Origin { config: read.and_then(|()| layers.resolve())?, record })),
    }
}
