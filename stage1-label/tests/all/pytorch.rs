//! `tools/label_with_pytorch.py`, where `RSLAD_PYTHON` names a Python with torch, numpy and pyarrow.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{fs, thread};

use crate::fixture::{Place, inspect, label};

/// A network whose answers are plain: each logit is ten times a pixel. One waits for a file `go` at its fourth batch, one
/// ends in a softmax.
const NETWORKS: &str = "
import os, time, torch
class Net(torch.nn.Module):
    def __init__(self, end=lambda x: x, most=10**9):
        super().__init__()
        self.end, self.left = end, most
    def forward(self, x):
        self.left -= 1
        while self.left < 0 and not os.path.exists('go'): time.sleep(0.01)
        return self.end(10 * x.flatten(1)[:, 200:210])
def plain(): return Net()
def held(): return Net(most=3)
def soft(): return Net(lambda x: x.softmax(1))
def broken(): raise ValueError('no weights here')
";

struct Bench {
    place: Place,
    python: PathBuf,
}

impl Bench {
    /// Plans all views of 40 images of the sample; none, said aloud, without a Python.
    fn new() -> Option<Self> {
        let Some(python) = std::env::var_os("RSLAD_PYTHON") else {
            eprintln!("skipped: RSLAD_PYTHON names no Python with torch");
            return None;
        };
        let place = Place::new();
        fs::write(place.path("mine.py"), NETWORKS).unwrap();
        let plan = label().args(["plan", "--data", "sample", "--limit", "40", "--views", "all", "--out"]);
        plan.arg(place.path("rows.parquet")).arg("--images").arg(place.path("images.npy")).succeeds();
        Some(Self { place, python: python.into() })
    }

    fn tool(&self, network: &str, out: &str) -> Command {
        let mut tool = Command::new(&self.python);
        tool.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/label_with_pytorch.py"));
        tool.args(["--rows", "rows.parquet", "--images", "images.npy", "--device", "cpu", "--batch", "16"]);
        tool.args(["--network", network, "--out", out]).current_dir(self.place.path(""));
        tool.env("OMP_NUM_THREADS", "1").stderr(std::process::Stdio::piped());
        tool
    }
}

fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Expected: ten times the pixels of the view, cut by `data::cut`, which is held against PyTorch elsewhere.
#[test]
fn answers_are_those_of_the_network_on_the_views_and_say_how_they_came() {
    let Some(bench) = Bench::new() else { return };
    assert_eq!(ended(&bench.tool("mine:plain", "logits.npy").output().unwrap()).0, Some(0));
    // On two devices, each with the network's copy, the rows are the same and in the same order.
    let code = bench.tool("mine:plain", "two.npy").args(["--device", "cpu,cpu"]).status().unwrap().code();
    assert_eq!(code, Some(0));
    let read = |name: &str| fs::read(bench.place.path(name)).unwrap();
    assert!(read("logits.npy") == read("two.npy"));
    let code = bench.tool("mine:plain", "mixed.npy").args(["--precision", "bf16"]).status().unwrap().code();
    assert_eq!(code, Some(0));
    assert!(String::from_utf8_lossy(&read("mixed.npy")).contains(r#""precision": "bf16""#));
    let out = bench.place.path("labels");
    let import =
        label().args(["import", "--data", "sample", "--teacher-name", "plain", "--dtype", "f32", "--rows"]);
    let import =
        import.arg(bench.place.path("rows.parquet")).arg("--logits").arg(bench.place.path("logits.npy"));
    import.arg("--out").arg(&out).succeeds();
    let teacher = &inspect(&out)["teacher"];
    assert_eq!(teacher["precision"], "f32");
    assert!(teacher["device"].as_str().unwrap().starts_with("cpu, PyTorch "), "{teacher}");
    let sample = data::DatasetSpec::sample().load(data::Split::Train).unwrap();
    let augment = "crop2".parse().unwrap();
    let set = labels::LabelSet::open(&out, labels::Check::Hashes).unwrap();
    let mut rows = 0;
    for row in set.rows() {
        let (pixels, _) = sample.views::<f32>(augment, &[(row.image, row.view)]);
        let wanted: Vec<f32> = pixels[200..210].iter().map(|pixel| 10.0 * pixel).collect();
        assert_eq!(row.logits.to_vec(), wanted, "image {} view {}", row.image, row.view);
        rows += 1;
    }
    assert_eq!(rows, 1000);
}

#[test]
fn a_killed_and_a_stopped_tool_go_on_to_the_same_file_and_two_at_once_do_not_share_one() {
    let Some(bench) = Bench::new() else { return };
    let tool = || bench.tool("mine:held", "logits.npy");
    let partial = || {
        let names = fs::read_dir(bench.place.path("")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().ends_with(".partial")).collect::<Vec<_>>()
    };
    let length = || partial().first().map_or(0, |path| fs::metadata(path).map_or(0, |meta| meta.len()));
    // Until two batches more are there; the network then waits.
    let begun = || {
        let before = length();
        let mut child = tool().spawn().unwrap();
        let answered = (0..2400).any(|_| {
            thread::sleep(Duration::from_millis(50));
            length() >= before + 2 * 16 * 40
        });
        if !answered {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(answered, "no answer in two minutes");
        child
    };
    let mut child = begun();
    let (code, text) = ended(&tool().output().unwrap());
    assert!(code == Some(2) && text.contains("another process is writing these answers"), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
    let mut torn = fs::OpenOptions::new().append(true).open(&partial()[0]).unwrap();
    std::io::Write::write_all(&mut torn, b"torn").unwrap();
    let child = begun();
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let (code, text) = ended(&child.wait_with_output().unwrap());
    assert!(code == Some(75) && text.contains("the same command goes on from here"), "{text}");
    fs::write(bench.place.path("go"), "").unwrap();
    let (code, text) = ended(&tool().output().unwrap());
    assert!(code == Some(0) && text.contains("resumed at row "), "{text}");
    assert_eq!(partial().len(), 0);
    let (code, text) = ended(&bench.tool("mine:held", "whole.npy").output().unwrap());
    assert!(code == Some(0) && !text.contains("resumed"), "{text}");
    let [whole, resumed] = ["whole.npy", "logits.npy"].map(|name| fs::read(bench.place.path(name)).unwrap());
    assert!(whole == resumed, "the same bytes");
}

#[test]
fn mistakes_are_said_in_a_line_and_leave_nothing() {
    let Some(bench) = Bench::new() else { return };
    let says = |tool: &mut Command, wanted: &str| {
        let (code, text) = ended(&tool.output().unwrap());
        assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(wanted), "{text}");
    };
    says(&mut bench.tool("mine", "l.npy"), "wanted MODULE:FUNCTION");
    says(&mut bench.tool("mine:broken", "l.npy"), "--network mine:broken: ValueError: no weights here");
    says(&mut bench.tool("mine:soft", "l.npy"), "probabilities");
    says(bench.tool("mine:plain", "l.npy").args(["--device", "cuda:99"]), "CUDA devices");
    says(bench.tool("mine:plain", "l.npy").args(["--rows", "images.npy"]), "--rows images.npy: ");
    let (images, other) = (bench.place.path("images.npy"), bench.place.path("other.npy"));
    let mut changed = fs::read(images).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&other, changed).unwrap();
    says(bench.tool("mine:plain", "l.npy").args(["--images", "other.npy"]), "not the images of the plan");
    fs::write(bench.place.path("l.npy"), "mine").unwrap();
    says(&mut bench.tool("mine:plain", "l.npy"), "holds something else");
    assert_eq!(fs::read(bench.place.path("l.npy")).unwrap(), b"mine");
    let left = fs::read_dir(bench.place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().ends_with(".partial")));
}
