//! `tools/compare_attacks.py`, where `RSLAD_PYTHON` names a Python with torch, pyautoattack, safetensors and pyarrow.

use std::path::Path;
use std::process::{Command, Output};

use crate::fixture::Scene;

fn python(scene: &Scene, arguments: &[&str]) -> Option<Output> {
    let Some(python) = std::env::var_os("RSLAD_PYTHON") else {
        eprintln!("skipped: RSLAD_PYTHON names no Python with torch");
        return None;
    };
    let mut tool = Command::new(python);
    let has_peer = ["-c", "import pyautoattack, safetensors, pyarrow, PIL"];
    if !Command::new(tool.get_program()).args(has_peer).status().unwrap().success() {
        eprintln!("skipped: that Python has no pyautoattack");
        return None;
    }
    tool.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/compare_attacks.py")).args(arguments);
    tool.env("OMP_NUM_THREADS", "1").current_dir(scene.path(""));
    Some(tool.output().unwrap())
}

/// Expected: what pyautoattack 0.2.0 leaves of the same images with the same weights as a PyTorch module. A student after
/// nine steps falls to every attack there, so that only an outcome of every image equal to its own is right.
#[test]
fn the_authors_attack_in_pytorch_breaks_the_same_images_of_a_student_of_ours() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let attack = ["--eps", "0.03", "--limit", "12", "--data", "sample", "--attack", "apgd-ce"];
    let student = scene.path("run/student.safetensors");
    let student = student.to_str().unwrap();
    let flags = ["run", "--weights", student, "--arch", "tiny-cnn", "--threads", "1", "--json", "peer.json"];
    let Some(peer) = python(&scene, &[&flags[..], &attack[..]].concat()) else { return };
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let flags = ["eval", "--student", student, "--json", "ours.json"];
    scene.run(&[&flags[..], &attack[..]].concat()).succeeds();
    let table = python(&scene, &["table", "--ours", "ours.json", "--peer", "peer.json"]).unwrap();
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(table.status.success(), "{}", String::from_utf8_lossy(&table.stderr));
    assert!(text.contains("here held, there broken: 0 of 12 cases (0.00 %)"), "{text}");
    assert!(text.contains("there held, here broken: 0 of 12 cases (0.00 %)"), "{text}");
}
