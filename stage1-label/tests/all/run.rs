//! `label run`: what it writes, and when it refuses.

use std::fs;

use crate::fixture::{DIGITS, Place, inspect, label, save_teacher, tree};

#[test]
fn batches_and_threads_change_no_byte() {
    let place = Place::new();
    let first = place.path("first");
    place.run(&first, 20).args(["--batch", "128", "--threads", "2"]).succeeds();
    for (batch, threads) in [("1", "1"), ("7", "3"), ("100000", "2")] {
        let out = place.path(batch);
        place.run(&out, 20).args(["--batch", batch, "--threads", threads]).succeeds();
        assert!(tree(&out) == tree(&first), "--batch {batch} --threads {threads}");
    }
}

#[test]
fn a_run_prints_nothing_on_stdout_and_ends_in_a_sound_label_set() {
    let place = Place::new();
    let out = place.path("labels");
    let ended = place.run(&out, 20).ends();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains("complete, 500 rows"), "{}", ended.stderr);
    let checked = label().arg("verify").arg(&out).succeeds();
    assert!(checked.contains("parquet       500 rows, content_hash as in the manifest"), "{checked}");
    assert!(checked.contains("safetensors   500 rows, content_hash as in the manifest"), "{checked}");
    assert!(!out.join(".work").exists());
    let hash = inspect(&out)["content_hash"].as_str().unwrap().to_owned();
    label().arg("verify").arg(&out).args(["--expect", &hash]).succeeds();
    let other = "0".repeat(64);
    label().arg("verify").arg(&out).args(["--expect", &other]).fails(1, &["it is sound", &hash, &other]);
    label()
        .arg("verify")
        .arg(&out)
        .args(["--expect", "c0ffee"])
        .fails(2, &["64 lower-case hexadecimal digits"]);
}

#[test]
fn the_card_records_teacher_and_texts() {
    let place = Place::new();
    let out = place.path("labels");
    let texts = ["--origin", "a seed", "--license", "CC0-1.0", "--author", "the tests"];
    place.run(&out, 9).args(texts).succeeds();
    let json = inspect(&out);
    let digest = blake3::hash(&fs::read(place.teacher()).unwrap()).to_hex().to_string();
    let teacher = &json["teacher"];
    assert_eq!(teacher["weights_blake3"], digest);
    assert_eq!(teacher["architecture"], "tiny-cnn");
    assert_eq!((&teacher["precision"], &teacher["device"]), (&"f32".into(), &"cpu".into()));
    assert!(teacher["engine"].as_str().unwrap().starts_with("cpu-"), "{teacher}");
    assert_eq!((&teacher["origin"], &json["license"]), (&"a seed".into(), &"CC0-1.0".into()));
    assert_eq!(json["author"], "the tests");
    assert_eq!((&json["rows"], &json["images"], &json["shards"]), (&225.into(), &9.into(), &2.into()));
    assert_eq!((&json["augment"], &json["views"]), (&"crop2".into(), &"all".into()));
    assert_eq!(json["clean_rows"], 9);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("the tests") && card.contains("a seed"), "{card}");
}

/// The counts are those of `distill eval` on the same file, images and attack, whose attacks are compared with others' tools.
#[test]
fn how_the_teacher_does_under_attack_is_on_the_card_where_that_was_asked_for() {
    let place = Place::new();
    let teacher = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/teacher.safetensors");
    let run = |out: &str, more: &[&str]| {
        let mut command = label().args(["run", "--teacher", teacher, "--data", "sample", "--limit", "30"]);
        command = command.args(["--views", "plan:1@0"]).arg("--out").arg(place.path(out));
        command.args(more)
    };
    let asked = ["--robust", "50", "--attack", "apgd-ce", "--eps", "0.3"];
    let said = run("asked", &asked).ends();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let wanted = "of 50 images of test, 48 are right, 43 under apgd-ce at linf 0.3";
    assert!(said.stderr.contains(wanted), "{}", said.stderr);
    let (asked, plain) = (place.path("asked"), place.path("plain"));
    let robust = &inspect(&asked)["robust"];
    assert_eq!((&robust["images"], &robust["clean"], &robust["right"]), (&50.into(), &48.into(), &43.into()));
    let card = fs::read_to_string(asked.join("README.md")).unwrap();
    assert!(card.contains("| right under attack | 43 of 50 by apgd-ce, linf 0.3; 48 without"), "{card}");
    label().arg("verify").arg(&asked).succeeds();
    run("plain", &[]).succeeds();
    assert_eq!(inspect(&plain)["robust"], serde_json::Value::Null);
    assert_eq!(inspect(&plain)["content_hash"], inspect(&asked)["content_hash"]);
    run("asked", &[]).succeeds();
    let late = run("plain", &["--robust", "9", "--eps", "0.3"]).ends();
    assert!(late.stderr.contains("complete already, so no robust accuracy is measured"), "{}", late.stderr);
    run("refused", &["--robust", "9"]).fails(2, &["label run wants --eps"]);
    run("refused", &["--robust", "9", "--eps", "0.3", "--attack", "aapgd"]).fails(2, &["unknown attack"]);
    assert!(!place.path("refused").exists(), "refused before anything is made");
}

/// Where softmax saturates everywhere, attacks stand still: a figure would count what nobody tried.
#[test]
fn a_teacher_whose_gradients_vanish_gets_no_robust_accuracy() {
    let place = Place::new();
    save_teacher(&place.teacher(), DIGITS, 1, |value| 50.0 * value);
    let out = place.path("labels");
    let asked = ["--robust", "100", "--attack", "apgd-ce", "--eps", "0.01", "--dtype", "f32"];
    let said = place.run(&out, 20).args(asked).ends();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("the teacher: the gradient vanished at "), "{}", said.stderr);
    assert_eq!(inspect(&out)["robust"], serde_json::Value::Null);
}

#[test]
fn the_card_for_people_fits_eighty_columns() {
    let place = Place::new();
    let out = place.path("labels");
    let origin = "https://example.org/".repeat(10);
    place.run(&out, 9).args(["--origin", &origin, "--author", "\x1b[2J\nsecond line"]).succeeds();
    let text = label().arg("inspect").arg(&out).succeeds();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b'), "a card cannot clear the screen");
    assert!(text.contains("right answers by class"), "{text}");
}

#[test]
fn a_finished_label_set_is_left_alone() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let before = tree(&out);
    let ended = place.run(&out, 9).args(["--batch", "3"]).ends();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("already complete"), "{}", ended.stderr);
    assert!(tree(&out) == before);
}

#[test]
fn another_run_does_not_go_on_in_a_finished_folder() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let before = tree(&out);
    place.run(&out, 9).args(["--dtype", "f32"]).fails(2, &["dtype is \"f16\" there, this run has \"f32\""]);
    place.run(&out, 10).fails(2, &["dataset.hash is"]);
    let views = label().args(["run", "--data", "sample", "--views", "random:2@5", "--shard-images", "8"]);
    let views = views.arg("--teacher").arg(place.teacher()).args(["--limit", "9"]).arg("--out").arg(&out);
    views.fails(2, &["views is \"all\" there, this run has \"random:2@5\""]);
    save_teacher(&place.teacher(), DIGITS, 2, |value| value);
    place.run(&out, 9).fails(2, &["teacher.weights_blake3 is"]);
    assert!(tree(&out) == before);
}

#[test]
fn a_folder_with_other_files_is_refused() {
    let place = Place::new();
    let out = place.path("labels");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.tex"), "precious").unwrap();
    place.run(&out, 9).fails(2, &["thesis.tex", "hint:"]);
    assert_eq!(tree(&out).len(), 1);
    fs::remove_file(out.join("thesis.tex")).unwrap();
    place.run(&out, 9).succeeds();
    fs::write(out.join("data/thesis.tex"), "precious").unwrap();
    place.run(&out, 9).fails(2, &["the label set is finished", "data/thesis.tex"]);
    fs::remove_file(out.join("data/thesis.tex")).unwrap();
    fs::remove_file(out.join("shards/train-00001-of-00002.safetensors")).unwrap();
    place.run(&out, 9).fails(2, &["shards/train-00001-of-00002.safetensors", "found no file"]);
}

#[test]
fn plans_and_picks_hold_the_rows_they_promise() {
    let place = Place::new();
    let rows = |views: &str, augment: &str| {
        let out = place.path(&format!("{views} {augment}"));
        let run = label().args(["run", "--data", "sample", "--limit", "40", "--split", "test", "--teacher"]);
        let run = run.arg(place.teacher()).args(["--views", views, "--augment", augment]).arg("--out");
        run.arg(&out).succeeds();
        inspect(&out)["rows"].as_u64().unwrap()
    };
    assert_eq!(rows("all", "none"), 40);
    assert_eq!(rows("all", "flip"), 80);
    assert_eq!(rows("random:3@1", "crop1"), 120);
    assert_eq!(rows("plan:1@0", "crop2"), 40);
    // 25 (1 - (24/25)^5) = 4.62 distinct views an image; the standard deviation over 40 images is about 4 rows.
    let planned = rows("plan:5@0", "crop2");
    assert!((165..=200).contains(&planned), "{planned}");
}

#[test]
fn a_teacher_that_overflows_is_stopped_at_once() {
    let place = Place::new();
    let out = place.path("labels");
    save_teacher(&place.teacher(), DIGITS, 1, |value| value * 1e12);
    let ended =
        place.run(&out, 9).args(["--dtype", "f32"]).fails(1, &["wanted a finite number", "image 0, view 0"]);
    assert!(ended.stderr.contains("hint:"));
    assert!(!out.join("manifest.json").exists());
    save_teacher(&place.teacher(), DIGITS, 1, |value| value * 30.0);
    let out = place.path("halves");
    place.run(&out, 9).fails(2, &["beyond the largest f16", "hint: store them with --dtype f32"]);
    assert!(!out.join("manifest.json").exists());
}
