//! `distill export`, and what it wrote on its way back in. Other programs read the same files in
//! `python/tests/test_onnx.py`.

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::fixture::Scene;

// What `--to candle` writes for the sample's teacher: what compiles here is what leaves.
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic)]
#[path = "../candle/teacher.rs"]
mod program;

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
        scene.run(&export(&["--to", "onnx", "--int8", "--eps", "0.33", "--out", "left"])).succeeds();
    let card = std::fs::read_to_string(scene.path("left/README.md")).unwrap();
    assert!(written.stdout.contains(card.trim_end()));
    for said in
        ["pixels in [0, 1]", "64 images, read back", "pgd20", "| clean, the first 40 of test |", "eps 0.33"]
    {
        assert!(card.contains(said), "no `{said}` in {card}");
    }
    // One attack, one start: the f32 student's figures are those of its evaluation.
    let figure = |head: &str, unit: &str| {
        let line =
            card.lines().find(|line| line.starts_with(head)).unwrap_or_else(|| panic!("{head}: {card}"));
        let text =
            line[head.len()..].split(unit).next().unwrap().rsplit(['|', ' ']).find(|cell| !cell.is_empty());
        text.unwrap().trim().parse::<f64>().unwrap()
    };
    assert!((20.0..90.0).contains(&figure("pgd20 ", "%")), "some stand and some fall: {card}");
    for [evaluated, beside] in [["clean ", "| clean"], ["pgd20 ", "| adversarial"]] {
        assert!((figure(evaluated, "%") - figure(beside, " %")).abs() < 0.01, "{card}");
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
fn a_program_for_candle_compiles_and_gives_the_answers_that_it_was_written_with() {
    let scene = Scene::new();
    scene.run(&export(&["--to", "candle", "--eps", "0.15", "--out", "left"])).succeeds();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/candle/teacher.rs");
    let text = std::fs::read_to_string(scene.path("left/src/main.rs")).unwrap();
    if std::env::var_os("RSLAD_WRITE_PROGRAMS").is_some() {
        std::fs::write(kept, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(kept).unwrap() == text,
        "another text is written now; RSLAD_WRITE_PROGRAMS=1 keeps it, to be compiled and run once more"
    );
    let read = |name: &str| candle_core::safetensors::load(scene.path(name), &Device::Cpu).unwrap();
    let weights = VarBuilder::from_tensors(read("left/student.safetensors"), DType::F32, &Device::Cpu);
    let check = read("left/check.safetensors");
    let found = program::Student::load(weights).unwrap().logits(&check["images"]).unwrap();
    let largest = |x: &Tensor| -> candle_core::Result<f32> {
        x.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>()
    };
    let wanted = &check["logits"];
    assert_eq!(wanted.dims(), [64, 10]);
    let apart = largest(&(&found - wanted).unwrap()).unwrap() / largest(wanted).unwrap();
    assert!(apart <= 1e-5, "logits differ by {apart:.1e} of the largest");
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
