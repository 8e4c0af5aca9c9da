//! The evaluations of a student that lie in its run's folder or beside it, wherever `distill eval --json` put them.

use std::path::{Path, PathBuf};

use method::eval::{Evidence, Report};
use serde::Deserialize;
use serde_json::Value;

use super::figure::{Against, Figure};
use crate::error::RunError;

/// Evaluations of one student.
#[derive(Debug, Default)]
pub struct Judgements {
    /// Them, in the order of their files' names.
    pub evaluations: Vec<Evaluation>,
    /// Evaluations in the run's folder that are of other weights: of another epoch, or of what lay here before.
    pub of_others: Vec<PathBuf>,
    /// Evaluations of that student that are cut short or otherwise not to be read.
    pub damaged: Vec<PathBuf>,
}

/// An evaluation, and where it was read.
#[derive(Debug)]
pub struct Evaluation {
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub report: Report,
}

/// What a file of `distill eval --json` may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Several { reports: Vec<Evidence> },
    One(Box<Evidence>),
}

impl Judgements {
    /// Looks for JSON files of evaluations in the folder, in the folders in it, and beside it. Parts of an evaluation are
    /// none; what is no evaluation is passed over, and what was one is said to be damaged.
    pub fn find(folder: &Path, student: &str) -> Result<Self, RunError> {
        let mut found = Self::default();
        let inside = json_files(folder);
        let nested = folders(folder).into_iter().flat_map(|folder| json_files(&folder));
        for file in inside.into_iter().chain(nested) {
            let text = std::fs::read(&file).map_err(cli::Error::io("read", &file))?;
            if !found.take(&file, &text, student)? {
                found.of_others.push(file);
            }
        }
        let whole = folder.canonicalize().map_err(cli::Error::io("read", folder))?;
        let beside = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let beside = beside.or_else(|| whole.parent()).unwrap_or(Path::new("."));
        // What lies beside a run is anybody's: what cannot be read there is not its evaluation.
        for file in json_files(beside) {
            if let Ok(text) = std::fs::read(&file) {
                found.take(&file, &text, student)?;
            }
        }
        Ok(found)
    }

    /// Takes what a file says of the student; false where it is an evaluation of others alone.
    fn take(&mut self, file: &Path, text: &[u8], student: &str) -> Result<bool, RunError> {
        let reports = match serde_json::from_slice(text) {
            Ok(Written::One(report)) => vec![*report],
            Ok(Written::Several { reports }) => reports,
            Err(_) => {
                if is_damaged(text, student) {
                    self.damaged.push(file.into());
                }
                return Ok(true);
            }
        };
        let mut is_of_student = false;
        for evidence in reports.into_iter().filter(|evidence| evidence.setting.weights_blake3 == student) {
            is_of_student = true;
            if evidence.part.is_some() {
                continue;
            }
            evidence.check().map_err(|what| {
                RunError::Refused(format!(
                    "{}: a damaged evaluation: {what}\nhint: judge again with `distill eval --json`, or move the file away",
                    file.display()
                ))
            })?;
            self.evaluations.push(Evaluation { file: file.into(), report: Report::of(evidence) });
        }
        Ok(is_of_student)
    }

    /// The figures to show: of each attack in each ball the evaluation of the most images, the first of equals. `clean` is
    /// first, then what may be published as robust accuracy, then the other attacks as they were met; each in `own` ball
    /// before others.
    pub fn figures(&self, own: &Against) -> Vec<Figure> {
        let mut figures: Vec<Figure> = Vec::new();
        for figure in self.evaluations.iter().flat_map(Figure::of) {
            match figures.iter_mut().find(|known| known.answers(&figure)) {
                Some(known) if known.score.images >= figure.score.images => {}
                Some(known) => *known = figure,
                None => figures.push(figure),
            }
        }
        let is_other = |figure: &Figure| figure.against.as_ref().is_some_and(|against| against != own);
        figures.sort_by_key(|figure| (figure.against.is_some(), figure.is_upper_bound, is_other(figure)));
        figures
    }
}

/// Whether text that is no evaluation was one of this student: other programs' files do not say its digest so.
fn is_damaged(text: &[u8], student: &str) -> bool {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => value["weights_blake3"] == student,
        Err(_) => text.windows(student.len()).any(|part| part == student.as_bytes()),
    }
}

/// JSON files of a folder by their names; none of a folder that cannot be listed.
fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = entries(folder);
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json") && path.is_file());
    files
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders = entries(folder);
    folders.retain(|path| path.is_dir());
    folders
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}
