//! What `distill eval` measures.

use crate::fixture::Scene;

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
    serde_json::from_str(&finished.stdout).unwrap()
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
