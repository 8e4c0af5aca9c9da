//! Evaluations that are killed, cut into parts, or of several students.

use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::fixture::{Scene, flip_a_bit, untimed};

/// A student that attacks have something to do with, in `run`.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.train("run", &["--objective", "natural", "--limit", "1000", "--epochs", "3"]).succeeds();
    scene
}

/// An evaluation by attacks of all kinds, short enough for a test.
fn asked<'a>(json: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "eval",
        "run",
        "--limit",
        "150",
        "--eps",
        "0.05",
        "--attack",
        "pgd20,apgd-t,square",
        "--json",
        json,
    ];
    arguments.extend(more);
    arguments
}

fn report(scene: &Scene, json: &str) -> Value {
    untimed(&std::fs::read_to_string(scene.path(json)).unwrap())
}

#[test]
fn killed_ten_times_in_a_row_an_evaluation_ends_with_the_same_report_and_the_same_images() {
    let scene = scene();
    let began = Instant::now();
    scene.run(&asked("whole.json", &["--save-adversarial", "whole.safetensors"])).succeeds();
    let whole = began.elapsed();
    let arguments = asked("killed.json", &["--state", "state", "--save-adversarial", "killed.safetensors"]);
    // Where the machine had other work meanwhile and has none now, the kills come too late, and are tried again earlier.
    let killed = |pieces: u32| {
        for kill in 1..=10u32 {
            let mut child =
                scene.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole * (3 * kill % 10 + 1) / pieces);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let in_time = !scene.path("killed.json").exists();
        if !in_time {
            std::fs::remove_dir_all(scene.path("state")).unwrap();
            std::fs::remove_file(scene.path("killed.json")).unwrap();
        }
        in_time
    };
    assert!([60, 120, 240, 480].into_iter().any(killed), "ten kills came too late to test anything");
    let last = scene.run(&arguments).succeeds();
    assert!(last.stderr.contains("state: going on with "), "{}", last.stderr);
    assert_eq!(report(&scene, "killed.json"), report(&scene, "whole.json"));
    let images = |file: &str| std::fs::read(scene.path(file)).unwrap();
    assert!(images("killed.safetensors") == images("whole.safetensors"));
}

#[test]
fn a_state_of_another_evaluation_or_a_damaged_one_is_refused() {
    let scene = scene();
    let short = ["eval", "run", "--limit", "20", "--attack", "fgsm", "--eps", "0.05", "--state", "state"];
    scene.run(&short).succeeds();
    let with = |flag: &'static str, value: &'static str| {
        let mut arguments: Vec<&str> = short.to_vec();
        match arguments.iter().position(|known| *known == flag) {
            Some(at) => arguments[at + 1] = value,
            None => arguments.extend([flag, value]),
        }
        scene.run(&arguments)
    };
    with("--eps", "0.06").refused(2, &["differs in eps, step_size"]);
    with("--seed", "1").refused(2, &["differs in seed"]);
    with("--attack", "pgd5").refused(2, &["differs in attacks"]);
    with("--state", "run").refused(2, &["that folder holds other things, such as"]);
    let again = scene.run(&short).succeeds();
    assert!(again.stderr.contains("state: everything was done before"), "{}", again.stderr);
    flip_a_bit(&scene.path("state/evaluation.state"), 100);
    let images = ["--state", "images", "--save-adversarial", "found.safetensors"];
    let images = [&short[..8], &images[..]].concat();
    scene.run(&images).succeeds();
    flip_a_bit(&scene.path("images/adversarial.f32"), 100);
    scene.run(&images).refused(74, &["an adversarial image is not as it was left"]);
    scene
        .run(&short)
        .refused(2, &["evaluation.state: it is damaged", "begin anew in another --state folder"]);
}

#[test]
fn three_parts_merged_in_any_order_are_the_report_of_one_machine() {
    let scene = scene();
    scene.run(&asked("whole.json", &[])).succeeds();
    for (part, json) in [("0/3", "0.json"), ("1/3", "1.json"), ("2/3", "2.json")] {
        scene.run(&asked(json, &["--part", part])).succeeds();
    }
    let merge = |reports: &[&str]| {
        let mut arguments = vec!["eval", "--json", "merged.json", "--merge"];
        arguments.extend(reports);
        scene.run(&arguments)
    };
    let merged = merge(&["2.json", "0.json", "1.json"]).succeeds();
    assert_eq!(report(&scene, "merged.json"), report(&scene, "whole.json"));
    assert_eq!(merged.stdout, scene.run(&asked("again.json", &[])).succeeds().stdout);
    merge(&["0.json", "2.json"]).refused(2, &["part 1/3 is missing"]);
    merge(&["0.json", "1.json", "1.json", "2.json"]).refused(2, &["part 1/3 is there 2 times"]);
    merge(&["0.json", "whole.json"]).refused(2, &["report 2 is no part"]);
    scene.run(&asked("other.json", &["--part", "1/3", "--seed", "5"])).succeeds();
    merge(&["0.json", "other.json", "2.json"]).refused(2, &["reports 1 and 2", "they differ in seed"]);
    // What somebody changed by hand is believed only as far as it fits together.
    let part: Value = serde_json::from_slice(&std::fs::read(scene.path("0.json")).unwrap()).unwrap();
    let changes: [(&str, Value, &str); 4] = [
        ("/labels/0", 99.into(), "label 99 of 10 classes"),
        ("/images", 1_000_000_000_000u64.into(), "50 labels of 1000000000000 images"),
        ("/outcomes/1/fates", Value::Array(vec![]), "pgd20 has 0 fates of 50 images"),
        ("/outcomes/1/fates/0", 9.into(), "fell to an attack that it does not have"),
    ];
    for (place, value, complaint) in changes {
        let mut changed = part.clone();
        *changed.pointer_mut(place).unwrap() = value;
        std::fs::write(scene.path("changed.json"), changed.to_string()).unwrap();
        merge(&["changed.json", "1.json", "2.json"]).refused(2, &["report 1 is damaged", complaint]);
    }
    std::fs::write(scene.path("text.json"), "{}").unwrap();
    merge(&["text.json"]).refused(2, &["text.json: no report"]);
}

#[test]
fn adversarial_images_lie_in_the_ball_and_are_what_the_report_counts() {
    let scene = scene();
    scene.run(&asked("report.json", &["--save-adversarial", "found.safetensors"])).succeeds();
    let report = report(&scene, "report.json");
    let bytes = std::fs::read(scene.path("found.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let whole = |name: &str| -> Vec<i64> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (image, adversarial) = (floats("image"), floats("adversarial"));
    assert!(image.iter().zip(&adversarial).all(|(a, b)| (a - b).abs() <= 0.05 + f32::EPSILON));
    assert!(adversarial.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["attacks"], r#"["pgd20","apgd-t","square"]"#);
    assert_eq!(metadata["weights_blake3"], report["weights_blake3"]);
    let (index, label, attack) = (whole("index"), whole("label"), whole("attack"));
    for (number, outcome) in report["outcomes"].as_array().unwrap().iter().skip(1).enumerate() {
        let fates = outcome["fates"].as_array().unwrap();
        let fallen: Vec<i64> = (0..150).filter(|&at| fates[at as usize] == 0).collect();
        assert!(!fallen.is_empty());
        let rows: Vec<usize> = (0..attack.len()).filter(|&row| attack[row] == number as i64).collect();
        assert_eq!(rows.iter().map(|&row| index[row]).collect::<Vec<_>>(), fallen);
        assert!(rows.iter().all(|&row| report["labels"][index[row] as usize] == label[row]));
    }
    let passing = std::fs::read_dir(scene.path(".")).unwrap();
    let passing = passing.filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(passing.count(), 0, "nothing passing is left");
}

#[test]
fn students_of_several_seeds_have_a_mean_and_a_deviation() {
    let scene = scene();
    for (out, seed) in [("two", "2"), ("three", "3")] {
        scene
            .train(out, &["--objective", "natural", "--limit", "1000", "--epochs", "3", "--seed", seed])
            .succeeds();
    }
    let asked = ["--limit", "80", "--eps", "0.03", "--attack", "pgd5", "--json", "-"];
    let run = |runs: &[&str]| {
        let mut arguments = vec!["eval"];
        arguments.extend(runs);
        arguments.extend(asked);
        serde_json::from_str::<Value>(&scene.run(&arguments).succeeds().stdout).unwrap()
    };
    let together = run(&["run", "two", "three"]);
    let each: Vec<f64> = ["run", "two", "three"].map(|out| run(&[out])["pgd5"].as_f64().unwrap()).into();
    assert_eq!(together["seeds"], 3);
    let mean = (each[0] + each[1] + each[2]) / 3.0;
    let variance = each.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2.0;
    assert!((together["mean"]["pgd5"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert!((together["standard_deviation"]["pgd5"].as_f64().unwrap() - variance.sqrt()).abs() < 1e-9);
    scene.train("other", &["--eps", "0.2"]).succeeds();
    scene
        .run(&["eval", "run", "other", "--attack", "fgsm"])
        .refused(2, &["for another eps: they have no mean"]);
    scene.run(&["eval", "run", "two", "--part", "0/2"]).refused(2, &["are for one student"]);
}

#[test]
fn a_surrogates_adversarial_images_break_fewer_than_the_students_own() {
    let scene = scene();
    scene
        .train("other", &["--objective", "natural", "--limit", "1000", "--epochs", "3", "--seed", "9"])
        .succeeds();
    let right = |more: &[&str]| {
        let mut arguments =
            vec!["eval", "run", "--limit", "200", "--eps", "0.1", "--attack", "pgd20", "--json", "-"];
        arguments.extend(more);
        let report: Value = serde_json::from_str(&scene.run(&arguments).succeeds().stdout).unwrap();
        (report["right"]["pgd20"].as_u64().unwrap(), report)
    };
    let (own, _) = right(&[]);
    let (other, report) = right(&["--surrogate", "other"]);
    assert_eq!(report["surrogate"]["architecture"], "tiny-cnn");
    let (clean, itself) = (report["right"]["clean"].as_u64().unwrap(), right(&["--surrogate", "run"]).0);
    assert!(own < other && other < clean, "{own} {other} {clean}");
    assert_eq!(itself, own, "the student is its own surrogate");
}

#[test]
fn adversarial_images_take_the_place_of_nothing_else() {
    let scene = scene();
    let student = scene.student("run");
    let to = |file: &str| {
        let place = ["--attack", "fgsm", "--eps", "0.1", "--limit", "20", "--save-adversarial", file];
        scene.run(&[&["eval", "run", "--state", "state", "--json", "report.json"], &place[..]].concat())
    };
    to("run/student.safetensors").refused(2, &["something else is there", "hint: name a new file"]);
    assert_eq!(scene.student("run"), student);
    to("/dev/null").refused(2, &["something else is there"]);
    to("report.json").refused(2, &["that is the file of --json"]);
    to("nowhere/x.safetensors").refused(2, &["its folder is not there"]);
    to("found.safetensors").succeeds();
    to("state/adversarial.f32").refused(2, &["that is in the --state folder"]);
    to("found.safetensors").succeeds();
}

#[test]
fn attacks_without_chance_run_once_whatever_the_restarts() {
    let scene = scene();
    let forwards = |attack: &str, restarts: &str| {
        let words = ["eval", "run", "--limit", "20", "--eps", "0.02", "--json", "-", "--attack", attack];
        let finished = scene.run(&[&words[..], &["--restarts", restarts]].concat()).succeeds();
        let report = untimed(&finished.stdout);
        report["outcomes"][1]["work"][0]["asked"]["forwards"].as_u64().unwrap()
    };
    for attack in ["fgsm", "fab-t:steps=5"] {
        assert_eq!(forwards(attack, "1"), forwards(attack, "3"), "{attack}");
    }
    assert!(forwards("pgd5", "1") < forwards("pgd5", "3"));
}

#[test]
fn convolutions_that_round_otherwise_are_another_evaluation() {
    let scene = scene();
    let words = ["eval", "run", "--limit", "20", "--attack", "fgsm", "--eps", "0.1", "--state", "state"];
    scene.run(&words).succeeds();
    scene.run(&[&words[..], &["--exact-conv"]].concat()).refused(2, &["differs in exact_conv"]);
    scene
        .run(&["eval", "run", "run/student.safetensors", "--attack", "fgsm"])
        .refused(2, &["the same student twice"]);
    let merge = ["eval", "--merge", "a.json", "--save-adversarial", "x.safetensors"];
    scene.run(&merge).refused(2, &["--merge", "--save-adversarial"]);
}
