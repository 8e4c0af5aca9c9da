//! A run's folder: what was asked, what happened, and the lock that keeps two processes from writing it at once.

use std::fs::{File, OpenOptions};
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

/// A run's folder, locked by this process.
pub struct RunFolder {
    path: PathBuf,
    _lock: Lock,
}

/// The lock's file; it stays, empty.
const LOCK: &str = ".lock";

impl RunFolder {
    /// Opens or makes the folder and locks it. Gives the configuration of the run that is in it, if there is one.
    pub fn open(path: &Path) -> Result<(Self, Option<Config>), FolderError> {
        std::fs::create_dir_all(path).map_err(io("make", path))?;
        let entries = std::fs::read_dir(path).map_err(io("list", path))?;
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let has_run = names.iter().any(|name| name == "config.toml");
        // A run killed in its first moments leaves the lock and perhaps a temporary file, both hidden.
        if let Some(found) = names.iter().find(|name| !name.starts_with('.')).filter(|_| !has_run) {
            return Err(FolderError::Occupied { path: path.display().to_string(), found: found.clone() });
        }
        let lock_path = path.join(LOCK);
        let lock = Lock::take(&lock_path).map_err(io("lock", &lock_path))?;
        let lock = lock.ok_or_else(|| FolderError::Locked { path: path.display().to_string() })?;
        let folder = Self { path: path.into(), _lock: lock };
        let config = if has_run { Some(folder.read_config()?) } else { None };
        Ok((folder, config))
    }

    fn read_config(&self) -> Result<Config, FolderError> {
        let path = self.file("config.toml");
        let mut layers = Layers::defaults();
        layers.file(&path).and_then(|()| layers.resolve()).map_err(|source| FolderError::Config {
            path: path.display().to_string(),
            source: Box::new(source),
        })
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the checkpoints lie; made when first asked for.
    pub fn checkpoints(&self) -> Result<PathBuf, FolderError> {
        let path = self.file("checkpoints");
        std::fs::create_dir_all(&path).map_err(io("make", &path))?;
        Ok(path)
    }

    /// Replaces a small text file in one step.
    pub fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.file(name);
        disk::publish(&path, Existing::Replace, |out| out.write_all(text.as_bytes()))
            .map_err(io("write", &path))
    }

    /// Adds a line to a text file.
    pub fn append(&self, name: &str, line: &str) -> Result<(), FolderError> {
        let path = self.file(name);
        let add = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            writeln!(file, "{line}")
        };
        add().map_err(io("write", &path))
    }
}

/// metrics.jsonl: one JSON object per line, cut back to the checkpoint when a run resumes.
pub struct Metrics {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Metrics {
    /// Opens the file and cuts it back to its first `bytes` bytes, which the checkpoint knows to be whole lines.
    pub fn open(folder: &RunFolder, bytes: u64) -> Result<Self, FolderError> {
        let path = folder.file("metrics.jsonl");
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            // A file that somebody shortened stays as it is: its lost lines are no reason to stop.
            file.set_len(bytes.min(file.metadata()?.len()))?;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(io("open", &path))?;
        let bytes = file.metadata().map_err(io("open", &path))?.len();
        Ok(Self { path, file, bytes })
    }

    /// Adds a line.
    pub fn add(&mut self, line: &serde_json::Value) -> Result<(), FolderError> {
        let text = format!("{line}\n");
        self.file.write_all(text.as_bytes()).map_err(io("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Brings the lines to the disk and gives their length, for the checkpoint.
    pub fn sync(&mut self) -> Result<u64, FolderError> {
        self.file.sync_data().map_err(io("write", &self.path))?;
        Ok(self.bytes)
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FolderError {
    move |source| FolderError::Io { doing, path: path.display().to_string(), source }
}
