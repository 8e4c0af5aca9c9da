//! The events of a run, for TensorBoard: one for each line of metrics.jsonl, whatever happens to the run.
//!
//! Each process of a run writes a file of its own, since readers that look on lose their place in a file that is cut. What
//! the files before it say beyond metrics.jsonl goes, and what they lack comes: a killed process leaves steps that are done
//! again, a disk may lose the end of a file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::message::Event;
use super::record::{first, framed};
use crate::folder::{FolderError, io};

/// How the files' names begin: what TensorBoard looks for. Their numbers follow, in the order of the processes.
const BEGINNING: &str = "events.out.tfevents.";

/// The events of one process.
pub(super) struct Events {
    folder: PathBuf,
    /// Lines that were there before this process.
    before: Vec<Value>,
    /// There from the first line on: a process that adds none leaves everything as it was.
    file: Option<(PathBuf, File)>,
}

impl Events {
    /// After these lines; nothing is written yet.
    pub fn after(folder: PathBuf, before: impl Iterator<Item = Value>) -> Self {
        Self { folder, before: before.collect(), file: None }
    }

    /// Adds a line's numbers.
    pub fn add(&mut self, line: &Value) -> Result<(), FolderError> {
        let Some(event) = Event::of_line(line) else { return Ok(()) };
        if self.file.is_none() {
            self.file = Some(self.begin(line)?);
        }
        let (path, file) = self.file.as_mut().expect("it was opened");
        file.write_all(&framed(&event.at(now()))).map_err(io("write", path))
    }

    /// Makes the files before agree with the lines before, and begins a file.
    fn begin(&self, line: &Value) -> Result<(PathBuf, File), FolderError> {
        let lines: Vec<Event> = self.before.iter().filter_map(Event::of_line).collect();
        let mut agreeing = 0;
        let mut is_over = false;
        let files = files(&self.folder)?;
        for path in &files {
            if is_over {
                fs::remove_file(path).map_err(io("remove", path))?;
                continue;
            }
            let bytes = fs::read(path).map_err(io("read", path))?;
            let kept = agreement(&bytes, &lines, &mut agreeing);
            if kept < bytes.len() {
                let cut =
                    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(kept as u64));
                cut.map_err(io("cut", path))?;
                is_over = true;
            }
        }
        let number = files.last().and_then(|path| number(path)).unwrap_or(0) + 1;
        let path = self.folder.join(format!("{BEGINNING}{number:05}.rslad"));
        let mut events = vec![Event::file_version()];
        if number > 1 {
            let step = self.before.get(agreeing).unwrap_or(line)["step"].as_u64();
            events.extend(step.map(Event::start));
        }
        events.extend_from_slice(&lines[agreeing..]);
        let records: Vec<u8> = events.iter().flat_map(|event| framed(&event.at(now()))).collect();
        let begin = || -> std::io::Result<File> {
            let mut file = File::create(&path)?;
            file.write_all(&records)?;
            Ok(file)
        };
        let file = begin().map_err(io("write", &path))?;
        Ok((path, file))
    }
}

/// How many bytes of a file say what the lines from `agreeing` on say; that grows by those that are said.
fn agreement(bytes: &[u8], lines: &[Event], agreeing: &mut usize) -> usize {
    let mut at = 0;
    while let Some((payload, length)) = first(&bytes[at..]) {
        let Some(event) = Event::untimed(payload) else { break };
        if !event.is_of_process() {
            if lines.get(*agreeing) != Some(&event) {
                break;
            }
            *agreeing += 1;
        }
        at += length;
    }
    at
}

/// The files of a folder, by their numbers; those of other programs are left alone.
fn files(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let entries = fs::read_dir(folder).map_err(io("list", folder))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| number(path).is_some()).collect();
    files.sort();
    Ok(files)
}

fn number(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(BEGINNING)?.strip_suffix(".rslad")?.parse().ok()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(step: u64, loss: f64) -> Value {
        json!({"step": step, "loss": loss})
    }

    /// A process that finds the first lines and adds more.
    fn process(folder: &Path, before: &[Value], added: &[Value]) {
        let mut events = Events::after(folder.into(), before.iter().cloned());
        for line in added {
            events.add(line).unwrap();
        }
    }

    /// What the files say, in their order, and how many files there are.
    fn said(folder: &Path) -> (Vec<Event>, usize) {
        let files = files(folder).unwrap();
        let mut events = vec![];
        for path in &files {
            let bytes = fs::read(path).unwrap();
            let mut at = 0;
            while let Some((payload, length)) = first(&bytes[at..]) {
                events.push(Event::untimed(payload).unwrap());
                at += length;
            }
            assert_eq!(at, bytes.len(), "whole records");
        }
        let lines = events.into_iter().filter(|event| !event.is_of_process());
        (lines.collect(), files.len())
    }

    fn wanted(lines: &[Value]) -> Vec<Event> {
        lines.iter().filter_map(Event::of_line).collect()
    }

    #[test]
    fn events_are_the_lines_once_each_however_often_a_run_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let lines: Vec<Value> = (1..=6).map(|step| line(step, 1.0 / step as f64)).collect();
        process(folder, &[], &lines[..4]);
        // Killed: the checkpoint knew two of the four, and a record was under way.
        let path = files(folder).unwrap().pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&framed(&Event::of_line(&lines[4]).unwrap().at(0.0))[..9]);
        fs::write(&path, bytes).unwrap();
        process(folder, &lines[..2], &lines[2..5]);
        assert_eq!(said(folder), (wanted(&lines[..5]), 2));
        // Killed before the first checkpoint: the second process's file has nothing left to say.
        process(folder, &lines[..1], &lines[1..]);
        assert_eq!(said(folder).0, wanted(&lines));
        // A finished run that is asked for again.
        process(folder, &lines, &[]);
        assert_eq!(said(folder).0, wanted(&lines));
    }

    #[test]
    fn a_run_of_an_earlier_version_and_a_run_that_lost_events_get_them_all() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let lines: Vec<Value> = (1..=4).map(|step| line(step, 0.5)).collect();
        process(folder, &lines[..3], &lines[3..]);
        assert_eq!(said(folder), (wanted(&lines), 1));
        let other = folder.join("events.out.tfevents.1.of-another-program");
        fs::write(&other, "theirs").unwrap();
        let path = files(folder).unwrap().pop().unwrap();
        fs::write(&path, "").unwrap();
        let more = [line(5, 0.25)];
        process(folder, &lines, &more);
        assert_eq!(said(folder).0, wanted(&[&lines[..], &more].concat()));
        assert_eq!(fs::read(&other).unwrap(), b"theirs");
    }
}
