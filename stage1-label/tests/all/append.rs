//! `label append`, `label subset`: answers are taken over from one label set into another, and are the teacher's all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fixture::{DIGITS, Place, inspect, label, save_teacher, tree};

/// The shards alone: card and manifest name the parents.
fn rows(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(dir);
    files.retain(|path, _| path.starts_with("data") || path.starts_with("shards"));
    assert!(!files.is_empty());
    files
}

/// `label run`, or `label append FROM`, of the sample's first images.
fn command(
    place: &Place,
    from: Option<&Path>,
    out: &Path,
    views: &str,
    images: usize,
) -> crate::fixture::Label {
    let command = match from {
        Some(from) => label().arg("append").arg(from),
        None => label().arg("run"),
    };
    let command =
        command.arg("--teacher").arg(place.teacher()).args(["--arch", "tiny-cnn", "--data", "sample"]);
    let images = images.to_string();
    command
        .args(["--augment", "crop2", "--views", views, "--limit", &images, "--shard-images", "8"])
        .arg("--out")
        .arg(out)
}

#[test]
fn more_epochs_more_views_and_more_images_end_in_the_rows_of_a_set_made_at_once() {
    let place = Place::new();
    let begun = place.path("begun");
    command(&place, None, &begun, "plan:3@0", 12).succeeds();
    for (views, images) in
        [("plan:6@0", 12), ("all", 12), ("plan:3@0", 30), ("plan:6@1", 30), ("plan:2@0", 9)]
    {
        let (grown, fresh) =
            (place.path(&format!("grown {views} {images}")), place.path(&format!("fresh {views} {images}")));
        command(&place, Some(&begun), &grown, views, images).succeeds();
        command(&place, None, &fresh, views, images).succeeds();
        assert!(rows(&grown) == rows(&fresh), "{views} of {images}");
        let [grown, fresh] = [grown, fresh].map(|dir| (inspect(&dir), dir));
        assert_eq!(grown.0["content_hash"], fresh.0["content_hash"], "{views} of {images}");
        label().arg("verify").arg(&grown.1).succeeds();
        let manifest = std::fs::read_to_string(grown.1.join("manifest.json")).unwrap();
        assert!(manifest.contains(inspect(&begun)["content_hash"].as_str().unwrap()), "{manifest}");
        let manifest = std::fs::read_to_string(fresh.1.join("manifest.json")).unwrap();
        assert!(!manifest.contains("parents"));
    }
}

#[test]
fn a_parent_names_its_own_parents_before_itself() {
    let place = Place::new();
    let [first, second, third] = ["1", "2", "3"].map(|name| place.path(name));
    command(&place, None, &first, "plan:1@0", 5).succeeds();
    command(&place, Some(&first), &second, "plan:2@0", 5).succeeds();
    command(&place, Some(&second), &third, "plan:3@0", 5).args(["--reuse"]).arg(&first).succeeds();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(third.join("manifest.json")).unwrap()).unwrap();
    let parents: Vec<&serde_json::Value> =
        manifest["parents"].as_array().unwrap().iter().map(|parent| &parent["content_hash"]).collect();
    let wanted = [inspect(&first), inspect(&second)].map(|found| found["content_hash"].clone());
    assert_eq!(parents, wanted.iter().collect::<Vec<_>>());
    assert_eq!(manifest["parents"][0]["views"], "plan:1@0");
    let card = std::fs::read_to_string(third.join("README.md")).unwrap();
    assert!(card.contains("plan:2@0 of the first 5 images, by cpu-"), "{card}");
}

#[test]
fn answers_to_something_else_are_not_taken_over() {
    let place = Place::new();
    let begun = place.path("begun");
    command(&place, None, &begun, "plan:3@0", 5).succeeds();
    let out = place.path("out");
    let grow = || command(&place, Some(&begun), &out, "plan:6@0", 5);
    grow().args(["--dtype", "f32"]).fails(2, &["cannot be taken over: dtype is f16 there, this run has f32"]);
    grow().args(["--split", "test"]).fails(2, &["wrong split"]);
    let other = label().arg("append").arg(&begun).arg("--teacher").arg(place.teacher());
    let other = other.args([
        "--arch",
        "tiny-cnn",
        "--data",
        "sample",
        "--augment",
        "none",
        "--views",
        "all",
        "--limit",
        "5",
    ]);
    other.arg("--out").arg(&out).fails(2, &["augmentation is crop2 there, this run has none"]);
    save_teacher(&place.teacher(), DIGITS, 2, |value| value);
    grow().fails(2, &["teacher.weights_blake3 is"]);
    assert!(!out.exists(), "nothing is begun for nothing");
    let into_itself = || command(&place, Some(&begun), &begun, "plan:6@0", 5);
    into_itself().fails(2, &["it is the label set whose answers are taken over"]);
    command(&place, Some(&place.path("nowhere")), &out, "all", 5).fails(2, &["nowhere: No such file"]);
}

#[test]
fn a_subset_has_the_rows_that_the_teacher_would_have_given_in_every_form() {
    let place = Place::new();
    let all = place.path("all");
    command(&place, None, &all, "all", 12).args(["--dtype", "f32", "--license", "CC0-1.0"]).succeeds();
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("plan:3@7", &["--views", "plan:3@7", "--limit", "5"], &["--dtype", "f32"]),
        ("random:2@1", &["--views", "random:2@1", "--dtype", "f16"], &[]),
        ("all", &["--dtype", "f16", "--format", "safetensors"], &["--format", "safetensors"]),
        ("all", &["--format", "parquet"], &["--dtype", "f32", "--format", "parquet"]),
    ];
    for (number, (views, asked, fresh)) in cases.into_iter().enumerate() {
        let (some, wanted) = (place.path(&format!("some {number}")), place.path(&format!("fresh {number}")));
        label()
            .arg("subset")
            .arg(&all)
            .args(asked)
            .args(["--shard-images", "8"])
            .arg("--out")
            .arg(&some)
            .succeeds();
        let images = if asked.contains(&"5") { 5 } else { 12 };
        command(&place, None, &wanted, views, images).args(fresh).args(["--license", "CC0-1.0"]).succeeds();
        assert!(rows(&some) == rows(&wanted), "{asked:?}");
        let [some, wanted] = [some, wanted].map(|dir| inspect(&dir));
        for key in ["content_hash", "views", "rows", "dtype", "teacher", "license", "right"] {
            assert_eq!(some[key], wanted[key], "{asked:?}: {key}");
        }
    }
}

#[test]
fn a_subset_of_what_is_not_there_says_which_row_and_what_asks_for_it() {
    let place = Place::new();
    let some = place.path("some");
    command(&place, None, &some, "plan:2@0", 5).succeeds();
    let out = place.path("out");
    let subset = |asked: &[&str]| label().arg("subset").arg(&some).args(asked).arg("--out").arg(&out);
    let said = subset(&["--views", "all"])
        .fails(2, &["it holds plan:2@0, and not view", "which all has", "hint: `label append`"]);
    assert!(said.stderr.lines().count() <= 3, "{}", said.stderr);
    assert!(!out.exists(), "nothing is begun for nothing");
    subset(&["--dtype", "f32"]).fails(2, &["dtype is f16 there, this run has f32"]);
}
