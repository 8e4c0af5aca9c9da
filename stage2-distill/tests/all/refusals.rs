//! Bad input: one clear message with a hint, the right exit code, nothing left that a later command would trust.

use crate::fixture::{Scene, checkpoints, flip_a_bit};

#[test]
fn a_slip_in_a_name_is_answered_with_the_name_meant() {
    let scene = Scene::new();
    for (more, words) in [
        (vec!["--objective", "trade"], ["unknown objective `trade`", "did you mean `trades`"]),
        (vec!["--set", "epoch=4"], ["unknown setting `epoch`", "did you mean `epochs`"]),
        (vec!["--preset", "quickstar"], ["unknown preset", "did you mean `quickstart`"]),
        (vec!["--augment", "crop4+flop"], ["augment", "hint:"]),
        (vec!["--init", "nowhere.safetensors"], ["nowhere.safetensors", "No such file"]),
        (vec!["--holdout", "130"], ["holdout is 130 of 130", "hint:"]),
        (vec!["--eps", "8"], ["--eps", "8/255"]),
        (vec!["--objective", "rslad"], ["learns from a teacher", "--labels"]),
        (
            vec!["--objective", "rslad", "--labels", "a", "--teacher", "b"],
            ["both labels and teacher", "hint:"],
        ),
        (vec!["--teacher", "b"], ["sat has no use for a teacher", "hint: drop --teacher"]),
        (vec!["--second-labels", "b"], ["sat has no use for a second teacher", "drop --second-labels"]),
        (vec!["--as-published"], ["sat is as published already", "drop as-published"]),
        (vec!["--mean", "0.5"], ["no teacher is run", "hint: add --teacher"]),
        (vec!["--labels", "nowhere"], ["nowhere", "hint:"]),
        (vec!["--set", "lr"], ["--set lr: wanted key=value", "hint:"]),
        (vec!["--set", "lr=fast"], ["lr = fast", "hint:"]),
        (vec!["--config", "nowhere.toml"], ["nowhere.toml", "hint:"]),
    ] {
        scene.train("run", &more).refused(2, &words);
        assert!(!scene.path("run").exists(), "{more:?} leaves no folder");
    }
    scene
        .run(&["train", "--data", "sampel", "--student", "tiny-cnn", "--objective", "sat", "--out", "run"])
        .refused(2, &["sample"]);
    scene
        .run(&["train", "--data", "sample", "--student", "resnet81", "--objective", "sat", "--out", "run"])
        .refused(2, &["did you mean `resnet18`"]);
    scene
        .run(&["train", "--data", "sample", "--objective", "sat", "--out", "run"])
        .refused(2, &["no student was given", "--student"]);
    let inside = ["--objective", "rslad", "--labels", "labels"];
    std::fs::create_dir(scene.path("labels")).unwrap();
    scene.train("labels/deep/run", &inside).refused(2, &["inside the label set", "hint:"]);
    assert_eq!(std::fs::read_dir(scene.path("labels")).unwrap().count(), 0);
    scene.run(&["train", "--epoch", "3"]).refused(2, &["--epochs"]);
}

/// A reader takes the example for the command, and `..` for the folder above.
#[test]
fn an_example_of_a_whole_command_line_is_one() {
    let scene = Scene::new();
    for verb in ["train", "eval", "export", "sweep", "compare", "report", "bench", "completions", "manual"] {
        let said = scene.run(&[verb]);
        said.refused(2, &["for example `distill "]);
        assert!(!said.stderr.contains(".."), "{}", said.stderr);
    }
    let preset = ["train", "--preset", "rslad-cifar10"];
    scene.run(&preset).refused(2, &["--data cifar10:cifar10 --out run --labels labels`"]);
}

#[test]
fn a_list_of_taps_with_an_empty_name_is_refused_before_anything_is_opened() {
    let scene = Scene::new();
    for (flag, list) in
        [("--taps", "bn2.relu,"), ("--taps", ",bn2.relu"), ("--teacher-taps", "bn2.relu,,bn1.relu")]
    {
        let taps = ["--objective", "kd", "--set", "dpk=2", "--teacher", "nowhere.safetensors", flag, list];
        let said =
            [&format!("{}: `{list}` has an empty name", &flag[2..]), "hint: one comma between two modules"];
        scene.train("run", &taps).refused(2, &said);
        assert!(!scene.path("run").exists(), "{list}");
    }
}

/// Exit code 2: what is asked for cannot be had, on this machine or by this device.
#[test]
fn an_instruction_set_that_does_not_run_here_is_refused_with_2() {
    let scene = Scene::new();
    let bench =
        |more: &[&str]| scene.run(&[&["bench", "--student", "tiny-cnn", "--batch", "1"], more].concat());
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let said = format!("this processor has no {foreign}");
    bench(&["--isa", foreign]).refused(2, &[&said, "hint: leave --isa out"]);
    let other = ["--isa", "portable", "--device", "reference"];
    bench(&other).refused(2, &["the device is reference", "hint: leave --isa out, or choose --device cpu"]);
}

#[test]
fn a_label_set_is_held_to_the_hash_that_was_named() {
    let scene = Scene::new();
    scene.labels("labels");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(scene.path("labels/manifest.json")).unwrap()).unwrap();
    let hash = manifest["content_hash"].as_str().unwrap();
    let train = |out: &str, hash: &str| {
        scene.train(out, &["--objective", "rslad", "--labels", "labels", "--labels-hash", hash])
    };
    train("run", hash).succeeds();
    train("run", &hash.to_uppercase()).succeeds();
    train("other", "foo").refused(2, &["labels-hash: wanted 64", "hint:"]);
    train("other", &"0".repeat(64)).refused(2, &["label set labels: its rows hash to", hash, "hint:"]);
    scene.train("other", &["--labels-hash", hash]).refused(2, &["labels-hash was given without labels"]);
}

#[test]
fn a_folder_that_holds_something_else_is_not_written() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("thesis")).unwrap();
    std::fs::write(scene.path("thesis/chapter1.txt"), "robustness").unwrap();
    scene.train("thesis", &[]).refused(2, &["thesis", "chapter1.txt", "hint:"]);
    assert_eq!(std::fs::read_dir(scene.path("thesis")).unwrap().count(), 1);
    std::fs::write(scene.path("file"), "").unwrap();
    scene.train("file", &[]).refused(2, &["file", "hint:"]);
}

#[test]
fn a_file_of_settings_that_is_not_toml_is_refused() {
    let scene = Scene::new();
    std::fs::write(scene.path("notes.toml"), "lr = 0.1\nthen decay\n").unwrap();
    scene.train("run", &["--config", "notes.toml"]).refused(2, &["notes.toml: not TOML", "hint:"]);
    assert!(!scene.path("run").exists());
    scene.train("run", &["--set", "epochs=1"]).succeeds();
    std::fs::write(scene.path("run/config.toml"), "then decay\n").unwrap();
    let again = scene.train("run", &["--set", "epochs=1"]);
    again.refused(2, &["not TOML", "the run's own record"]);
    assert_eq!(again.stderr.matches("hint:").count(), 1, "{}", again.stderr);
}

#[test]
fn a_run_with_other_settings_is_refused_naming_both() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    scene.train("run", &["--seed", "5"]).refused(2, &["seed: 0, 5", "hint:"]);
    scene.train("run", &["--eps", "1/10"]).succeeds();
    scene.train("run", &["--limit", "131"]).refused(2, &["limit: 130, 131"]);
    scene.train("run", &["--resume", "never"]).refused(2, &["holds a run already"]);
}

#[test]
fn a_test_split_of_another_size_is_found_before_the_first_epoch() {
    let scene = Scene::new();
    scene.npz("mixed.npz", 28, 20);
    let on = |data, more: &[&str]| {
        let command = ["train", "--data", data, "--student", "tiny-cnn", "--objective", "sat"];
        let short = ["--epochs", "1", "--steps", "1", "--out", "run"];
        scene.run(&[&command[..], &short, more].concat())
    };
    let words = ["the test split has 1x20x20", "the training split 1x28x28", "hint:"];
    on("npz:mixed.npz", &["--paper-selection"]).refused(2, &words);
    assert!(!scene.path("run").exists());
    on("npz:mixed.npz", &[]).succeeds();
    scene.npz("alike.npz", 28, 28);
    std::fs::remove_dir_all(scene.path("run")).unwrap();
    on("npz:alike.npz", &["--paper-selection"]).succeeds();
}

#[test]
fn what_a_run_was_given_for_nothing_is_said() {
    let scene = Scene::new();
    let preset = scene.train("run", &["--preset", "trades-100-cifar10"]).succeeds();
    let said = "warning: preset trades-100-cifar10 is for cifar10, and the data is sample";
    assert!(preset.stderr.contains(said), "{}", preset.stderr);
    scene.labels("labels");
    let hard = scene.train("hard", &["--labels", "labels", "--epochs", "1"]).succeeds();
    let said = "warning: objective sat does not ask a teacher: of labels it takes the choice of views";
    assert!(hard.stderr.contains(said), "{}", hard.stderr);
    let soft =
        scene.train("soft", &["--labels", "labels", "--epochs", "1", "--objective", "rslad"]).succeeds();
    assert!(!soft.stderr.contains("warning:"), "{}", soft.stderr);
}

#[test]
fn an_objective_that_learns_from_an_average_is_refused_without_one() {
    let scene = Scene::new();
    let bare = scene.train("run", &["--objective", "snord"]);
    bare.refused(2, &["objective snord learns from a moving average", "hint: add --ema 0.999"]);
    assert!(!scene.path("run").exists());
}

#[test]
fn a_run_says_how_many_images_have_a_label_and_others_leave_the_rest_out() {
    let scene = Scene::new();
    let few = ["--labelled", "0.2", "--epochs", "1"];
    // Three of each of ten classes: a fifth of 130 digits, rounded.
    let alone = scene.train("sat", &few).succeeds();
    assert!(alone.stderr.contains("\n30 images, 1 epochs of 1 steps"), "{}", alone.stderr);
    let more = [&few[..], &["--objective", "snord", "--ema", "0.9"]].concat();
    let both = scene.train("snord", &more).succeeds();
    // Of a batch of 50, six have a label, so that the other hundred take three steps.
    let said = "\n30 images with a label and 100 without, 1 epochs of 3 steps";
    assert!(both.stderr.contains(said), "{}", both.stderr);
    scene.labels("labels");
    let read = [&more[..], &["--labels", "labels"]].concat();
    scene.train("cold", &read).succeeds();
    let warm = scene.train("warm", &[&read[..], &["--set", "warm-epochs=1"]].concat()).succeeds();
    assert!(!warm.stderr.contains("warning:"), "{}", warm.stderr);
    assert_ne!(scene.student("warm"), scene.student("cold"), "the label set's answers are learned from");
}

#[test]
fn a_run_that_goes_wrong_exits_1_and_keeps_its_last_checkpoint() {
    let scene = Scene::new();
    let diverged = scene.train("run", &["--set", "lr=1e30"]);
    // The first step is taken at finite weights, and the second finds what it made of them.
    diverged.refused(1, &["epoch 1, step 2: the loss is", "left: the last checkpoint of step 0\n", "hint:"]);
}

#[test]
fn a_divergence_names_the_files_that_are_left() {
    let scene = Scene::new();
    // One step an epoch: the first epoch ends whole, and its step ruins the second.
    let more = ["--batch", "130", "--holdout", "0", "--set", "lr=1e6"];
    let diverged = scene.train("run", &more);
    let left = "left: run/student.safetensors is of epoch 1, the last checkpoint of step 1\n";
    diverged.refused(1, &["epoch 2, step 2: the training diverged", left]);
    assert!(scene.path("run/student.safetensors").exists());
}

#[test]
fn a_student_that_the_last_step_ruined_is_not_published() {
    let scene = Scene::new();
    let one_step = ["--epochs", "1", "--batch", "130", "--set", "lr=3e38"];
    scene.train("run", &one_step).refused(1, &["diverged", "hint:"]);
    assert!(!scene.path("run/student.safetensors").exists());
}

#[test]
fn two_runs_cannot_write_one_folder() {
    let scene = Scene::new();
    let arguments = Scene::training("run", &["--epochs", "200"]);
    let mut first = scene.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
    while !scene.path("run/config.toml").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    scene.run(&arguments).refused(2, &["another run is writing", "hint:"]);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_full_disk_is_said_and_the_run_goes_on_when_there_is_room() {
    let scene = Scene::new();
    scene.train("whole", &[]).succeeds();
    // A limit on the size of files stands in for a full disk: a student of 50 KB fits, its checkpoint does not.
    let program = env!("CARGO_BIN_EXE_distill");
    let arguments = Scene::training("run", &[]).join(" ");
    let script = format!("trap '' XFSZ; ulimit -f 80; exec {program} {arguments}");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(scene.path(""))
        .output()
        .unwrap();
    crate::fixture::Finished::of(&output).refused(74, &["checkpoint", "File too large"]);
    scene.train("run", &[]).succeeds();
    assert_eq!(scene.student("run"), scene.student("whole"));
}

#[test]
fn a_changed_student_file_is_noticed_where_it_can_be() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let student = scene.path("run/student.safetensors");
    let eval = [
        "eval",
        "--student",
        "run/student.safetensors",
        "--data",
        "sample",
        "--limit",
        "20",
        "--attack",
        "clean",
    ];
    scene.run(&eval).succeeds();
    let bytes = std::fs::read(&student).unwrap();
    std::fs::write(&student, &bytes[..bytes.len() - 5]).unwrap();
    scene.run(&eval).refused(2, &["student.safetensors", "damaged", "hint:"]);
    std::fs::write(&student, b"<!DOCTYPE html><html>Sign in</html>").unwrap();
    scene.run(&eval).refused(2, &["HTML", "hint:"]);
    std::fs::write(&student, &bytes).unwrap();
    flip_a_bit(&student, 3);
    scene.run(&eval).refused(2, &["student.safetensors"]);
}

#[test]
fn a_student_does_not_begin_with_a_network_that_normalises_its_images() {
    let scene = Scene::new();
    let foreign = concat!(env!("CARGO_MANIFEST_DIR"), "/../stage1-label/tests/files/foreign.pt");
    scene.train("run", &["--init", foreign]).refused(2, &["normalises its images", "hint:"]);
    assert!(!scene.path("run").exists());
}

#[test]
fn a_checkpoint_is_no_student_and_no_teacher_and_points_to_its_run() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let names = checkpoints(&scene.path("run"));
    let checkpoint = names.last().unwrap().strip_prefix(scene.path("")).unwrap().to_str().unwrap().to_owned();
    let eval = ["--data", "sample", "--limit", "10", "--eps", "0.1", "--attack", "clean"];
    for arch in [&[][..], &["--arch", "tiny-cnn"]] {
        let refused = scene.run(&[&["eval", checkpoint.as_str()], &eval[..], arch].concat());
        refused.refused(2, &["that is a checkpoint of the run run", "hint: ", "`distill eval run`"]);
        assert_eq!(refused.stderr.lines().count(), 2, "{}", refused.stderr);
    }
    std::fs::copy(scene.path(&checkpoint), scene.path("moved.safetensors")).unwrap();
    let refused = scene.run(&[&["eval", "moved.safetensors"], &eval[..]].concat());
    refused.refused(2, &["moved.safetensors: that is a checkpoint, from which", "`distill eval RUN`"]);
}

#[test]
fn a_checkpoint_given_to_eval_points_to_its_run_before_anything_is_asked() {
    let scene = Scene::new();
    scene.train("run", &[]).succeeds();
    let checkpoint = checkpoints(&scene.path("run")).pop().unwrap();
    let inside = checkpoint.strip_prefix(scene.path("")).unwrap().to_str().unwrap();
    let wanted = ["that is a checkpoint of the run run", "`distill eval run` judges it"];
    scene.run(&["eval", inside]).refused(2, &wanted);
    scene.run(&["eval", "--student", inside, "--data", "sample", "--eps", "0.1"]).refused(2, &wanted);
}

#[test]
fn an_eps_in_levels_is_refused_with_the_form_before_any_file_is_looked_for() {
    let scene = Scene::new();
    for eps in ["8", "8.0/1", "0,03", "nan"] {
        let words = ["eval", "--student", "nowhere.safetensors", "--data", "sample", "--eps", eps];
        scene.run(&words).refused(2, &["8/255"]);
    }
}
