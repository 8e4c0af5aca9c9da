//! What a run came to, as its folder and the evaluations in it or beside it say: read, never computed.
//!
//! `distill compare` prints accounts, `distill report` draws them.

mod figure;
mod judgements;
mod log;

use std::path::{Path, PathBuf};

use method::threat::Norm;
use serde_json::Value;

pub use self::figure::{Against, Figure, Images};
pub use self::judgements::{Evaluation, Judgements};
pub use self::log::{EpochLine, Judged, Log, StepLine};
use crate::config::Config;
use crate::error::RunError;
use crate::folder::RunFolder;
use crate::trained;

/// What a run's folder holds, and how its student was judged.
#[derive(Debug)]
pub struct Account {
    /// What it is called beside others: its folder's last name, or the whole path where that is another's, too.
    pub name: String,
    /// Its folder, as named.
    pub folder: PathBuf,
    /// What was asked of it.
    pub config: Config,
    /// The command lines that it was trained by.
    pub commands: Vec<String>,
    /// Where it ran; none where the file is not there.
    pub environment: Option<Value>,
    /// What happened, by the step and by the epoch.
    pub log: Log,
    /// The student to judge; none before the first epoch is done.
    pub student: Option<Student>,
    /// Evaluations of that student.
    pub judgements: Judgements,
}

/// A run's student: its best, or its last where it selected none.
#[derive(Debug)]
pub struct Student {
    /// The file.
    pub file: PathBuf,
    /// Its BLAKE3, by which evaluations are known to be of it.
    pub blake3: String,
    /// What is wrong with the file, where something is: nothing can be run with it.
    pub damage: Option<String>,
}

impl Account {
    /// Reads a run's folder and what was found of its student.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let Some(config) = RunFolder::peek(folder)? else { return Err(no_run(folder)) };
        let student = if trained::has_student(folder) { Some(Student::of(folder)?) } else { None };
        let judgements = match &student {
            Some(student) => Judgements::find(folder, &student.blake3)?,
            None => Judgements::default(),
        };
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        Ok(Self {
            name: last_name(folder),
            config,
            commands: text("command.txt").unwrap_or_default().lines().map(Into::into).collect(),
            environment: text("env.json").and_then(|text| serde_json::from_str(&text).ok()),
            log: Log::parse(&text("metrics.jsonl").unwrap_or_default()),
            student,
            judgements,
            folder: folder.into(),
        })
    }

    /// The runs that paths name: a folder of runs, such as a sweep's, stands for each of them in alphabetical order. A run
    /// that is named twice is read once; every run has a name of its own.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, RunError> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for path in paths {
            let inside = if RunFolder::holds_run(path) { vec![path.clone()] } else { runs_inside(path) };
            if inside.is_empty() {
                return Err(no_run(path));
            }
            folders.extend(inside);
        }
        let mut known = Vec::new();
        folders.retain(|folder| {
            let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            let is_new = !known.contains(&whole);
            known.push(whole);
            is_new
        });
        let mut accounts = folders.iter().map(|folder| Self::read(folder)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        for account in &mut accounts {
            if names.iter().filter(|name| **name == account.name).count() > 1 {
                account.name = account.folder.display().to_string();
            }
        }
        Ok(accounts)
    }

    /// The ball that its student was trained for.
    pub fn ball(&self) -> Against {
        Against { norm: Norm::Linf, eps: self.config.eps.to_string(), surrogate: None }
    }

    /// What evaluations say of its student, as [`Judgements::figures`] orders it.
    pub fn figures(&self) -> Vec<Figure> {
        self.judgements.figures(&self.ball())
    }

    /// How many epochs were done. None where lines of its log could not be read, or where there is a student and no log:
    /// unless its last epoch is there.
    pub fn epochs_done(&self) -> Option<usize> {
        let done = self.log.epochs_done();
        let is_lost = self.log.unreadable > 0 || (self.log.is_empty() && self.student.is_some());
        (done == self.config.epochs || !is_lost).then_some(done)
    }

    /// Epochs done of those asked for, as `3 of 4`.
    pub fn progress(&self) -> String {
        let done = self.epochs_done().map_or_else(|| "an unknown number".into(), |done| done.to_string());
        format!("{done} of {}", self.config.epochs)
    }

    /// What its log does not say: a sentence; none of a run whose log is whole to its last epoch.
    pub fn lacks(&self) -> Option<String> {
        let lost = match self.log.unreadable {
            0 => None,
            1 => Some("1 line of metrics.jsonl could not be read".to_owned()),
            count => Some(format!("{count} lines of metrics.jsonl could not be read")),
        };
        match self.epochs_done() {
            Some(done) if done == self.config.epochs => lost,
            Some(_) => Some(format!("{} epochs done; its figures are not its last", self.progress())),
            None => {
                let why = lost.unwrap_or_else(|| "its log is gone".into());
                Some(format!("{why}: how far it came is not known"))
            }
        }
    }

    /// What is wrong with its student's file, where something is.
    pub fn damage(&self) -> Option<&str> {
        self.student.as_ref()?.damage.as_deref()
    }

    /// The command that measures what is to be published as robust accuracy, and leaves it where it is found; none where
    /// there is no student that could be judged.
    pub fn judge_command(&self) -> Option<String> {
        if self.student.is_none() || self.damage().is_some() {
            return None;
        }
        let file = self.folder.join("autoattack.json");
        let [run, file] = [&self.folder, &file].map(|path| cli::quoted(&path.display().to_string()));
        Some(format!("distill eval {run} --attack autoattack --json {file}"))
    }
}

impl Student {
    fn of(folder: &Path) -> Result<Self, RunError> {
        let file = trained::find(folder)?.student;
        let bytes = std::fs::read(&file).map_err(cli::Error::io("read", &file))?;
        let problem = weights::Checkpoint::open(&bytes).err().map(|problem| problem.to_string());
        let damage = problem.map(|text| {
            let what = text.lines().next().unwrap_or_default();
            format!("{} is damaged: {what}", file.display())
        });
        Ok(Self { blake3: blake3::hash(&bytes).to_string(), file, damage })
    }
}

/// The last part of a path, through links and dots where it has none.
fn last_name(folder: &Path) -> String {
    let whole = || folder.canonicalize().ok()?.file_name().map(ToOwned::to_owned);
    let name = folder.file_name().map(ToOwned::to_owned).or_else(whole);
    name.map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn runs_inside(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut inside: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|folder| RunFolder::holds_run(folder)).collect();
    inside.sort();
    inside
}

fn no_run(path: &Path) -> RunError {
    let found = if path.is_dir() { "no run's folder: config.toml is not there" } else { "no such folder" };
    RunError::Refused(format!(
        "{}: {found}\nhint: pass the --out of `distill train`, or of `distill sweep` for all its runs",
        path.display()
    ))
}
