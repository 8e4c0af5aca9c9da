//! `distill sweep`: many runs of one file, each as `distill train` and `distill eval` make it, and a table of them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{Finished, Scene};

/// Two objectives, two seeds: 130 digits, three batches an epoch.
const COMMON: &str = r#"
data = "sample"
student = "tiny-cnn"
limit = 130
batch = 50
steps = 2
eps = 0.1
seed = [0, 1]
objective = ["sat", "natural"]
"#;
const EVAL: &str = "[eval]\nattack = [\"clean\", \"pgd5\", \"apgd-ce\"]\nlimit = 60\n";
const RUNS: [&str; 4] = ["sat-seed0", "sat-seed1", "natural-seed0", "natural-seed1"];

/// A scene with this sweep in `runs.toml`.
fn scene(text: &str) -> Scene {
    let scene = Scene::new();
    write(&scene, text);
    scene
}

fn write(scene: &Scene, text: &str) {
    std::fs::write(scene.path("runs.toml"), text).unwrap();
}

fn file(epochs: usize) -> String {
    format!("epochs = {epochs}\n{COMMON}{EVAL}")
}

fn sweep(scene: &Scene, more: &[&str]) -> Finished {
    scene.run(&[&["sweep", "runs.toml", "--out", "all"], more].concat())
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap()
}

/// The table without how long anything took.
fn untimed(mut table: Value) -> Value {
    for part in ["groups", "runs"] {
        for row in table[part].as_array_mut().unwrap() {
            let row = if part == "runs" { &mut row["figures"] } else { row };
            assert!(!row["minutes"].take().is_null(), "{row}");
        }
    }
    table
}

/// The students are those of `distill train`, the figures those that `distill eval` finds of the runs' folders; mean and
/// deviation are compared with NumPy's in `verb/sweep/table.rs`.
#[test]
fn a_sweep_trains_and_judges_as_train_and_eval_do_and_does_nothing_twice() {
    let scene = scene(&file(2));
    let found = sweep(&scene, &["--json"]).succeeds();
    let table = json(&found);
    let names: Vec<&str> =
        table["runs"].as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, RUNS);
    for (name, objective, seed) in [("sat-seed1", "sat", "1"), ("natural-seed0", "natural", "0")] {
        scene.train("alone", &["--objective", objective, "--seed", seed, "--epochs", "2"]).succeeds();
        assert_eq!(scene.student("alone"), scene.student(&format!("all/{name}")), "{name}");
        std::fs::remove_dir_all(scene.path("alone")).unwrap();
    }
    let judge = [
        "eval",
        "all/sat-seed0",
        "all/sat-seed1",
        "--attack",
        "pgd5,apgd-ce",
        "--limit",
        "60",
        "--json",
        "-",
    ];
    let judged = json(&scene.run(&judge).succeeds());
    let group = &table["groups"][0];
    assert_eq!((&group["name"], &group["seeds"]), (&"sat".into(), &2.into()));
    for attack in ["clean", "pgd5", "apgd-ce"] {
        let spread = &group["accuracy"][attack];
        assert_eq!(spread["mean"], judged["mean"][attack], "{attack}");
        assert_eq!(spread["standard_deviation"], judged["standard_deviation"][attack], "{attack}");
        for (place, run) in [0, 1].into_iter().enumerate() {
            let worst = &table["runs"][run]["figures"]["worst_class"][attack];
            assert_eq!(worst, &judged["reports"][place]["worst_class"][attack]);
        }
    }

    let again = sweep(&scene, &["--json"]).succeeds();
    assert_eq!(json(&again), table, "the times of the first are kept");
    assert!(
        !again.stderr.contains("epoch ") && !again.stderr.contains("images of sample"),
        "{}",
        again.stderr
    );
    let text = sweep(&scene, &[]).succeeds().stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let markdown = std::fs::read_to_string(scene.path("all/table.md")).unwrap();
    for (shown, words) in
        [(&text, "minutes  teacher"), (&markdown, "| run | seeds | clean | pgd5 | apgd-ce |")]
    {
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn killed_at_any_moment_a_sweep_ends_in_the_same_table() {
    // Training is most of it, so that kills find it in all its states.
    let text = file(12);
    let whole = scene(&text);
    let began = Instant::now();
    let wanted = untimed(json(&sweep(&whole, &["--json"]).succeeds()));
    let took = began.elapsed();
    let scene = scene(&text);
    for _ in 0..9 {
        let mut command = scene.command(&["sweep", "runs.toml", "--out", "all"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took / 8);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let found = sweep(&scene, &["--json"]).succeeds();
    assert_eq!(untimed(json(&found)), wanted);
    for name in RUNS {
        let name = format!("all/{name}");
        assert_eq!(scene.student(&name), whole.student(&name), "{name}");
    }
}

#[test]
fn an_interrupt_ends_a_sweep_with_75_and_the_same_command_goes_on() {
    let scene = scene(&file(30));
    let mut command = scene.command(&["sweep", "runs.toml", "--out", "all"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !scene.path("all/sat-seed0/student.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_mins(1), "the first epoch ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let stopped = Finished::of(&child.wait_with_output().unwrap());
    stopped.refused(75, &["interrupted after step", "run the same command again"]);
    assert_eq!(stopped.stdout, "", "no table of what is not done");
    let resumed = sweep(&scene, &["--only", "0"]).succeeds();
    assert!(resumed.stderr.contains("resumed at step"), "{}", resumed.stderr);
}

#[test]
fn a_changed_file_is_refused_for_the_runs_that_it_changes_and_a_failed_run_keeps_no_other() {
    let two = |more: &str| {
        let common = COMMON.replace("objective = [\"sat\", \"natural\"]", "").replace("[0, 1]", "0");
        format!(
            "epochs = 1\n{common}[[run]]\nobjective = \"sat\"\n[[run]]\nname = \"plain\"\nobjective = \"natural\"\n{more}\n{EVAL}"
        )
    };
    let scene = scene(&two(""));
    sweep(&scene, &[]).succeeds();
    let before = std::fs::read(scene.path("all/plain/config.toml")).unwrap();
    write(&scene, &two("lr = 0.05"));
    let changed = sweep(&scene, &["--json"]);
    changed
        .refused(1, &["all/plain: holds a run with other settings", "lr: 0.1, 0.05", "1 of 2 runs failed"]);
    let table = json(&changed);
    assert!(table["runs"][0]["figures"]["accuracy"]["pgd5"].is_number(), "{table}");
    assert!(table["runs"][1]["figures"].is_null(), "what was found of other settings is not shown: {table}");
    assert_eq!(std::fs::read(scene.path("all/plain/config.toml")).unwrap(), before);

    write(&scene, &two("lr = 1e30").replace("plain", "steep"));
    let diverged = sweep(&scene, &[]);
    diverged.refused(1, &["steep: epoch 1, step", "1 of 2 runs failed"]);
    assert!(diverged.stdout.contains("\nsteep failed: epoch 1, step"), "{}", diverged.stdout);
    assert!(diverged.stdout.contains("\nsat "), "{}", diverged.stdout);
}

/// The file that a run's verdicts are in, and the folder beside it that says how far judging is.
fn verdicts(scene: &Scene, run: &str) -> [std::path::PathBuf; 2] {
    let inside = std::fs::read_dir(scene.path(&format!("all/{run}"))).unwrap();
    let mut reports = inside.map(|entry| entry.unwrap().path().join("report.json"));
    let report = reports.find(|path| path.exists()).unwrap();
    [report.clone(), report.with_file_name("state")]
}

/// A card's engine is named after what its attacks are stored in, as `cuda.rs` sees on an emulated one. Right are the
/// verdicts of a sweep that was never anything but in f32.
#[test]
fn verdicts_of_a_lesser_precision_and_half_of_others_are_found_anew_and_never_mixed() {
    let text = file(1).replace("[\"sat\", \"natural\"]", "\"sat\"");
    let scene = scene(&text);
    let wanted = json(&sweep(&scene, &["--json"]).succeeds());
    assert!(wanted["runs"][0]["figures"].get("precision").is_none(), "{wanted}");
    let [first, second] = [0, 1].map(|run| wanted["runs"][run]["name"].as_str().unwrap());
    let [report, state] = verdicts(&scene, first);
    let mut coarse: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    coarse["engine"] = "cuda-bf16".into();
    std::fs::write(&report, coarse.to_string()).unwrap();
    assert!(state.exists(), "what is kept there is of f32, so that half of it is of another engine");
    let found = sweep(&scene, &["--json", "--isa", "portable"]).succeeds();
    assert!(
        found.stderr.contains(&format!("{first}: judged in bf16 before, and anew now")),
        "{}",
        found.stderr
    );
    assert!(
        found.stderr.contains("beginning anew, since what is kept differs in engine"),
        "{}",
        found.stderr
    );
    assert!(!found.stderr.contains(&format!("{second}: judged")), "{}", found.stderr);
    assert_eq!(json(&found), wanted);
    let anew: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(anew["engine"], "cpu-portable");
}

#[test]
fn runs_done_one_by_one_make_the_table_of_a_sweep() {
    let scene = scene(&file(1));
    let printed = sweep(&scene, &["--print", "--threads", "2"]).succeeds().stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), RUNS.len());
    assert!(!scene.path("all").exists(), "nothing is done");
    for (line, name) in lines.iter().zip(RUNS) {
        assert!(line.contains(" sweep runs.toml --out all --threads 2 --only "), "{line}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", line]).current_dir(scene.path("."));
        let finished = Finished::of(&shell.output().unwrap()).succeeds();
        assert!(
            finished.stdout.contains(&format!("\n{} ", name.split('-').next().unwrap())),
            "{}",
            finished.stdout
        );
        assert!(scene.path("all").join(name).join("trained.json").exists(), "{line}");
    }
    let table = sweep(&scene, &["--json"]).succeeds();
    assert!(!table.stderr.contains("epoch "), "{}", table.stderr);
    assert_eq!(json(&table)["groups"].as_array().unwrap().len(), 2);
    sweep(&scene, &["--only", "4"]).refused(2, &["it has no run 4, the last is 3", "hint:"]);
}

/// `AdaAD` asks at each of its ten attack steps and once about what they found (arXiv:2303.05754, `boyellow/AdaAD`);
/// RSLAD asks once about each clean view (arXiv:2108.07969), and of a label set nobody.
#[test]
fn the_teachers_forwards_are_those_that_each_method_is_known_to_cost() {
    let scene = Scene::new();
    scene.train("teacher", &["--epochs", "1"]).succeeds();
    scene.labels("labels");
    let common = COMMON.replace("objective = [\"sat\", \"natural\"]", "").replace("seed = [0, 1]", "");
    let taught = "teacher = \"teacher/student.safetensors\"\n";
    write(
        &scene,
        &format!(
            "epochs = 2\naugment = \"none\"\n{common}\n[[run]]\nobjective = \"sat\"\n[[run]]\nobjective = [\"rslad\", \"adaad\"]\nsteps = 10\n{taught}\n[[run]]\nobjective = \"rslad\"\nlabels = \"labels\"\naugment = \"unset\"\n[eval]\nattack = [\"clean\"]\nlimit = 10\n"
        ),
    );
    let table = json(&sweep(&scene, &["--json"]).succeeds());
    let asked: Vec<u64> = table["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["figures"]["teacher_forwards"].as_u64().unwrap() / (2 * 130))
        .collect();
    assert_eq!(asked, [0, 1, 11, 0]);
    let name = table["runs"][2]["name"].as_str().unwrap();
    assert_eq!(name, "adaad-steps10-teacher-student.safetensors");
}

#[test]
fn what_is_wrong_with_a_file_is_said_before_anything_runs() {
    let scene = Scene::new();
    let refused = |text: &str, words: &[&str]| {
        write(&scene, &format!("{COMMON}{text}"));
        sweep(&scene, &[]).refused(2, words);
        assert!(!scene.path("all").exists(), "{text}");
    };
    refused("epoch = 3", &["runs.toml line 10: unknown setting `epoch`", "did you mean `epochs`?"]);
    refused("[[run]]\nlr = -1\n", &["runs.toml line 11: lr = -1", "Base learning rate"]);
    refused("[[run]]\nlr = []\n", &["line 11: lr is an empty list", "hint:"]);
    refused(
        "[run]\nlr = 1\n",
        &["line 10: `run` is no list of tables", "hint: begin each group of runs with [[run]]"],
    );
    refused("[[run]]\n[[run]]\n", &["two of its 8 runs are named sat-seed0", "hint:"]);
    refused("[options]\nbeta = 3\n", &["run sat-seed0", "objective sat has no option `beta`", "hint:"]);
    refused(
        "[eval]\natack = \"clean\"\n",
        &["runs.toml [eval]: unexpected argument '--atack'", "flags of `distill eval`"],
    );
    refused("[eval]\nattack = \"pdg20\"\n", &["unknown attack `pdg20`", "known: clean, fgsm, pgdN"]);
    refused("[eval]\njson = \"x\"\n", &["json is not for a sweep to choose", "hint:"]);
    let long = "x".repeat(300);
    refused(
        &format!("[[run]]\nlabels = \"{long}\"\n"),
        &["would have a name of", "wanted at most 255", "hint:"],
    );
    refused("lr 3\n", &["not TOML, line 10", "hint:"]);
    scene
        .run(&["sweep", "none.toml", "--out", "all"])
        .refused(2, &["cannot read none.toml", "hint: check the path"]);
}

/// One value of several numbers stays one; a list of them is crossed; a block lays its value over the common one under
/// whatever name.
#[test]
fn lists_are_crossed_and_blocks_are_laid_over() {
    let text = "milestones = [1, 2]\nepochs = 3\n[[run]]\nlearning_rate = [0.1, 0.05]\nobjective = \"sat\"\n[[run]]\nname = \"late\"\nlr = 1\nseed = 7\nmilestones = [[1, 2], [2]]\n[[run]]\nobjective = \"trades\"\n[run.options]\nbeta = [3, 6]\n";
    let scene = scene(&format!("{COMMON}lr = 0.2\n{text}"));
    let printed = sweep(&scene, &["--print"]).succeeds().stdout;
    let names: Vec<&str> = printed.lines().map(|line| line.split("# ").nth(1).unwrap()).collect();
    assert_eq!(
        names,
        [
            "sat-lr0.1-seed0",
            "sat-lr0.1-seed1",
            "sat-lr0.05-seed0",
            "sat-lr0.05-seed1",
            "late-sat-milestones1_2",
            "late-sat-milestones2",
            "late-natural-milestones1_2",
            "late-natural-milestones2",
            "trades-beta3-seed0",
            "trades-beta3-seed1",
            "trades-beta6-seed0",
            "trades-beta6-seed1",
        ]
    );
}
