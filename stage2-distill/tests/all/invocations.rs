//! What is said of wrong command lines, word for word.

use std::fs;
use std::path::Path;

use crate::fixture::Scene;

#[path = "../../../tests/src/invocations.rs"]
mod written;

#[test]
fn what_is_said_of_wrong_command_lines_is_what_is_written_down() {
    let scene = Scene::new();
    scene.train("run", &["--objective", "natural", "--epochs", "1"]).succeeds();
    fs::copy(scene.path("run/best.safetensors"), scene.path("lone.safetensors"))
        .or_else(|_| fs::copy(scene.path("run/student.safetensors"), scene.path("lone.safetensors")))
        .unwrap();
    fs::create_dir(scene.path("labels")).unwrap();
    fs::create_dir(scene.path("notes")).unwrap();
    fs::write(scene.path("notes/chapter1.txt"), "robustness").unwrap();
    fs::write(scene.path("slip.toml"), "lr = 0.1\nthen decay\n").unwrap();
    fs::write(scene.path("typo.toml"), "lr = 0.1\nepoch = 3\n").unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invocations.txt");
    written::check(&file, env!("CARGO_BIN_EXE_distill"), &scene.path("").canonicalize().unwrap());
}
