//! `tools/compare_attacks.py`, where `RSLAD_PYTHON` names a Python with torch, pyautoattack, safetensors and pyarrow.

use std::path::Path;
use std::process::{Command, Output};

use crate::fixture::Scene;

const TEACHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/teacher.safetensors");
const ATTACK: [&str; 8] = ["--data", "sample", "--limit", "40", "--eps", "0.3", "--attack", "apgd-ce"];

/// What the tool says; none where there is no Python that could run it.
fn tool(scene: &Scene, arguments: &[&str]) -> Option<Output> {
    let python = std::env::var_os("RSLAD_PYTHON")?;
    let has_peer = ["-c", "import torch, pyautoattack, safetensors, pyarrow, PIL"];
    if !Command::new(&python).args(has_peer).output().unwrap().status.success() {
        return None;
    }
    let mut tool = Command::new(python);
    tool.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/compare_attacks.py")).args(arguments);
    tool.env("OMP_NUM_THREADS", "1").current_dir(scene.path(""));
    let output = tool.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

/// Expected: pyautoattack 0.2.0 on the same weights as a PyTorch module, of which it breaks three of 38 images.
#[test]
fn the_authors_attack_in_pytorch_breaks_the_same_images() {
    let scene = Scene::new();
    let flags =
        ["run", "--weights", TEACHER, "--arch", "tiny-cnn-x4", "--threads", "1", "--json", "peer.json"];
    if tool(&scene, &[&flags[..], &ATTACK[..]].concat()).is_none() {
        eprintln!("skipped: RSLAD_PYTHON names no Python with torch and pyautoattack");
        return;
    }
    let flags = ["eval", "--student", TEACHER, "--json", "ours.json"];
    scene.run(&[&flags[..], &ATTACK[..]].concat()).succeeds();
    let table = tool(&scene, &["table", "--ours", "ours.json", "--peer", "peer.json"]).unwrap();
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(text.contains("| clean | 38 | 38 |\n| apgd-ce | 35 | 35 |"), "{text}");
    assert!(text.contains("here held, there broken: 0 of 40 cases (0.00 %)"), "{text}");
    assert!(text.contains("there held, here broken: 0 of 40 cases (0.00 %)"), "{text}");
}
