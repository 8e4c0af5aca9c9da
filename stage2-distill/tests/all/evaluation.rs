//! What `distill eval` measures.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fixture::{Finished, Scene, untimed};

fn scores(scene: &Scene, more: &[&str]) -> serde_json::Value {
    let mut arguments = vec![
        "eval",
        "--student",
        "run/student.safetensors",
        "--data",
        "sample",
        "--limit",
        "200",
        "--json",
        "-",
    ];
    arguments.extend(more);
    let finished = scene.run(&arguments).succeeds();
    untimed(&finished.stdout)
}

fn percent(scores: &serde_json::Value, attack: &str) -> f64 {
    scores[attack].as_f64().unwrap()
}

/// A student good enough for an attack to have something to do.
fn trained(objective: &str) -> Scene {
    let scene = Scene::new();
    scene
        .train(
            "run",
            &["--objective", objective, "--limit", "2000", "--epochs", "2", "--set", "schedule=cosine"],
        )
        .succeeds();
    scene
}

#[test]
fn stronger_attacks_leave_fewer_images_right_and_eps_0_leaves_them_all() {
    let scene = trained("natural");
    let none = scores(&scene, &["--eps", "0", "--attack", "fgsm,pgd3"]);
    assert_eq!(none["fgsm"], none["clean"]);
    assert_eq!(none["pgd3"], none["clean"]);
    assert_eq!(none["findings"], serde_json::json!([]), "where nothing may be tried, nothing failed");
    assert!(percent(&none, "clean") > 70.0, "{none}");
    let some = scores(&scene, &["--eps", "0.1", "--attack", "fgsm,pgd20"]);
    assert_eq!(some["clean"], none["clean"]);
    assert!(percent(&some, "fgsm") < percent(&some, "clean"), "{some}");
    assert!(percent(&some, "pgd20") <= percent(&some, "fgsm"), "{some}");
    let twice = scores(&scene, &["--eps", "0.1", "--attack", "pgd20", "--restarts", "3"]);
    assert!(percent(&twice, "pgd20") <= percent(&some, "pgd20"), "an image must withstand every restart");
    assert_eq!(some["per_class"]["pgd20"].as_array().unwrap().len(), 10);
    let worst = some["worst_class"]["pgd20"].as_f64().unwrap();
    let lowest = some["per_class"]["pgd20"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .fold(100.0, f64::min);
    assert!((worst - lowest).abs() < 1e-12);
}

#[test]
fn batch_and_threads_change_no_result() {
    let scene = trained("natural");
    let one = scores(&scene, &["--eps", "0.05", "--attack", "pgd5"]);
    for more in [["--batch", "1"], ["--batch", "7"], ["--threads", "1"], ["--threads", "3"]] {
        let mut arguments = vec!["--eps", "0.05", "--attack", "pgd5"];
        arguments.extend(more);
        assert_eq!(scores(&scene, &arguments), one, "{more:?}");
    }
}

#[test]
fn the_table_fits_80_columns_and_names_every_attack() {
    let scene = trained("natural");
    let finished = scene.run(&[
        "eval",
        "--student",
        "run/student.safetensors",
        "--data",
        "sample",
        "--limit",
        "50",
        "--eps",
        "0.1",
    ]);
    let finished = finished.succeeds();
    for attack in ["clean", "fgsm", "pgd20"] {
        assert!(finished.stdout.lines().any(|line| line.starts_with(attack)), "{}", finished.stdout);
    }
    assert!(finished.stdout.lines().all(|line| line.chars().count() <= 80), "{}", finished.stdout);
}

#[test]
fn an_unknown_attack_is_answered_with_the_known_ones() {
    let scene = Scene::new();
    scene
        .run(&["eval", "--student", "x", "--data", "sample", "--attack", "pgd"])
        .refused(2, &["unknown attack `pgd`", "pgdN"]);
}

fn student_of(run: &str) -> [String; 2] {
    [format!("{run}/student.safetensors"), format!("{run}/best.safetensors")]
}

fn report(finished: &Finished) -> serde_json::Value {
    untimed(&finished.stdout)
}

#[test]
fn eps_and_step_come_from_the_run_unless_given_and_the_report_says_which() {
    let scene = Scene::new();
    scene.train("run", &["--step-size", "0.02"]).succeeds();
    let eval = |more: &[&str]| {
        scene.run(&[&["eval", "--limit", "20", "--attack", "pgd3", "--json", "-"], more].concat())
    };
    let own = report(&eval(&["run"]).succeeds());
    assert_eq!((&own["eps"], &own["step_size"]), (&"0.1".into(), &"0.02".into()));
    assert_eq!(
        (&own["eps_from"], &own["step_size_from"]),
        (&"run/config.toml".into(), &"run/config.toml".into())
    );
    assert_eq!(own["data"], "sample", "the data is the run's, too");
    let given = eval(&["run", "--eps", "0.2"]).succeeds();
    assert!(given.stderr.contains("warning: eps 0.2 is larger than the 0.1"), "{}", given.stderr);
    let given = report(&given);
    assert_eq!((&given["eps"], &given["step_size"]), (&"0.2".into(), &"0.05".into()));
    assert_eq!((&given["eps_from"], &given["step_size_from"]), (&"given".into(), &"eps / 4".into()));
    assert_eq!(given["trained_eps"], "0.1");
    // Away from its run nobody knows for which eps a student is, and no constant is right for all.
    std::fs::copy(scene.path("run/student.safetensors"), scene.path("lone.safetensors")).unwrap();
    eval(&["lone.safetensors", "--data", "sample"]).refused(2, &["for which eps", "hint: add --eps"]);
    eval(&["lone.safetensors", "--eps", "0.1"]).refused(2, &["on which data", "hint: add --data"]);
    let clean = ["eval", "lone.safetensors", "--data", "sample", "--limit", "20", "--attack", "clean"];
    let clean = scene.run(&[&clean[..], &["--json", "-"]].concat()).succeeds();
    assert_eq!(report(&clean)["eps"], serde_json::Value::Null);
    let table = scene.run(&["eval", "run", "--limit", "20"]).succeeds().stdout;
    assert!(table.contains("eps 0.1 in linf (run/config.toml), steps of 0.02 (run/config.toml)"), "{table}");
}

#[test]
fn a_runs_folder_stands_for_its_best_student_and_for_its_last_where_none_was_selected() {
    let scene = Scene::new();
    let eval = |student: &str| {
        let words = ["eval", student, "--limit", "50", "--attack", "pgd3", "--json", "-"];
        report(&scene.run(&words).succeeds())
    };
    scene.train("selected", &["--holdout", "30"]).succeeds();
    let [_, best] = student_of("selected");
    assert_eq!(eval("selected"), eval(&best));
    scene.train("plain", &["--holdout", "0"]).succeeds();
    let [last, _] = student_of("plain");
    assert_eq!(eval("plain"), eval(&last));
    assert_ne!(eval("plain")["weights_blake3"], eval("selected")["weights_blake3"]);
}

#[test]
fn a_report_says_what_made_it_and_how_sure_it_is() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let words = ["eval", "run", "--limit", "40", "--seed", "7", "--attack", "fgsm", "--json", "-"];
    let report = report(&scene.run(&words).succeeds());
    assert_eq!((&report["limit"], &report["seed"], &report["images"]), (&40.into(), &7.into(), &40.into()));
    assert!(report["engine"].as_str().unwrap().starts_with("cpu"), "{report}");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report.get("commit").is_some(), "null where git does not know it");
    for attack in ["clean", "fgsm"] {
        let [low, high] = [0, 1].map(|end| report["interval_95"][attack][end].as_f64().unwrap());
        let accuracy = percent(&report, attack);
        assert!(low <= accuracy && accuracy <= high && high - low > 5.0, "{attack}: {low} {accuracy} {high}");
    }
}

/// Multiplies a tensor of a safetensors file.
fn scale(path: &std::path::Path, tensor: &str, factor: f32) {
    let mut bytes = std::fs::read(path).unwrap();
    let head = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + head]).unwrap();
    let offset = |end: usize| 8 + head + header[tensor]["data_offsets"][end].as_u64().unwrap() as usize;
    for value in bytes[offset(0)..offset(1)].chunks_exact_mut(4) {
        let scaled = f32::from_le_bytes(value.try_into().unwrap()) * factor;
        value.copy_from_slice(&scaled.to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

/// Logits a thousand times as large decide the same, so the true accuracy under attack is the same; softmax saturates in
/// f32 and cross-entropy has no gradient. Reported of ART (#368) and AutoAttack (#108), among others.
#[test]
fn an_attack_that_could_not_move_is_counted_and_warned_about() {
    let scene = trained("natural");
    let eval = |student: &str| {
        let words = ["eval", student, "--data", "sample", "--limit", "100", "--eps", "0.1"];
        scene.run(&[&words[..], &["--attack", "fgsm,pgd20", "--json", "-"]].concat()).succeeds()
    };
    let sound = eval("run/student.safetensors");
    assert!(!sound.stderr.contains("vanished"), "{}", sound.stderr);
    let sound = report(&sound);
    assert_eq!(sound["vanished_gradients"], serde_json::json!({}));
    let large = scene.path("large.safetensors");
    std::fs::copy(scene.path("run/student.safetensors"), &large).unwrap();
    scale(&large, "linear.weight", 1000.0);
    scale(&large, "linear.bias", 1000.0);
    let flattered = eval("large.safetensors");
    assert!(flattered.stderr.contains("warning: pgd20: the gradient vanished at "), "{}", flattered.stderr);
    let flattered = report(&flattered);
    assert_eq!(flattered["clean"], sound["clean"], "no decision changes");
    let gap = percent(&flattered, "pgd20") - percent(&sound, "pgd20");
    let blind = flattered["vanished_gradients"]["pgd20"].as_f64().unwrap();
    assert!(
        gap > 5.0 && blind >= gap,
        "of 100 images {blind} were never moved, which gave {gap} points too many"
    );
}

#[test]
fn a_report_appears_whole_or_not_at_all_and_never_in_the_students_place() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let eval = |more: &[&str]| scene.run(&[&["eval", "--limit", "20", "--attack", "fgsm"], more].concat());
    let shown = eval(&["run", "--json", "-"]).succeeds().stdout;
    eval(&["run", "--json", "report.json"]).succeeds();
    let written = |name: &str| std::fs::read_to_string(scene.path(name)).unwrap();
    assert_eq!(untimed(&written("report.json")), untimed(&shown));
    let shown = written("report.json");
    // Refused before anything is looked at, and the old report stays.
    eval(&["nowhere", "--json", "report.json"]).refused(2, &["nowhere"]);
    eval(&["run", "--eps", "8", "--json", "report.json"]).refused(2, &["8/255"]);
    assert_eq!(written("report.json"), shown);
    eval(&["run", "--json", "nowhere/report.json"]).refused(2, &["there is no folder nowhere", "hint:"]);
    let student = scene.student("run");
    eval(&["run", "--json", "run/student.safetensors"]).refused(2, &["the student itself", "hint:"]);
    assert_eq!(scene.student("run"), student);
    let left: Vec<_> =
        std::fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the run and the report: {left:?}");
}

#[test]
fn ctrl_c_ends_an_evaluation_and_a_benchmark_within_a_pass() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let eval = ["eval", "run", "--attack", "pgd100000", "--batch", "1000", "--json", "report.json"];
    let bench =
        ["bench", "--student", "tiny-cnn", "--input", "1x28x28", "--batch", "64", "--repetitions", "100000"];
    for words in [&eval[..], &bench[..]] {
        let child = scene.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let signalled = Instant::now();
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let finished = Finished::of(&child.wait_with_output().unwrap());
        finished
            .refused(75, &["stopping after this pass; again to stop at once", "error: interrupted", "hint:"]);
        assert!(signalled.elapsed() < Duration::from_secs(20), "{words:?}");
    }
    assert!(!scene.path("report.json").exists());
}

/// How many of 200 PyTorch answers right is in `foreign.json`: `tests/golden/make_foreign.py`.
#[test]
fn a_foreign_network_is_judged_as_in_pytorch_with_what_it_normalises_with_and_without() {
    let scene = Scene::new();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/../stage1-label/tests/files");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(format!("{files}/foreign.json")).unwrap()).unwrap();
    let student = format!("{files}/foreign.pt");
    let judge = |more: &[&str]| {
        let common =
            ["eval", "--student", &student, "--data", "sample", "--limit", "200", "--attack", "clean"];
        scene.run(&[&common[..], &["--json", "-"], more].concat())
    };
    for (flags, name) in [(&[][..], "normalised"), (&["--normalize", "none"], "plain")] {
        let report: serde_json::Value = serde_json::from_str(&judge(flags).succeeds().stdout).unwrap();
        let right = expected["right_of_200"][name].as_f64().unwrap();
        assert!((report["clean"].as_f64().unwrap() - right / 2.0).abs() < 1e-9, "{name}: {report}");
    }
    judge(&["--mean", "0.5"]).refused(2, &["--std"]);
    judge(&["--weights-key", "ema"]).refused(2, &["no part `ema`", "hint:"]);
}

#[test]
fn a_report_takes_the_place_of_nothing_but_a_report() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let judge =
        |json: &str| scene.run(&["eval", "run", "--limit", "20", "--attack", "clean", "--json", json]);
    let config = std::fs::read(scene.path("run/config.toml")).unwrap();
    for taken in ["run/config.toml", "run/metrics.jsonl", "run/env.json", "run/student.safetensors"] {
        judge(taken).refused(2, &["--json", "hint: name another file"]);
    }
    assert_eq!(std::fs::read(scene.path("run/config.toml")).unwrap(), config);
    for folder in ["set", "set/shards"] {
        std::fs::create_dir(scene.path(folder)).unwrap();
    }
    std::fs::write(scene.path("set/manifest.json"), "{}").unwrap();
    judge("set/report.json").refused(2, &["in a label set"]);
    // Its own earlier report is written anew, through a link too.
    judge("report.json").succeeds();
    std::os::unix::fs::symlink("report.json", scene.path("link.json")).unwrap();
    judge("link.json").succeeds();
    assert!(scene.path("link.json").is_symlink());
    // A pipe is written into, and stays one.
    let pipe = scene.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    judge("pipe").succeeds();
    assert!(reader.join().unwrap().contains("\"clean\""));
    assert!(!std::fs::metadata(pipe).unwrap().is_file());
}

#[test]
fn a_report_says_what_the_images_were_normalised_with() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let judge = |more: &[&str]| {
        let words = ["eval", "run", "--limit", "20", "--attack", "clean", "--json", "-"];
        report(&scene.run(&[&words[..], more].concat()).succeeds())
    };
    assert_eq!(judge(&[])["normalisation"], serde_json::Value::Null);
    let found = judge(&["--mean", "0.5", "--std", "0.25"]);
    assert_eq!(found["normalisation"], serde_json::json!([[0.5], [0.25]]));
}
