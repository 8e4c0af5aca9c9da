//! What `distill bench` says besides times, which belong to a machine.

use serde_json::Value;

use crate::fixture::Scene;

fn json(scene: &Scene, words: &[&str]) -> Value {
    let finished = scene.run(&[&["bench", "--json", "-q"], words].concat()).succeeds();
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn a_plan_says_what_threads_can_gain_without_timing_anything() {
    let scene = Scene::new();
    let words = ["bench", "--student", "resnet18", "--mode", "step", "--plan"];
    let said = scene.run(&words).succeeds().stdout;
    assert!(said.starts_with("resnet18, step of 128 images, cpu-"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    for line in ["      1       100.00 %     1.0x", "     64         ", "longest with 64 threads"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let plan = json(&scene, &["--student", "resnet18", "--mode", "step", "--plan"]);
    // PyTorch's FlopCounterMode has 4,443,381,760 for two images forwards and back to them, 6,657,994,752 for a training pass:
    // ten of the one and two of the other, for 64 times as many images.
    assert!((plan["gflop"].as_f64().unwrap() - 3_695.987_654_656).abs() < 1e-6, "{plan}");
    let rows = plan["threads"].as_array().unwrap();
    let of = |key: &str| -> Vec<f64> { rows.iter().map(|row| row[key].as_f64().unwrap()).collect() };
    assert_eq!(of("threads"), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
    for (threads, at_most) in of("threads").into_iter().zip(of("at_most")) {
        assert!(at_most <= threads + 1e-9 && at_most > 0.8 * threads, "{threads} threads: {at_most} times");
    }
    assert_eq!(plan["longest"].as_array().unwrap().len(), 5);
    assert!(plan.get("median_seconds").is_none());
    let gpu = scene.run(&[&words[..], &["--device", "reference"]].concat());
    gpu.refused(
        2,
        &["--plan is about threads of a processor, and --device is reference", "hint: leave --device out"],
    );
}

#[test]
fn maps_that_are_formed_again_need_less_memory() {
    let scene = Scene::new();
    let words = ["--student", "mobilenet-v2", "--mode", "train", "--batch", "32", "--repetitions", "1"];
    let peak = |more: &[&str]| {
        json(&scene, &[&words[..], more].concat())["peak_memory_mib"].as_f64().expect("Linux tells it")
    };
    let (kept, formed) = (peak(&["--keep-maps"]), peak(&[]));
    // By hand: the wide maps that a block's normalisations give are near half of what its backward reads.
    assert!(formed < 0.75 * kept, "{formed} MiB of {kept}");
}

#[test]
fn a_run_that_forms_maps_again_has_the_same_student_and_goes_on_with_one_that_did_not() {
    let scene = Scene::new();
    let train = |out: &str, more: &[&str]| {
        let mut words = Scene::training(out, more);
        words.iter_mut().filter(|word| **word == "tiny-cnn").for_each(|word| *word = "resnet8");
        scene.run(&words).succeeds();
    };
    train("kept", &["--set", "recompute=false"]);
    train("formed", &[]);
    assert_eq!(scene.student("formed"), scene.student("kept"));
    let config = std::fs::read_to_string(scene.path("formed/config.toml")).unwrap();
    assert!(config.contains("recompute = true"), "{config}");
    train("formed", &["--set", "recompute=false"]);
}
