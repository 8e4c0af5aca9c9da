//! Bad flags and bad input: one message with a hint, exit code 2, and no folder left behind.

use std::fs;
use std::path::Path;

use zoo::Task;

use crate::fixture::{Place, inspect, label, save_teacher};

/// A reader takes the example for the command, and `..` for the folder above.
#[test]
fn an_example_of_a_whole_command_line_is_one() {
    for verb in [
        "run",
        "append",
        "subset",
        "finalize",
        "repair",
        "verify",
        "inspect",
        "estimate",
        "plan",
        "import",
        "completions",
        "manual",
    ] {
        let said = label().arg(verb).fails(2, &["for example `label "]);
        assert!(!said.stderr.contains(".."), "{}", said.stderr);
    }
}

#[test]
fn help_lists_what_a_newcomer_can_name() {
    let help = label().arg("--help").succeeds();
    for name in [
        "run",
        "verify",
        "inspect",
        "estimate",
        "plan",
        "import",
        "resnet18",
        "wrn-D-W",
        "cifar10:FOLDER",
        "sample",
    ] {
        assert!(help.contains(name), "{name}");
    }
    let help = label().args(["run", "--help"]).succeeds();
    for flag in [
        "--teacher",
        "--arch",
        "--data",
        "--split",
        "--augment",
        "--views",
        "--out",
        "--limit",
        "--dtype",
        "--format",
        "--batch",
        "--threads",
        "--device",
        "--precision",
        "--shard-images",
        "--license",
        "--origin",
        "--author",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}

#[test]
fn slips_of_the_finger_get_a_suggestion() {
    let run = |change: &[(&str, &str)]| {
        let mut flags = vec![
            ("--teacher", "t.pt"),
            ("--arch", "resnet18"),
            ("--data", "sample"),
            ("--views", "all"),
            ("--out", "/nowhere/x"),
        ];
        for (flag, value) in change {
            flags.retain(|(name, _)| name != flag);
            flags.push((flag, value));
        }
        label().arg("run").args(flags.into_iter().flat_map(|(flag, value)| [flag, value]))
    };
    run(&[("--teachr", "x")]).fails(2, &["--teacher"]);
    run(&[("--data", "cifra10:x")]).fails(2, &["did you mean `cifar10:FOLDER`?"]);
    run(&[("--data", "parquet")]).fails(2, &["parquet:FOLDER"]);
    run(&[("--views", "plan:300")]).fails(2, &["plan:EPOCHS@SEED"]);
    run(&[("--augment", "crop4flip")]).fails(2, &["cropP+flip"]);
    run(&[("--dtype", "f64")]).fails(2, &["f16, f32 and u8"]);
    run(&[("--format", "arrow")]).fails(2, &["both, safetensors and parquet"]);
    run(&[("--split", "valid")]).fails(2, &["wanted train or test"]);
    run(&[("--limit", "0")]).fails(2, &["--limit"]);
    run(&[("--batch", "0")]).fails(2, &["--batch"]);
    for (flag, number, most) in [("--batch", "1000000000", "1000000"), ("--threads", "5000", "1024")] {
        run(&[(flag, number)]).fails(2, &[flag, number, &format!("wanted a whole number from 1 to {most}")]);
    }
    run(&[("--device", "tpu")]).fails(2, &["unknown device `tpu`", "known: cpu, cuda, auto"]);
    label().arg("inspct").fails(2, &["inspect"]);
    label().fails(2, &["Usage"]);
}

fn teacher(place: &Place, weights: &Path, arch: &[&str]) -> crate::fixture::Label {
    let run =
        label().args(["run", "--data", "sample", "--limit", "9", "--views", "all", "--teacher"]).arg(weights);
    run.args(arch).arg("--out").arg(place.path("labels"))
}

#[test]
fn weights_that_will_not_do_are_refused_before_anything_is_written() {
    let place = Place::new();
    let weights = place.path("weights.pt");
    teacher(&place, &weights, &[]).fails(2, &["weights.pt", "hint: check the path"]);
    fs::write(&weights, "<!DOCTYPE html><html><body>Sign in</body></html>").unwrap();
    teacher(&place, &weights, &["--arch", "resnet18"]).fails(2, &["weights.pt", "hint:"]);
    let whole = fs::read(place.teacher()).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    teacher(&place, &weights, &[]).fails(2, &["damaged safetensors file", "hint:"]);
    let known = place.teacher();
    teacher(&place, &known, &["--arch", "resnet81"]).fails(2, &["resnet81"]);
    let classes = Task { input: [1, 28, 28], classes: 7 };
    save_teacher(&weights, classes, 1, |value| value);
    teacher(&place, &weights, &[]).fails(2, &["7 classes", "10 classes"]);
    let colour = Task { input: [3, 32, 32], classes: 10 };
    save_teacher(&weights, colour, 1, |value| value);
    teacher(&place, &weights, &[]).fails(2, &["3x32x32", "1x28x28"]);
    assert!(!place.path("labels").exists());
}

#[test]
fn an_unknown_architecture_is_answered_with_a_near_one() {
    let estimate =
        ["estimate", "--student", "resnet8", "--data", "sample", "--views", "all", "--epochs", "3"];
    label().args(estimate).args(["--teacher-arch", "resnet81"]).fails(2, &["did you mean `resnet18`?"]);
}

#[test]
fn numbers_beyond_any_use_end_at_once_and_in_words() {
    let place = Place::new();
    let run = |views: &str, augment: &str, limit: &str| {
        let run = label().args(["run", "--data", "sample", "--views", views, "--augment", augment]);
        run.args(["--limit", limit, "--teacher"]).arg(place.teacher()).arg("--out").arg(place.path("labels"))
    };
    run("plan:4294967295@0", "crop2", "4").succeeds();
    assert_eq!(inspect(&place.path("labels"))["rows"], 4 * 25);

    let estimate = |images: &str, epochs: &str| {
        let flags =
            ["estimate", "--teacher-arch", "wrn-34-10", "--student", "resnet18", "--data", "cifar10:x"];
        label()
            .args(flags)
            .args(["--views", "plan:4294967295@0", "--augment", "flip"])
            .args(["--images", images, "--epochs", epochs, "--json"])
    };
    let most = "wanted a whole number from 1 to 1000000000";
    estimate("1000000000000", "300").fails(2, &["--images", most]);
    estimate("50000", "18446744073709551615").fails(2, &["--epochs", most]);
    let found: serde_json::Value =
        serde_json::from_str(&estimate("1000000000", "1000000000").succeeds()).unwrap();
    assert_eq!((&found["rows"], &found["online_forwards"]), (&2_000_000_000.into(), &10u64.pow(18).into()));
}

#[test]
fn an_out_that_is_or_lies_in_a_file_is_the_users_slip() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "mine").unwrap();
    place.run(&file, 9).fails(2, &["file", "hint:"]);
    place.run(&file.join("labels"), 9).fails(2, &["file", "hint:"]);
    label().arg("verify").arg(&file).fails(2, &["file", "hint:"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn data_and_label_sets_that_are_not_there_are_refused() {
    let place = Place::new();
    let run = label().args(["run", "--data", "cifar10:/nowhere", "--views", "all", "--teacher"]);
    run.arg(place.teacher()).arg("--out").arg(place.path("labels")).fails(2, &["/nowhere", "hint:"]);
    assert!(!place.path("labels").exists());
    for command in ["verify", "inspect"] {
        label().arg(command).arg(place.path("absent")).fails(2, &["absent", "hint:"]);
        fs::create_dir_all(place.path("empty")).unwrap();
        label().arg(command).arg(place.path("empty")).fails(2, &["is not a label set", "hint:"]);
    }
}

#[test]
fn an_estimate_is_a_table_or_json() {
    let estimate = [
        "estimate",
        "--teacher-arch",
        "small-cnn",
        "--student",
        "tiny-cnn",
        "--data",
        "sample",
        "--limit",
        "100",
        "--views",
        "all",
        "--epochs",
        "50",
    ];
    let text = label().args(estimate).succeeds();
    assert!(text.contains("2500") && text.lines().all(|line| line.len() <= 80), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&label().args(estimate).arg("--json").succeeds()).unwrap();
    assert_eq!((&json["rows"], &json["online_forwards"]), (&2500.into(), &5000.into()));
    assert_eq!((&json["break_even_epochs"], &json["share_of_online"]), (&25.into(), &50.0.into()));
}
