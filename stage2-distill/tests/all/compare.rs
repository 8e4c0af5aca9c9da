//! `distill compare`: runs beside each other, from the files that `distill train` and `distill eval` left.

use serde_json::{Value, json};

use crate::fixture::{Finished, Scene};

/// Two runs that differ in objective and seed, the first judged in its folder, the second beside it.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.train("runs/sat", &["--epochs", "2"]).succeeds();
    scene.train("runs/plain", &["--epochs", "1", "--objective", "natural", "--seed", "3"]).succeeds();
    judge(&scene, "sat", "pgd5", "runs/sat/pgd.json");
    judge(&scene, "plain", "pgd5", "runs/plain.json");
    scene
}

fn judge(scene: &Scene, run: &str, attack: &str, file: &str) {
    let run = format!("runs/{run}");
    scene.run(&["eval", &run, "--attack", attack, "--limit", "100", "--json", file]).succeeds();
}

fn read(scene: &Scene, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(scene.path(file)).unwrap()).unwrap()
}

/// The evaluation in `file` as if so many images had withstood an attack of this name.
fn rewrite(scene: &Scene, file: &str, to: &str, attack: &str, standing: usize) {
    let mut report = read(scene, file);
    let outcome = &mut report["outcomes"][1];
    outcome["suite"] = json!(attack);
    let fates = outcome["fates"].as_array_mut().unwrap();
    for (place, fate) in fates.iter_mut().enumerate() {
        *fate = json!(if place < standing { -2 } else { 0 });
    }
    std::fs::write(scene.path(to), report.to_string()).unwrap();
}

fn compared(scene: &Scene) -> Value {
    serde_json::from_str(&scene.run(&["compare", "runs", "--json"]).succeeds().stdout).unwrap()
}

fn table(scene: &Scene) -> Finished {
    let found = scene.run(&["compare", "runs/sat", "runs/plain"]).succeeds();
    for line in found.stdout.lines() {
        assert!(line.chars().count() <= 80 || line.contains("--json"), "{line}");
    }
    found
}

/// The attack's figures in a run of a comparison.
fn figure<'a>(compared: &'a Value, run: &str, attack: &str) -> &'a Value {
    let run = compared["runs"].as_array().unwrap().iter().find(|side| side["name"] == run).unwrap();
    run["figures"].as_array().unwrap().iter().find(|found| found["attack"] == attack).unwrap_or(&Value::Null)
}

#[test]
fn a_comparison_says_of_each_run_what_its_evaluation_says_wherever_that_lies() {
    let scene = scene();
    let compared = compared(&scene);
    for (run, file) in [("sat", "runs/sat/pgd.json"), ("plain", "runs/plain.json")] {
        let report = read(&scene, file);
        for attack in ["clean", "pgd5"] {
            let found = figure(&compared, run, attack);
            assert_eq!(found["accuracy"], report[attack], "{run} {attack}");
            assert_eq!(found["right"], report["right"][attack], "{run} {attack}");
            assert_eq!(found["interval_95"], report["interval_95"][attack], "{run} {attack}");
            assert_eq!(found["worst_class"]["accuracy"], report["worst_class"][attack], "{run} {attack}");
            assert_eq!(found["is_upper_bound"], attack == "pgd5");
        }
    }
    let differences: Vec<&str> = compared["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["setting"].as_str().unwrap())
        .collect();
    assert_eq!(differences, ["objective", "epochs", "seed"]);
    let said = table(&scene).stdout;
    assert!(said.contains("<pgd5"), "{said}");
    assert!(
        said.contains("not known of sat, plain; to know it:\n  distill eval runs/sat --attack autoattack"),
        "{said}"
    );
}

/// Wilson's interval of 83 of 100 is 74.45 to 89.11 by `scipy.stats.binomtest(83, 100).proportion_ci(method='wilson')`.
#[test]
fn the_standard_evaluation_comes_before_upper_bounds_and_more_images_count_more() {
    let scene = scene();
    rewrite(&scene, "runs/sat/pgd.json", "runs/sat/later.json", "autoattack", 83);
    let said = table(&scene).stdout;
    let head = said.lines().nth(1).unwrap();
    assert!(head.find("autoattack").unwrap() < head.find("<pgd5").unwrap(), "{said}");
    assert!(said.contains("83.00"), "{said}");
    assert!(said.contains("74.5-89.1"), "{said}");
    assert!(said.contains("not known of plain;"), "{said}");
    // 50 images say less than 100, and another ball is another question.
    scene
        .run(&["eval", "runs/sat", "--attack", "pgd5", "--limit", "50", "--json", "runs/sat/z.json"])
        .succeeds();
    scene
        .run(&[
            "eval",
            "runs/sat",
            "--attack",
            "pgd5",
            "--eps",
            "0.2",
            "--limit",
            "50",
            "--json",
            "runs/sat/a.json",
        ])
        .succeeds();
    let compared = compared(&scene);
    assert_eq!(figure(&compared, "sat", "pgd5")["images"]["count"], 100);
    let balls = compared["attacks"].as_array().unwrap().iter().filter(|of| of["attack"] == "pgd5");
    let balls: Vec<&Value> = balls.map(|of| &of["against"]["eps"]).collect();
    assert_eq!(balls, ["0.1", "0.2"], "the ball that it trained for comes first");
    assert!(table(&scene).stdout.contains("several balls"));
}

#[test]
fn evaluations_of_other_weights_are_left_out_and_damaged_ones_refused() {
    let scene = scene();
    std::fs::copy(scene.path("runs/plain.json"), scene.path("runs/sat/pgd.json")).unwrap();
    let compared = compared(&scene);
    assert_eq!(figure(&compared, "sat", "pgd5"), &Value::Null);
    let notes = compared["notes"].to_string();
    assert!(notes.contains("runs/sat/pgd.json is of other weights and left out"), "{notes}");
    let mut report = read(&scene, "runs/plain.json");
    report["labels"][0] = json!(10);
    std::fs::write(scene.path("runs/plain.json"), report.to_string()).unwrap();
    scene
        .run(&["compare", "runs"])
        .refused(2, &["runs/plain.json", "label 10 of 10 classes", "hint: judge again"]);
}

#[test]
fn an_evaluation_cut_short_is_said_to_be_left_out() {
    let scene = scene();
    for file in ["runs/sat/pgd.json", "runs/plain.json"] {
        let whole = std::fs::read_to_string(scene.path(file)).unwrap();
        let weights = whole.find("weights_blake3").unwrap();
        std::fs::write(scene.path(file), &whole[..weights + 100]).unwrap();
    }
    let compared = compared(&scene);
    let notes = compared["notes"].to_string();
    for note in ["sat: runs/sat/pgd.json: a damaged", "plain: runs/plain.json: a damaged"] {
        assert!(notes.contains(&format!("{note} evaluation, left out")), "{notes}");
    }
    assert_eq!(compared["notes"].as_array().unwrap().len(), 2, "each is of its own run alone");
    scene.run(&["report", "runs/sat", "--images", "0"]).succeeds();
    let page = std::fs::read_to_string(scene.path("runs/sat/report.html")).unwrap();
    assert!(page.contains("runs/sat/pgd.json: a damaged evaluation, left out."));
}

#[test]
fn a_run_whose_log_is_gone_or_damaged_is_not_called_unfinished() {
    let scene = Scene::new();
    scene.train("run", &["--epochs", "1"]).succeeds();
    let notes = || {
        let said = scene.run(&["compare", "run", "--json"]).succeeds().stdout;
        let compared: Value = serde_json::from_str(&said).unwrap();
        (compared["runs"][0]["epochs"].clone(), compared["notes"].clone())
    };
    let log = scene.path("run/metrics.jsonl");
    let whole = std::fs::read_to_string(&log).unwrap();
    assert_eq!(notes(), (json!(1), json!([])));
    std::fs::write(&log, format!("{{\"lo\n{whole}")).unwrap();
    assert_eq!(notes(), (json!(1), json!(["run: 1 line of metrics.jsonl could not be read"])));
    std::fs::write(&log, "{\"epoch\":1,\"loss\":null,\"step\":3}\n{\"lo").unwrap();
    let unread = "run: 2 lines of metrics.jsonl could not be read: how far it came is not known";
    assert_eq!(notes(), (Value::Null, json!([unread])));
    let gone = "run: its log is gone: how far it came is not known";
    std::fs::write(&log, "").unwrap();
    assert_eq!(notes(), (Value::Null, json!([gone])));
    std::fs::remove_file(&log).unwrap();
    assert_eq!(notes(), (Value::Null, json!([gone])));
    scene.run(&["report", "run", "--images", "0"]).succeeds();
    let page = std::fs::read_to_string(scene.path("run/report.html")).unwrap();
    assert!(page.contains(gone) && !page.contains("No step was logged yet"));
}

#[test]
fn a_student_cut_short_is_said_to_be_damaged_and_not_to_be_judged() {
    let scene = Scene::new();
    scene.train("run", &["--epochs", "1", "--holdout", "0"]).succeeds();
    let student = scene.student("run");
    for kept in [student.len() - 1, 100, 0] {
        std::fs::write(scene.path("run/student.safetensors"), &student[..kept]).unwrap();
        let compared: Value =
            serde_json::from_str(&scene.run(&["compare", "run", "--json"]).succeeds().stdout).unwrap();
        let notes = compared["notes"].as_array().unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0].as_str().unwrap().starts_with("run: run/student.safetensors is damaged: "),
            "{notes:?}"
        );
        assert_eq!(compared["runs"][0]["to_judge"], Value::Null);
    }
    for images in ["0", "20"] {
        scene.run(&["report", "run", "--images", images]).succeeds();
        let page = std::fs::read_to_string(scene.path("run/report.html")).unwrap();
        assert!(page.contains("run/student.safetensors is damaged: "));
        // No command can judge it, or measure anything of it: none is offered.
        assert!(!page.contains("distill eval") && !page.contains("distill report run"), "--images {images}");
    }
}

#[test]
fn a_run_that_is_not_judged_or_not_done_is_shown_with_what_to_run() {
    let scene = Scene::new();
    scene.train("<script>", &["--epochs", "1"]).succeeds();
    // Other programs' files, in the run's folder and beside it.
    std::fs::write(scene.path("<script>/notes.json"), [b'"', 0xff, b'"']).unwrap();
    std::fs::write(scene.path("notes.json"), "{\"weights_blake3\": 1}").unwrap();
    let said = scene.run(&["compare", "<script>"]).succeeds().stdout;
    assert!(
        said.contains("distill eval '<script>' --attack autoattack --json '<script>/autoattack.json'"),
        "{said}"
    );
    std::fs::create_dir(scene.path("empty")).unwrap();
    scene.run(&["compare", "empty"]).refused(2, &["empty: no run's folder", "hint: pass the --out"]);
    scene.run(&["compare", "nowhere"]).refused(2, &["nowhere: no such folder"]);
    scene
        .run(&["compare", "<script>", "--device", "cuda"])
        .refused(2, &["--device", "runs none", "hint: leave it out"]);
}
