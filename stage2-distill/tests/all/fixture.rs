//! Running the binary in a folder of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data::{DatasetSpec, Split};
use labels::{Augment, RowTable, Session, Spec, Teacher, Views};
use tempfile::TempDir;

pub struct Scene {
    folder: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        let output = self.command(arguments).output().unwrap();
        Finished::of(&output)
    }

    /// A short SAT run: 130 digits, three batches an epoch, the last one short.
    pub fn train(&self, out: &str, more: &[&str]) -> Finished {
        self.run(&Self::training(out, more))
    }

    pub fn training<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["train", "--data", "sample", "--student", "tiny-cnn", "--out", out];
        for (flag, value) in
            [("--limit", "130"), ("--batch", "50"), ("--epochs", "3"), ("--steps", "2"), ("--eps", "0.1")]
        {
            if !more.contains(&flag) {
                arguments.extend([flag, value]);
            }
        }
        if !more.contains(&"--objective") && !more.contains(&"--preset") {
            arguments.extend(["--objective", "sat"]);
        }
        arguments.extend(more);
        arguments
    }

    /// An archive as keras saves them: `x_train` and `x_test` of grey images with these sides, ten classes in turn.
    pub fn npz(&self, name: &str, train: usize, test: usize) {
        let mut archive = zip::ZipWriter::new(std::fs::File::create(self.path(name)).unwrap());
        let plain =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (part, side) in [("train", train), ("test", test)] {
            let images: Vec<u8> = (0..IMAGES * side * side).map(|place| (place * 37 % 251) as u8).collect();
            let labels: Vec<u8> = (0..IMAGES).map(|image| (image % 10) as u8).collect();
            for (name, shape, values) in [
                (format!("x_{part}.npy"), format!("({IMAGES}, {side}, {side})"), images),
                (format!("y_{part}.npy"), format!("({IMAGES},)"), labels),
            ] {
                archive.start_file(name, plain).unwrap();
                archive.write_all(&npy(&shape, &values)).unwrap();
            }
        }
        archive.finish().unwrap();
    }

    /// A label set of one view of each of the 130 digits, by a teacher that knows nothing.
    pub fn labels(&self, name: &str) {
        let digits = DatasetSpec::sample().load(Split::Train).unwrap().limit(130);
        let augment = Augment::NONE;
        let (rows, teacher) = (RowTable::all(digits.len(), augment), Teacher::named("nobody"));
        let spec = Spec::new(digits.record(), augment, Views::All, rows, teacher);
        let mut session = Session::open(&self.path(name), spec).unwrap();
        for job in session.pending() {
            session.write(&job, &vec![0.0; job.rows.len() * digits.classes()]).unwrap();
        }
        session.finish().unwrap();
    }

    /// The bytes of a run's last student.
    pub fn student(&self, out: &str) -> Vec<u8> {
        std::fs::read(self.path(out).join("student.safetensors")).unwrap()
    }
}

/// Images of a part of an npz.
const IMAGES: usize = 20;

/// Bytes as an array of numpy's format 1.0.
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()
}

#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

pub fn flip_a_bit(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

pub fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The run's own state in a checkpoint.
pub fn state_of(checkpoint: &Path) -> serde_json::Value {
    let bytes = std::fs::read(checkpoint).unwrap();
    let (length, rest) = bytes.split_at(8);
    let header = &rest[..u64::from_le_bytes(length.try_into().unwrap()) as usize];
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let state = header["__metadata__"]["rslad-checkpoint"].as_str().unwrap();
    serde_json::from_str::<serde_json::Value>(state).unwrap()["state"].clone()
}

/// A report without what no two evaluations share: how long its attacks took.
pub fn untimed(report: &str) -> serde_json::Value {
    let mut report: serde_json::Value = serde_json::from_str(report).unwrap();
    for outcome in report["outcomes"].as_array_mut().unwrap() {
        for work in outcome["work"].as_array_mut().unwrap() {
            assert!(work["seconds"].take().as_f64().is_some_and(|seconds| seconds >= 0.0));
        }
    }
    report
}
