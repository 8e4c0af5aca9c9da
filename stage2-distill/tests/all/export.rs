//! `distill export`, and what it wrote on its way back in. Other programs read the same files in
//! `python/tests/test_onnx.py`.

use crate::fixture::Scene;

/// The sample's teacher, whose file says what it is.
const TEACHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/teacher.safetensors");

fn export<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["export", TEACHER, "--data", "sample", "--limit", "40"], more].concat()
}

/// Accuracies in percent of an evaluation, clean and under FGSM.
fn accuracies(scene: &Scene, student: &str) -> [serde_json::Value; 2] {
    let judged = ["--data", "sample", "--attack", "fgsm", "--eps", "0.15", "--limit", "100", "--json", "-"];
    let report = scene.run(&[&["eval", student], &judged[..]].concat()).succeeds();
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    ["clean", "fgsm"].map(|name| report[name].clone())
}

#[test]
fn a_model_that_left_is_judged_as_the_network_it_was_and_begins_a_student() {
    let scene = Scene::new();
    let written =
        scene.run(&export(&["--to", "onnx", "--int8", "--eps", "0.15", "--out", "left"])).succeeds();
    let card = std::fs::read_to_string(scene.path("left/README.md")).unwrap();
    assert!(written.stdout.contains(card.trim_end()));
    for said in
        ["pixels in [0, 1]", "64 images, read back", "pgd20", "| clean, the first 40 of test |", "eps 0.15"]
    {
        assert!(card.contains(said), "no `{said}` in {card}");
    }
    let mut names: Vec<String> = std::fs::read_dir(scene.path("left"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["README.md", "student.int8.onnx", "student.onnx"]);
    assert!(!scene.path("left.partial").exists());
    assert_eq!(accuracies(&scene, "left/student.onnx"), accuracies(&scene, TEACHER));
    let eight = scene.run(&["eval", "left/student.int8.onnx", "--data", "sample", "--attack", "clean"]);
    eight.refused(2, &["QuantizeLinear, opset 17", "before it was quantised"]);

    // The graph is a student's too, with the file's values to begin with; it carries the graph.
    let model = "left/student.onnx";
    let mut train =
        vec!["train", "--data", "sample", "--objective", "sat", "--limit", "130", "--epochs", "1"];
    train.extend(["--student", model, "--init", model, "--eps", "0.1", "--steps", "2", "--out", "run"]);
    train.extend(["--set", "lr=1e-30", "--set", "weight-decay=0"]);
    scene.run(&train).succeeds();
    // The same command finds it done.
    scene.run(&train).succeeds();
    std::fs::remove_dir_all(scene.path("left")).unwrap();
    let student = "run/student.safetensors";
    let clean = accuracies(&scene, student)[0].as_f64();
    assert!(clean > Some(80.0), "its statistics have moved, its weights have not: {clean:?}");
}

#[test]
fn what_cannot_be_exported_says_why_and_leaves_nothing() {
    let scene = Scene::new();
    scene
        .run(&export(&["--to", "tflite", "--out", "left"]))
        .refused(2, &["unknown form `tflite`", "onnx, torch, candle"]);
    scene
        .run(&export(&["--to", "torch", "--int8", "--out", "left"]))
        .refused(2, &["--int8 with --to torch", "hint:"]);
    let blind = scene.run(&export(&["--to", "onnx", "--int8", "--out", "left"]));
    blind.refused(2, &["no radius is known", "--eps"]);
    assert!(!scene.path("left").exists() && !scene.path("left.partial").exists());
    std::fs::create_dir(scene.path("left")).unwrap();
    scene.run(&export(&["--to", "onnx", "--out", "left"])).refused(2, &["left: there already", "--out"]);
    scene.run(&["export", "nowhere", "--to", "onnx"]).refused(2, &["nowhere: no such file or folder"]);
}
