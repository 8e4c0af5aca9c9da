//! A run that is stopped, killed or damaged ends where an undisturbed one does.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fixture::{Finished, Scene, checkpoints, flip_a_bit, state_of};

#[test]
fn killed_at_any_moment_and_run_again_it_ends_with_the_same_student() {
    let scene = Scene::new();
    let more = ["--holdout", "30"];
    let began = Instant::now();
    scene.train("whole", &more).succeeds();
    let whole = began.elapsed();
    let best = std::fs::read(scene.path("whole/best.safetensors")).unwrap();
    for round in 0..6u32 {
        let out = format!("killed{round}");
        let arguments = Scene::training(&out, &more);
        // Up to three kills, spread over the time that the whole run takes; the last call runs to its end.
        for kill in 0..3u32 {
            let mut child = scene.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole * (round * 3 + kill + 1) / 20);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        scene.run(&arguments).succeeds();
        assert_eq!(scene.student(&out), scene.student("whole"), "round {round}");
        assert_eq!(std::fs::read(scene.path(&out).join("best.safetensors")).unwrap(), best, "round {round}");
        let lines = |out: &str| {
            std::fs::read_to_string(scene.path(out).join("metrics.jsonl")).unwrap().lines().count()
        };
        assert_eq!(lines(&out), lines("whole"), "metrics are cut back to the checkpoint");
    }
}

/// A run that is interrupted soon after its first epoch, and run again.
fn interrupted(scene: &Scene, signal: &str, more: &[&str]) {
    let arguments = Scene::training("stopped", more);
    let child = scene.command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !scene.path("stopped/student.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_mins(1), "the first epoch ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    let finished = Finished::of(&child.wait_with_output().unwrap());
    finished.refused(75, &["interrupted after step", "run the same command again"]);
    finished.refused(75, &["stopping after this step; again to stop at once"]);
    let step = finished.stderr.split("interrupted after step ").nth(1).unwrap();
    let step = step.split_whitespace().next().unwrap();
    let resumed = scene.run(&arguments).succeeds();
    assert!(resumed.stderr.contains(&format!("resumed at step {step} of ")), "{}", resumed.stderr);
}

#[test]
fn an_interrupt_saves_the_step_and_exits_75() {
    let scene = Scene::new();
    scene.train("whole", &["--epochs", "40"]).succeeds();
    interrupted(&scene, "-INT", &["--epochs", "40"]);
    assert_eq!(scene.student("stopped"), scene.student("whole"));
}

#[test]
fn a_moving_average_is_what_is_published_and_survives_an_interrupt() {
    let scene = Scene::new();
    let more = ["--ema", "0.9", "--epochs", "40", "--holdout", "30"];
    scene.train("whole", &more).succeeds();
    interrupted(&scene, "-TERM", &more);
    assert_eq!(scene.student("stopped"), scene.student("whole"));
    scene.train("plain", &more[2..]).succeeds();
    assert_ne!(scene.student("plain"), scene.student("whole"));
    scene.train("nothing", &["--ema", "0", "--epochs", "40", "--holdout", "30"]).succeeds();
    assert_eq!(scene.student("nothing"), scene.student("plain"), "what keeps nothing is the student itself");
    let other = scene.train("whole", &["--average", "0.5", "--epochs", "40", "--holdout", "30"]);
    other.refused(2, &["ema: 0.9, 0.5"]);
    // What it was called before, as commands and records of older runs have it.
    let record = scene.path("whole/config.toml");
    let older = std::fs::read_to_string(&record).unwrap().replace("\nema = ", "\naverage = ");
    assert!(older.contains("\naverage = 0.9\n"), "{older}");
    std::fs::write(&record, older).unwrap();
    let again = scene.train("whole", &["--average", "0.9", "--epochs", "40", "--holdout", "30"]).succeeds();
    assert!(again.stderr.contains("at its end already"), "{}", again.stderr);
}

#[test]
fn the_mean_of_the_ends_of_epochs_is_what_is_published_and_survives_kills_and_interrupts() {
    let scene = Scene::new();
    let more = ["--swa", "from:0.2", "--epochs", "40", "--holdout", "30"];
    let began = Instant::now();
    scene.train("whole", &more).succeeds();
    let whole = began.elapsed();
    let best = |run: &str| std::fs::read(scene.path(run).join("best.safetensors")).unwrap();
    interrupted(&scene, "-USR1", &more);
    assert_eq!(scene.student("stopped"), scene.student("whole"));
    let arguments = Scene::training("killed", &more);
    for kill in 1..7u32 {
        let mut child = scene.command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(whole * kill / 20);
        // By turns while it works and, asked first, between its steps: in an epoch, an average or a judging.
        if kill % 2 == 0 {
            std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        } else {
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
    scene.run(&arguments).succeeds();
    assert_eq!(scene.student("killed"), scene.student("whole"));
    assert_eq!([best("stopped"), best("killed")], [best("whole"), best("whole")]);
    scene.train("plain", &more[2..]).succeeds();
    assert_ne!(scene.student("plain"), scene.student("whole"));
}

/// The mean of one student is that student, with statistics of its own: the last epoch alone is at a share of 0.9.
#[test]
fn the_mean_of_one_end_has_the_students_weights_and_other_statistics() {
    let scene = Scene::new();
    scene.train("plain", &["--epochs", "2"]).succeeds();
    scene.train("mean", &["--epochs", "2", "--swa", "from:0.9"]).succeeds();
    let tensors = |run: &str| {
        let file = weights::read(&scene.path(run).join("student.safetensors")).unwrap();
        file.iter().map(|(name, tensor)| (name.to_string(), tensor.to_f64())).collect::<Vec<_>>()
    };
    let (plain, mean) = (tensors("plain"), tensors("mean"));
    assert_eq!(plain.len(), mean.len());
    for ((name, plain), (_, mean)) in plain.iter().zip(&mean) {
        let measured = name.contains("running_") || name.contains("num_batches");
        assert_eq!(plain == mean, !measured, "{name}");
    }
}

/// What a run's newest checkpoint says its objective remembers.
fn remembered(run: &Path) -> serde_json::Value {
    state_of(&checkpoints(run).pop().unwrap())["objective"].clone()
}

#[test]
fn what_an_objective_learned_about_its_classes_survives_an_interrupt() {
    let scene = Scene::new();
    scene.train("teacher", &["--epochs", "1"]).succeeds();
    let more = [
        "--objective",
        "absld",
        "--teacher",
        "teacher/student.safetensors",
        "--epochs",
        "40",
        "--holdout",
        "30",
    ];
    scene.train("whole", &more).succeeds();
    interrupted(&scene, "-INT", &more);
    assert_eq!(scene.student("stopped"), scene.student("whole"));
    let remembers = remembered(&scene.path("whole"));
    assert_eq!(remembered(&scene.path("stopped")), remembers);
    let temperatures = remembers["temperature-adversarial"].as_array().unwrap();
    assert_eq!(temperatures.len(), 10);
    assert!(temperatures.iter().any(|temperature| temperature != 1.0), "{remembers}");
    assert_eq!(remembered(&scene.path("teacher")), serde_json::Value::Null, "others have no such section");
}

#[test]
fn a_run_with_few_labels_survives_an_interrupt() {
    let scene = Scene::new();
    let more = ["--objective", "snord", "--labelled", "0.2", "--ema", "0.9", "--epochs", "20"];
    scene.train("whole", &more).succeeds();
    interrupted(&scene, "-TERM", &more);
    assert_eq!(scene.student("stopped"), scene.student("whole"));
    let other = [&more[..], &["--label-seed", "1"]].concat();
    scene.train("whole", &other).refused(2, &["label-seed: 0, 1"]);
    scene.train("other", &other).succeeds();
    assert_ne!(scene.student("other"), scene.student("whole"), "other images have their labels");
}

#[test]
fn what_is_trained_beside_the_student_survives_kills_and_an_interrupt() {
    let scene = Scene::new();
    scene.train("teacher", &["--epochs", "1"]).succeeds();
    let more = [
        "--objective",
        "kd",
        "--set",
        "dpk=0.5",
        "--taps",
        "bn4.relu,bn2.relu",
        "--teacher",
        "teacher/student.safetensors",
        "--epochs",
        "20",
    ];
    let began = Instant::now();
    scene.train("whole", &more).succeeds();
    let whole = began.elapsed();
    interrupted(&scene, "-USR1", &more);
    assert_eq!(scene.student("stopped"), scene.student("whole"));
    let arguments = Scene::training("killed", &more);
    for kill in 1..4u32 {
        let mut child = scene.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * kill / 8);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    scene.run(&arguments).succeeds();
    assert_eq!(scene.student("killed"), scene.student("whole"));
    let newest = |run: &str| std::fs::read(checkpoints(&scene.path(run)).pop().unwrap()).unwrap();
    let heads = |run: &str| {
        let path = scene.path(&format!("{run}-heads.safetensors"));
        std::fs::write(&path, newest(run)).unwrap();
        let file = weights::read(&path).unwrap();
        let heads = file.iter().filter(|(name, _)| name.starts_with("head"));
        heads.map(|(name, tensor)| (name.to_string(), tensor.to_f64())).collect::<Vec<_>>()
    };
    let kept = heads("whole");
    assert!(kept.iter().any(|(name, _)| name == "head/dpk.1.decoder.head.weight"));
    assert!(kept.iter().any(|(name, _)| name.starts_with("head-velocity/dpk.0.")));
    assert_eq!([heads("stopped"), heads("killed")], [kept.clone(), kept]);
    assert!(
        !String::from_utf8_lossy(&scene.student("whole")).contains("dpk"),
        "the student is without its heads"
    );
    let plain = ["--objective", "kd", "--teacher", "teacher/student.safetensors", "--epochs", "20"];
    scene.train("plain", &plain).succeeds();
    assert_ne!(scene.student("plain"), scene.student("whole"), "they teach the student something");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_the_student_is_the_same() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let whole = scene.student("run");
    let newest = checkpoints(&scene.path("run")).pop().unwrap();
    let middle = std::fs::metadata(&newest).unwrap().len() as usize / 2;
    flip_a_bit(&newest, middle);
    let again = scene.train("run", &[]).succeeds();
    assert!(again.stderr.contains("warning: passed over"), "{}", again.stderr);
    assert_eq!(scene.student("run"), whole);
}

#[test]
fn threads_do_not_change_a_byte() {
    let scene = Scene::new();
    scene.train("one", &["--threads", "1"]).succeeds();
    scene.train("two", &["--threads", "2"]).succeeds();
    scene.train("three", &["--threads", "3"]).succeeds();
    assert_eq!(scene.student("one"), scene.student("two"));
    assert_eq!(scene.student("one"), scene.student("three"));
    scene.train("other-seed", &["--seed", "1"]).succeeds();
    assert_ne!(scene.student("one"), scene.student("other-seed"));
}

/// Its products are not the engine's: they run on as many threads as rayon has.
#[test]
fn threads_do_not_change_what_is_trained_beside_the_student() {
    let scene = Scene::new();
    scene.train("teacher", &["--epochs", "1"]).succeeds();
    for (out, threads, of_rayon) in [("one", "1", "1"), ("three", "3", "3")] {
        let more =
            ["--objective", "kd", "--set", "dpk=2", "--taps", "bn2.relu,bn1.relu", "--threads", threads];
        let teacher = ["--teacher", "teacher/student.safetensors"];
        let more = [&more[..], &teacher].concat();
        let mut command = scene.command(&Scene::training(out, &more));
        Finished::of(&command.env("RAYON_NUM_THREADS", of_rayon).output().unwrap()).succeeds();
    }
    assert_eq!(scene.student("one"), scene.student("three"));
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let student = scene.student("run");
    let again = scene.train("run", &[]).succeeds();
    assert!(again.stderr.contains("at its end already"), "{}", again.stderr);
    assert!(!again.stderr.contains("resum"), "nothing is resumed: {}", again.stderr);
    assert_eq!(scene.student("run"), student);
    // Files that went missing come back where the checkpoint holds them, and are said where it does not.
    std::fs::remove_file(scene.path("run/student.safetensors")).unwrap();
    std::fs::remove_file(scene.path("run/metrics.jsonl")).unwrap();
    scene.train("run", &[]).succeeds();
    assert_eq!(scene.student("run"), student);
    assert_eq!(std::fs::read(scene.path("run/metrics.jsonl")).unwrap(), b"");
}

/// What is logged, without the time that it took.
fn logged(scene: &Scene, out: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(scene.path(out).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .map(|mut line| {
            line.as_object_mut().unwrap().retain(|key, _| !key.contains("seconds"));
            line
        })
        .collect()
}

#[test]
fn a_run_made_longer_ends_where_a_longer_one_does() {
    let scene = Scene::new();
    let with = |epochs| ["--epochs", epochs, "--milestones", "2,3", "--holdout", "30", "--ema", "0.9"];
    scene.train("long", &with("4")).succeeds();
    scene.train("run", &with("2")).succeeds();
    let short = scene.student("run");
    // Shorter is another run.
    scene.train("run", &with("1")).refused(2, &["epochs: 2, 1", "hint:"]);
    scene.train("run", &with("4")).succeeds();
    assert_ne!(scene.student("run"), short);
    assert_eq!(scene.student("run"), scene.student("long"));
    assert_eq!(logged(&scene, "run"), logged(&scene, "long"));
    let best = |out| std::fs::read(scene.path(out).join("best.safetensors")).unwrap();
    assert_eq!(best("run"), best("long"));
    let again = scene.train("run", &with("4")).succeeds();
    assert!(again.stderr.contains("at its end already"), "{}", again.stderr);
}

/// RSLAD's schedule is scaled to the run's length.
#[test]
fn a_run_that_would_have_been_another_is_not_made_longer() {
    let scene = Scene::new();
    scene.train("run", &["--epochs", "9"]).succeeds();
    let student = scene.student("run");
    scene.train("run", &["--epochs", "18"]).refused(
        2,
        &[
            "a run of 9 epochs, which cannot become one of 18",
            "its epoch 7 ran at a rate of 0.01, one of 18 would at 0.1",
            "hint: --milestones 6,7,8",
        ],
    );
    assert_eq!(scene.student("run"), student);
}

#[test]
fn a_run_killed_before_its_first_file_begins_again() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("run")).unwrap();
    std::fs::write(scene.path("run/.lock"), "").unwrap();
    std::fs::write(scene.path("run/.tmp-AbCdEf"), "data = ").unwrap();
    scene.train("run", &[]).succeeds();
}

/// 130 images are fewer than 5,000, so the usual number of held-out images is 0.
#[test]
fn the_usual_number_of_held_out_images_written_out_is_the_same_run() {
    let scene = Scene::new();
    scene.train("run", &["--epochs", "1"]).succeeds();
    let again = scene.train("run", &["--epochs", "1", "--holdout", "0"]).succeeds();
    assert!(again.stderr.contains("at its end already"), "{}", again.stderr);
    scene.train("run", &["--epochs", "1", "--holdout", "10"]).refused(2, &["holdout: 0, 10", "hint:"]);
    scene.train("said", &["--epochs", "1", "--holdout", "0"]).succeeds();
    scene.train("said", &["--epochs", "1"]).succeeds();
}
