//! A run that lost a part of what it left: unusable is not absent, and nothing is made worse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fixture::{Finished, Scene, checkpoints, flip_a_bit, state_of};

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn a_run_without_a_usable_checkpoint_is_refused_and_stays_as_it_is() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let student = scene.student("run");
    let kept = checkpoints(&scene.path("run"));
    for path in &kept {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
    }
    let refused = |words: &[&str]| {
        let before = contents(&scene.path("run"));
        scene.train("run", &[]).refused(2, words);
        assert!(contents(&scene.path("run")) == before, "nothing is written");
    };
    let newest = "not run/checkpoints/step-0000000009.safetensors (damaged safetensors file";
    refused(&["run: holds a run with no usable checkpoint", newest, "nor 1 more", "hint:"]);
    std::fs::remove_dir_all(scene.path("run/checkpoints")).unwrap();
    refused(&["run: holds a run with no checkpoint", "run/student.safetensors shows", "hint:"]);
    std::fs::remove_file(scene.path("run/student.safetensors")).unwrap();
    refused(&["run/metrics.jsonl shows"]);
    // The way out that the hint names.
    scene.train("other", &[]).succeeds();
    assert_eq!(scene.student("other"), student);
}

#[test]
fn a_new_checkpoint_stays_whatever_numbers_damaged_ones_have() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let whole = scene.student("run");
    let newest = checkpoints(&scene.path("run")).pop().unwrap();
    let middle = std::fs::metadata(&newest).unwrap().len() as usize / 2;
    flip_a_bit(&newest, middle);
    for step in [998, 999] {
        let garbage = format!("run/checkpoints/step-{step:010}.safetensors");
        std::fs::write(scene.path(&garbage), b"no checkpoint").unwrap();
    }
    let again = scene.train("run", &[]).succeeds();
    assert_eq!(again.stderr.matches("warning: passed over").count(), 3, "{}", again.stderr);
    assert_eq!(scene.student("run"), whole);
    let names = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
    let left: Vec<String> = checkpoints(&scene.path("run")).iter().map(names).collect();
    assert_eq!(left, [6, 9, 998, 999].map(|step| format!("step-{step:010}.safetensors")));
    let done = scene.train("run", &[]).succeeds();
    assert!(done.stderr.contains("at its end already"), "{}", done.stderr);
}

#[test]
fn a_best_student_that_is_gone_is_missed_in_the_middle_of_a_run_and_at_its_end() {
    let scene = Scene::new();
    scene.train("run", &["--holdout", "30"]).succeeds();
    std::fs::remove_file(scene.path("run/best.safetensors")).unwrap();
    let again = || scene.train("run", &["--holdout", "30"]);
    again().refused(2, &["best.safetensors is gone", "hint:"]);
    // Without its last checkpoint the run stands before its last epoch.
    std::fs::remove_file(checkpoints(&scene.path("run")).pop().unwrap()).unwrap();
    again().refused(2, &["best.safetensors is gone", "hint:"]);
}

#[test]
fn a_resume_that_is_refused_for_its_inputs_writes_nothing() {
    let scene = Scene::new();
    let teachers = ["one", "other"].map(|name| format!("{name}/student.safetensors"));
    scene.train("one", &["--epochs", "1"]).succeeds();
    scene.train("other", &["--epochs", "1", "--seed", "1"]).succeeds();
    let by = |teacher| scene.train("run", &["--objective", "rslad", "--teacher", teacher]);
    by(&teachers[0]).succeeds();
    let before = contents(&scene.path("run"));
    by(&teachers[1]).refused(2, &["learned from other inputs", "hint:"]);
    assert!(contents(&scene.path("run")) == before, "config.toml and env.json are the run's still");
}

#[test]
fn what_killed_processes_began_is_swept_by_the_next_one() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let dead =
        [".student.safetensorsAbC123.partial", "checkpoints/.step-0000000006.safetensorsx0Y1z2.partial"];
    let other = ".report.jsonAbC123.partial";
    for name in dead.into_iter().chain([other]) {
        std::fs::write(scene.path("run").join(name), "half").unwrap();
    }
    scene.train("run", &["--seed", "5"]).refused(2, &["seed: 0, 5"]);
    scene.train("run", &[]).succeeds();
    assert!(dead.iter().all(|name| !scene.path("run").join(name).exists()));
    assert!(scene.path("run").join(other).exists(), "another command's");
}

/// Stops a run of one step an image in its first epoch, and runs it again.
fn stopped_in_an_epoch(scene: &Scene, steps: usize) -> serde_json::Value {
    let arguments = Scene::training("run", &["--batch", "1", "--epochs", "1", "--limit", "400"]);
    let child = scene.command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let lines =
        || std::fs::read_to_string(scene.path("run/metrics.jsonl")).unwrap_or_default().lines().count();
    // A line every 50 steps.
    while lines() < steps / 50 {
        assert!(started.elapsed() < Duration::from_mins(1), "the steps are done");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    Finished::of(&child.wait_with_output().unwrap()).refused(75, &["interrupted after step"]);
    let state = state_of(&checkpoints(&scene.path("run")).pop().unwrap());
    scene.run(&arguments).succeeds();
    state
}

#[test]
fn the_seconds_of_an_epoch_are_those_of_all_processes_that_did_its_steps() {
    let scene = Scene::new();
    // 300 of 400 steps before, so that the rest alone is shorter.
    let before = stopped_in_an_epoch(&scene, 300)["seconds"].as_f64().unwrap();
    let metrics = std::fs::read_to_string(scene.path("run/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert!(before > 0.0 && last["seconds"].as_f64().unwrap() > before, "{before}, {last}");
}

#[test]
fn a_run_says_what_ran_its_steps() {
    let scene = Scene::new();
    scene.train("run", &["--epochs", "1"]).succeeds();
    let environment = std::fs::read_to_string(scene.path("run/env.json")).unwrap();
    let environment: serde_json::Value = serde_json::from_str(&environment).unwrap();
    let parts = state_of(&checkpoints(&scene.path("run")).pop().unwrap())["parts"].clone();
    assert_eq!(environment["parts"], parts);
    let part = &parts.as_array().unwrap()[0];
    assert_eq!(part["after_step"], 0);
    assert_eq!(part["engine"], environment["engine"]);
    let build = part["build"].as_str().unwrap();
    assert!(build.len() == 12 && build.chars().all(|digit| digit.is_ascii_hexdigit()), "{build}");
}
