//! `distill train --labels URL`: the label set is fetched once, hashed, and teaches what its folder teaches.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::fixture::{Finished, Scene};

/// RSLAD from the label set of this name or URL, with a cache of its own.
fn train(scene: &Scene, out: &str, labels: &str, cache: &str) -> Finished {
    let mut command: Command =
        scene.command(&Scene::training(out, &["--objective", "rslad", "--labels", labels, "--epochs", "1"]));
    Finished::of(&command.env("RSLAD_CACHE", scene.path(cache)).output().unwrap())
}

/// The label sets in a cache.
fn cached(scene: &Scene, cache: &str) -> Vec<PathBuf> {
    let sets = fs::read_dir(scene.path(cache).join("labels")).into_iter().flatten();
    sets.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_label_set_by_its_url_teaches_what_its_folder_teaches_and_is_fetched_once() {
    let scene = Scene::new();
    scene.labels("labels");
    let url = format!("file://{}", scene.path("labels").display());
    train(&scene, "by-folder", "labels", "unused").succeeds();
    assert!(cached(&scene, "unused").is_empty());
    let first = train(&scene, "by-url", &url, "cache").succeeds();
    assert!(first.stderr.contains(&format!("{url}: read from ")), "{}", first.stderr);
    assert!(scene.student("by-url") == scene.student("by-folder"));
    // The record holds what was asked for, and nobody's cache.
    let config = fs::read_to_string(scene.path("by-url/config.toml")).unwrap();
    assert!(config.contains(&url), "{config}");

    let [set] = &cached(&scene, "cache")[..] else { panic!("one label set is there") };
    assert!(!set.join("data").exists(), "the form that is not mapped stays where it is");
    let shards = fs::read_dir(scene.path("labels/shards")).unwrap().count();
    assert_eq!(fs::read_dir(set.join("shards")).unwrap().count(), shards);
    // What is damaged in the cache is fetched again.
    let shard = fs::read_dir(set.join("shards")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&shard).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&shard, damaged).unwrap();
    train(&scene, "again", &url, "cache").succeeds();
    assert!(fs::read(&shard).unwrap() == whole);
    assert!(scene.student("again") == scene.student("by-folder"));
    assert_eq!(cached(&scene, "cache").len(), 1);
}

#[test]
fn where_no_label_set_is_and_what_is_no_url_is_refused_before_anything_is_written() {
    let scene = Scene::new();
    for (labels, words) in [
        ("file:///nowhere/at-all", "no label set is there"),
        ("https://me:hunter2@example.org/labels", "a user, a password"),
        #[cfg(not(feature = "remote"))]
        ("s3://bucket/labels", "cargo build --release --features remote"),
    ] {
        let finished = train(&scene, "run", labels, "cache");
        finished.refused(2, &[words]);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
        assert!(!scene.path("run").exists());
    }
}
