//! A small teacher, the binary, and what a folder holds.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use engine::params::Precision;
use method::init::initialise;
use zoo::Task;

use crate::emulated::with_gpu;

pub const DIGITS: Task = Task { input: [1, 28, 28], classes: 10 };

/// A temporary folder with an untrained teacher in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        save_teacher(&place.teacher(), DIGITS, 1, |value| value);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn teacher(&self) -> PathBuf {
        self.path("teacher.safetensors")
    }

    /// `label run` of `images` images of the sample with all 25 views, eight images a shard.
    pub fn run(&self, out: &Path, images: usize) -> Label {
        self.run_in_shards(out, images, 8)
    }

    /// The same with so many images a shard.
    pub fn run_in_shards(&self, out: &Path, images: usize, shard_images: usize) -> Label {
        label()
            .args(["run", "--data", "sample", "--views", "all", "--teacher"])
            .arg(self.teacher())
            .args(["--limit", &images.to_string(), "--shard-images", &shard_images.to_string()])
            .arg("--out")
            .arg(out)
    }
}

/// Writes an untrained tiny-cnn whose parameters pass through `change`.
pub fn save_teacher(path: &Path, task: Task, seed: u64, change: impl Fn(f64) -> f64) {
    let (row, network) = zoo::build("tiny-cnn", task).unwrap();
    let mut params = initialise(&network, row.init, seed, Precision::F32);
    let arena = params.trainable_mut();
    for place in 0..arena.len() {
        arena.set(place, change(arena.get(place)));
    }
    zoo::save(path, &network, &params).unwrap();
}

/// The binary with its arguments.
pub struct Label(Command);

pub fn label() -> Label {
    Label(Command::new(env!("CARGO_BIN_EXE_label")))
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Label {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// On a GPU, the emulated one where the machine's own is not asked for; none where `test` has neither.
    pub fn on_gpu(mut self, test: &str) -> Option<Self> {
        with_gpu(&mut self.0, test).then(|| self.args(["--device", "cuda"]))
    }

    pub fn ends(mut self) -> Ended {
        ended(&self.0.output().unwrap())
    }

    /// Runs to success and gives stdout.
    pub fn succeeds(self) -> String {
        let ended = self.ends();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    }

    /// Fails with this code and each of these texts on stderr.
    pub fn fails(self, code: i32, texts: &[&str]) -> Ended {
        let ended = self.ends();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        for text in texts {
            assert!(ended.stderr.contains(text), "wanted `{text}` in:\n{}", ended.stderr);
        }
        ended
    }

    /// The command line behind `sh -c "FIRST; exec ..."`.
    pub fn behind_shell(self, first: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\""));
        shell.arg(self.0.get_program()).args(self.0.get_args());
        Self(shell)
    }

    pub fn start(mut self) -> std::process::Child {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

pub fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Every file below a folder with its bytes.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(dir).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// `label inspect --json`.
pub fn inspect(dir: &Path) -> serde_json::Value {
    serde_json::from_str(&label().arg("inspect").arg(dir).arg("--json").succeeds()).unwrap()
}

/// The folder of real data, or a printed word that `test` is skipped.
pub fn real_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RSLAD_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("{test}: skipped, RSLAD_DATA does not name a folder with real data");
    }
    folder
}
