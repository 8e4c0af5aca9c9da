//! What happened in a run, as it happens: metrics.jsonl for programs, and beside it events for TensorBoard.

mod events;
mod message;
mod record;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use self::events::Events;
use crate::folder::{FolderError, METRICS, RunFolder, io};

/// metrics.jsonl: one JSON object per line, cut back to the checkpoint when a run resumes. Events follow it.
pub struct Metrics {
    path: PathBuf,
    file: File,
    bytes: u64,
    events: Events,
}

impl Metrics {
    /// Opens the file and cuts it back to its first `bytes` bytes, which the checkpoint knows to be whole lines.
    pub fn open(folder: &RunFolder, bytes: u64) -> Result<Self, FolderError> {
        let path = folder.file(METRICS);
        let open = || -> std::io::Result<(File, String)> {
            let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
            // A file that somebody shortened stays as it is: its lost lines are no reason to stop.
            file.set_len(bytes.min(file.metadata()?.len()))?;
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut text)?;
            Ok((file, String::from_utf8_lossy(&text).into_owned()))
        };
        let (file, text) = open().map_err(io("open", &path))?;
        let bytes = file.metadata().map_err(io("open", &path))?.len();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        Ok(Self {
            events: Events::after(path.parent().expect("a file lies in a folder").into(), lines),
            path,
            file,
            bytes,
        })
    }

    /// Adds a line, and its numbers as an event.
    pub fn add(&mut self, line: &Value) -> Result<(), FolderError> {
        let text = format!("{line}\n");
        self.file.write_all(text.as_bytes()).map_err(io("write", &self.path))?;
        self.bytes += text.len() as u64;
        self.events.add(line)
    }

    /// Brings the lines to the disk and gives their length, for the checkpoint.
    pub fn sync(&mut self) -> Result<u64, FolderError> {
        self.file.sync_data().map_err(io("write", &self.path))?;
        Ok(self.bytes)
    }
}
