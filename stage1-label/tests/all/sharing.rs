//! `label push` and `label pull` through folders: killed at each step and begun again, and what both say of wrong words.

use std::path::Path;

use crate::fixture::{Ended, Label, Place, inspect, label, tree};

fn url(dir: &Path) -> String {
    format!("file://{}", dir.display())
}

fn push(from: &Path, to: &Path) -> Label {
    label().arg("push").arg(from).arg(url(to))
}

fn pull(from: &Path, to: &Path) -> Label {
    label().arg("pull").arg(url(from)).arg(to)
}

/// The crash points that a command comes by.
fn crash_points(command: Label) -> usize {
    let Ended { code, stderr, .. } = command.env("RSLAD_CRASH", "0").ends();
    assert_eq!(code, Some(0), "{stderr}");
    stderr.lines().filter(|line| line.starts_with("crash point ")).count()
}

/// Three shards in both forms.
fn labelled(place: &Place) -> std::path::PathBuf {
    let labels = place.path("labels");
    place.run(&labels, 20).succeeds();
    labels
}

#[test]
fn a_push_killed_at_any_step_and_pushed_again_is_the_label_set_and_so_is_what_is_pulled() {
    let place = Place::new();
    let labels = labelled(&place);
    let whole = tree(&labels);
    let content_hash = inspect(&labels)["content_hash"].clone();
    let points = crash_points(push(&labels, &place.path("counted")));
    assert!(points >= 5 * whole.len(), "{points} steps for {} files", whole.len());
    // Every third, so that each step is met at some file.
    for point in (1..=points).step_by(3) {
        let to = place.path(&format!("pushed {point}"));
        let to = Path::new(&to.to_str().unwrap().replace(' ', "-")).to_path_buf();
        let killed = push(&labels, &to).env("RSLAD_CRASH", point.to_string()).ends();
        assert_eq!(killed.code, None, "it was to be killed at {point}: {}", killed.stderr);
        push(&labels, &to).succeeds();
        assert!(tree(&to) == whole, "after a death at step {point}");
    }
    let from = place.path("pushed-1");
    let points = crash_points(pull(&from, &place.path("fetched")));
    for point in (1..=points).step_by(3) {
        let to = place.path(&format!("pulled {point}"));
        let killed = pull(&from, &to).env("RSLAD_CRASH", point.to_string()).ends();
        assert_eq!(killed.code, None, "it was to be killed at {point}: {}", killed.stderr);
        pull(&from, &to).succeeds();
        assert!(tree(&to) == whole, "after a death at step {point}");
    }
    label().arg("verify").arg(place.path("pulled 1")).succeeds();
    assert_eq!(inspect(&place.path("pulled 1"))["content_hash"], content_hash);
}

#[test]
fn what_differs_ends_with_the_code_that_every_command_has_for_it() {
    let place = Place::new();
    let labels = labelled(&place);
    push(&labels, &place.path("there")).succeeds();
    let other = place.path("other");
    place.run(&other, 10).succeeds();
    push(&other, &place.path("there"))
        .fails(2, &["another label set is there", "hint: push to another place"]);
    pull(&place.path("there"), &other).fails(2, &["another one is there or was begun"]);
    pull(&place.path("nowhere"), &place.path("to")).fails(2, &["no label set is there"]);
    let hash = "0".repeat(64);
    pull(&place.path("there"), &place.path("to"))
        .args(["--expect", &hash])
        .fails(1, &["its content_hash is", &hash]);
    let shard = place.path("there/shards/train-00001-of-00003.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[4200] ^= 1;
    std::fs::write(&shard, &bytes).unwrap();
    pull(&place.path("there"), &place.path("to"))
        .fails(1, &["train-00001-of-00003.safetensors", "BLAKE3", "on arrival"]);
    assert!(!place.path("to/manifest.json").exists());
    label().arg("verify").arg(place.path("to")).fails(2, &["is unfinished"]);
    // What is damaged here does not travel, and what is damaged there is mended by another push.
    label().arg("push").arg(place.path("there")).arg(url(&place.path("further"))).fails(1, &["train-00001"]);
    let mended = push(&labels, &place.path("there")).ends();
    assert!(mended.stderr.contains("1 files sent"), "{}", mended.stderr);
    pull(&place.path("there"), &place.path("to")).succeeds();
    assert!(tree(&place.path("to")) == tree(&labels));
}

#[test]
fn a_url_that_is_wrong_or_holds_a_secret_is_refused_with_what_to_write() {
    let place = Place::new();
    let labels = place.path("labels");
    for (url, texts) in [
        ("labels", ["it is no URL", "s3://BUCKET/PATH"]),
        ("https://me:hunter2@example.org/labels", ["a user, a password", "hint: write https://HOST/PATH"]),
        ("s3://bucket/labels?X-Amz-Signature=hunter2", ["a query", "hint: write s3://BUCKET/PATH"]),
    ] {
        for command in [label().arg("push").arg(&labels).arg(url), label().arg("pull").arg(url).arg(&labels)]
        {
            let ended = command.fails(2, &texts);
            assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        }
    }
    label().arg("push").arg(&labels).arg("https://example.org/labels").fails(2, &["push to s3://"]);
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_build_without_stores_says_in_a_line_how_to_get_them() {
    let place = Place::new();
    let words = ["this build reaches folders alone", "cargo build --release --features remote", "aws s3 cp"];
    label().args(["pull", "s3://bucket/labels"]).arg(place.path("to")).fails(2, &words);
    label()
        .args(["pull", "hf://datasets/org/name"])
        .arg(place.path("to"))
        .fails(2, &["hf download org/name "]);
    label()
        .arg("push")
        .arg(place.path("labels"))
        .arg("hf://datasets/org/name")
        .fails(2, &["hf upload org/name "]);
}
