//! A run's folder: what was asked, what happened, and the lock that keeps two processes from writing it at once.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use disk::{Existing, Lock};

use crate::config::{Config, ConfigError, Layers};

/// Why the folder could not be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum FolderError {
    #[error(
        "cannot {doing} {path}: {source}\nhint: check the path, its permissions and the room on the disk; what was saved stays, run the same command again"
    )]
    Io { doing: &'static str, path: String, source: std::io::Error },
    #[error("{path}: another run is writing this folder\nhint: wait for it, or choose another --out")]
    Locked { path: String },
    #[error("{path}: holds {found}, and no run\nhint: choose an empty or new folder as --out")]
    Occupied { path: String, found: String },
    #[error("{}\nhint: {path} is the run's own record; bring it back, or choose another --out", complaint(.source))]
    Config { path: String, source: Box<ConfigError> },
}

/// An error without its hint, where another one is better.
fn complaint(error: &ConfigError) -> String {
    let text = error.to_string();
    text.split("\nhint:").next().unwrap_or_default().into()
}

/// A run's folder, locked by this process, or beside the one that has it locked.
pub struct RunFolder {
    path: PathBuf,
    _lock: Option<Lock>,
}

/// The lock's file; it stays, empty.
const LOCK: &str = ".lock";

/// What was asked of the run: what makes a folder a run's.
const CONFIG: &str = "config.toml";
/// Where it ran.
const ENVIRONMENT: &str = "env.json";
/// The student after its last epoch.
const STUDENT: &str = "student.safetensors";
/// The student after its best epoch.
const BEST: &str = "best.safetensors";
/// What happened, by the step and by the epoch.
pub(crate) const METRICS: &str = "metrics.jsonl";
/// The folder of checkpoints.
const CHECKPOINTS: &str = "checkpoints";

impl RunFolder {
    /// What the run in a folder was asked, as far as can be told without its lock: to refuse early what would be
    /// refused under it.
    pub fn peek(path: &Path) -> Result<Option<Config>, FolderError> {
        let path = path.join(CONFIG);
        if path.exists() { read_config(&path).map(Some) } else { Ok(None) }
    }

    /// Whether a folder holds a run.
    pub fn holds_run(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// Seconds that the run in a folder spent on steps, as its log has them by the epoch: by all processes that did them.
    pub fn seconds(path: &Path) -> Result<f64, FolderError> {
        let path = path.join(METRICS);
        let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(lines.filter(|line| line["epoch"].is_u64()).filter_map(|line| line["seconds"].as_f64()).sum())
    }

    /// Opens or makes the folder and locks it. Gives the configuration of the run that is in it, if there is one.
    ///
    /// Of the files that are replaced whole, what killed processes began goes.
    pub fn open(path: &Path) -> Result<(Self, Option<Config>), FolderError> {
        std::fs::create_dir_all(path).map_err(io("make", path))?;
        // Not even a lock's file belongs into a folder that holds something else.
        refuse_occupied(path)?;
        let lock_path = path.join(LOCK);
        let lock = Lock::take(&lock_path).map_err(io("lock", &lock_path))?;
        let lock = lock.ok_or_else(|| FolderError::Locked { path: path.display().to_string() })?;
        let has_run = refuse_occupied(path)?;
        let folder = Self { path: path.into(), _lock: Some(lock) };
        folder.sweep()?;
        let config = if has_run { Some(read_config(&folder.file(CONFIG))?) } else { None };
        Ok((folder, config))
    }

    /// The folder that another rank of this run has opened, to read it.
    pub fn beside(path: &Path) -> Result<(Self, Option<Config>), FolderError> {
        Ok((Self { path: path.into(), _lock: None }, Self::peek(path)?))
    }

    fn sweep(&self) -> Result<(), FolderError> {
        let whole = [CONFIG, ENVIRONMENT, STUDENT, BEST];
        disk::sweep(&self.path, |name| whole.contains(&name)).map_err(io("list", &self.path))?;
        let checkpoints = self.checkpoints();
        if checkpoints.is_dir() {
            disk::sweep(&checkpoints, |_| true).map_err(io("list", &checkpoints))?;
        }
        Ok(())
    }

    /// The file that shows that a run has come past its first checkpoint, which every run writes before its first step.
    pub fn trace(&self) -> Option<PathBuf> {
        let holds = |path: &PathBuf| path.metadata().is_ok_and(|metadata| metadata.len() > 0);
        [STUDENT, BEST, METRICS].map(|name| self.file(name)).into_iter().find(holds)
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The student after its last epoch.
    pub fn student(&self) -> PathBuf {
        self.file(STUDENT)
    }

    /// The student after its best epoch.
    pub fn best(&self) -> PathBuf {
        self.file(BEST)
    }

    /// Where the checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.file(CHECKPOINTS)
    }

    /// Records what was asked.
    pub fn write_config(&self, config: &Config) -> Result<(), FolderError> {
        self.write(CONFIG, &toml::to_string(config).expect("a configuration is a table"))
    }

    /// Records where it runs.
    pub fn write_environment(&self, environment: &serde_json::Value) -> Result<(), FolderError> {
        self.write(ENVIRONMENT, &cli::json(environment))
    }

    /// Replaces a small text file in one step.
    fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.file(name);
        disk::publish(&path, Existing::Replace, |out| out.write_all(text.as_bytes()))
            .map_err(io("write", &path))
    }

    /// Adds a line to a text file.
    pub fn append(&self, name: &str, line: &str) -> Result<(), FolderError> {
        let path = self.file(name);
        disk::crash_point("append", &path);
        let add = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            writeln!(file, "{line}")
        };
        add().map_err(io("write", &path))
    }
}

/// Whether a folder holds a run; refuses one that holds something else.
///
/// A run killed in its first moments leaves the lock and perhaps a temporary file, both hidden.
fn refuse_occupied(path: &Path) -> Result<bool, FolderError> {
    let entries = std::fs::read_dir(path).map_err(io("list", path))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if names.iter().any(|name| name == CONFIG) {
        return Ok(true);
    }
    names.sort();
    match names.into_iter().find(|name| !name.starts_with('.')) {
        Some(found) => Err(FolderError::Occupied { path: path.display().to_string(), found }),
        None => Ok(false),
    }
}

fn read_config(path: &Path) -> Result<Config, FolderError> {
    let mut layers = Layers::defaults();
    layers
        .file(path)
        .and_then(|()| layers.resolve())
        .map_err(|source| FolderError::Config { path: path.display().to_string(), source: Box::new(source) })
}

/// Wraps an operating system's refusal.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FolderError {
    move |source| FolderError::Io { doing, path: path.display().to_string(), source }
}
