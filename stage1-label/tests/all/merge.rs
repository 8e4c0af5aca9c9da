//! `label merge`: seeds, epochs and parts that were labelled apart are the label set that was labelled at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cli::{Exit, Exits, Progress, Stop};
use labels::{Augment, Dataset, Hex, RowTable, Session, Spec, Teacher, Views, image_hash};
use method::view::ViewPlan;
use stage1_label::args::TakenArgs;
use stage1_label::verb::finalize::{FinalizeArgs, run as run_finalize};
use stage1_label::verb::merge::{MergeArgs, SaidArgs, run as run_merge};

use crate::fixture::{DIGITS, Label, Place, inspect, label, save_teacher, tree};

/// The shards alone: card and manifest name the parents.
fn rows(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(dir);
    files.retain(|path, _| path.starts_with("data") || path.starts_with("shards"));
    assert!(!files.is_empty());
    files
}

/// `label run` of the sample's first images.
fn run(place: &Place, out: &Path, views: &str, images: usize) -> Label {
    let command = label().arg("run").arg("--teacher").arg(place.teacher()).args(["--data", "sample"]);
    let command = command.args(["--augment", "crop2", "--views", views, "--limit", &images.to_string()]);
    command.args(["--shard-images", "8"]).arg("--out").arg(out)
}

fn merge(from: &[&Path], out: &Path) -> Label {
    label().arg("merge").args(from).arg("--out").arg(out)
}

#[test]
fn seeds_and_epochs_labelled_apart_are_the_rows_of_a_set_made_at_once() {
    let place = Place::new();
    let made = |views: &str, images: usize| {
        let dir = place.path(&format!("{views} of {images}"));
        if !dir.exists() {
            run(&place, &dir, views, images).succeeds();
        }
        dir
    };
    let cases: [(&[(&str, usize)], &str); 5] = [
        (&[("plan:3@0", 12), ("plan:3@1", 12)], "plan:3@0-1"),
        (&[("plan:3@0", 12), ("plan:3@2", 12), ("plan:3@1", 12)], "plan:3@0-2"),
        (&[("plan:3@0", 12), ("plan:6@0", 12)], "plan:6@0"),
        (&[("random:2@5", 12), ("random:1@5", 12)], "random:2@5"),
        (&[("plan:3@0-1", 12), ("plan:3@2", 12), ("all", 12)], "all"),
    ];
    for (number, (parts, wanted)) in cases.into_iter().enumerate() {
        let parts: Vec<PathBuf> = parts.iter().map(|(views, images)| made(views, *images)).collect();
        let from: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
        let out = place.path(&format!("merged {number}"));
        merge(&from, &out).args(["--shard-images", "8"]).succeeds();
        let whole = made(wanted, 12);
        assert!(rows(&out) == rows(&whole), "{wanted}");
        let found = inspect(&out);
        assert_eq!(
            (&found["views"], &found["content_hash"]),
            (&wanted.into(), &inspect(&whole)["content_hash"])
        );
        label().arg("verify").arg(&out).succeeds();
        let again = merge(&from, &out).args(["--shard-images", "8"]).ends();
        assert!(again.code == Some(0) && again.stderr.contains("already complete"), "{}", again.stderr);
    }
    // More images of one: what both have, or nothing.
    let (short, long) = (made("plan:3@0", 12), made("plan:3@1", 20));
    let out = place.path("limited");
    let said = merge(&[&short, &long], &out).fails(2, &["of image 12, which plan:3@0-1 of 20 images has"]);
    assert!(said.stderr.contains("holds plan:3@0 of 12; "), "{}", said.stderr);
    assert!(!out.exists(), "nothing is begun for nothing");
    merge(&[&short, &long], &out).args(["--limit", "12", "--shard-images", "8"]).succeeds();
    assert!(rows(&out) == rows(&made("plan:3@0-1", 12)));
    // A choice of theirs that has a name, where the union has none.
    let (one, other) = (made("plan:3@0", 12), made("plan:6@1", 12));
    let out = place.path("chosen");
    merge(&[&one, &other], &out).fails(2, &["(plan:3@0) and ", "(plan:6@1): no name of --views"]);
    merge(&[&one, &other], &out).args(["--views", "plan:3@0-1", "--shard-images", "8"]).succeeds();
    assert!(rows(&out) == rows(&made("plan:3@0-1", 12)));
}

#[test]
fn codes_that_take_more_than_halves_are_refused_as_everywhere() {
    let place = Place::new();
    let [one, other, out] = ["one", "other", "out"].map(|name| place.path(name));
    run(&place, &one, "plan:1@0", 4).args(["--dtype", "f32"]).succeeds();
    run(&place, &other, "plan:1@1", 4).args(["--dtype", "f32"]).succeeds();
    let words = "--dtype u8: of 10 classes it takes 23 bytes a row, and all logits in f16 take 20";
    merge(&[&one, &other], &out).args(["--dtype", "u8"]).fails(2, &[words, "hint: "]);
    assert!(!out.exists());
}

#[test]
fn label_sets_that_contradict_each_other_are_refused_with_the_place() {
    let place = Place::new();
    let [one, other, out] = ["one", "other", "out"].map(|name| place.path(name));
    run(&place, &one, "all", 5).args(["--dtype", "f32", "--license", "MIT"]).succeeds();
    run(&place, &other, "plan:3@1", 5).args(["--dtype", "f32", "--device", "reference"]).succeeds();
    let merge = || merge(&[&one, &other], &out);
    merge().fails(2, &["one says `MIT`, ", "other says ``", "--license"]);
    // Two engines round differently somewhere in a few dozen rows of f32.
    let said =
        merge().args(["--license", "MIT"]).fails(2, &["contradict each other: of the answer to image "]);
    assert!(said.stderr.contains("hint: ") && said.stderr.contains("--reuse"), "{}", said.stderr);
    merge().args(["--license", "MIT", "--out"]).arg(&one).fails(2, &["cannot be used multiple times"]);
    label()
        .arg("merge")
        .arg(&one)
        .arg(&other)
        .arg("--out")
        .arg(&one)
        .fails(2, &["one of the label sets that are"]);
    save_teacher(&place.teacher(), DIGITS, 2, |value| value);
    fs::remove_dir_all(&other).unwrap();
    run(&place, &other, "all", 5).args(["--dtype", "f32", "--license", "MIT"]).succeeds();
    merge().fails(2, &["teacher.weights_blake3 is"]);
    assert!(!out.exists(), "nothing is begun for nothing");
}

#[test]
fn maps_that_one_label_set_has_and_another_has_not_are_not_dropped_in_silence() {
    let place = Place::new();
    let [mapped, plain, out] = ["mapped", "plain", "out"].map(|name| place.path(name));
    run(&place, &mapped, "plan:3@0", 5).args(["--taps", "bn2.relu"]).succeeds();
    run(&place, &plain, "plan:3@1", 5).succeeds();
    for from in [[mapped.as_path(), &plain], [&plain, &mapped]] {
        merge(&from, &out).fails(2, &["mapped has feature maps, ", "plain has none", "--no-taps"]);
    }
    assert!(!out.exists(), "nothing is begun for nothing");
    let bare = place.path("bare");
    label().arg("subset").arg(&mapped).args(["--no-taps", "--out"]).arg(&bare).succeeds();
    merge(&[&bare, &plain], &out).succeeds();
}

#[test]
fn what_is_said_of_the_weights_must_agree_or_be_said_anew() {
    let place = Place::new();
    let [one, other, out] = ["one", "other", "out"].map(|name| place.path(name));
    run(&place, &one, "plan:3@0", 5).args(["--origin", "the hub"]).succeeds();
    run(&place, &other, "plan:3@1", 5).args(["--origin", "a disk"]).succeeds();
    for from in [[one.as_path(), &other], [&other, &one]] {
        merge(&from, &out).fails(2, &["one says `the hub`", "other says `a disk`", "say with --origin"]);
    }
    assert!(!out.exists(), "nothing is begun for nothing");
    merge(&[&one, &other], &out).args(["--origin", "here"]).succeeds();
    assert_eq!(inspect(&out)["teacher"]["origin"], "here");
}

#[test]
fn parts_written_where_no_disk_is_shared_are_the_label_set_of_one_process() {
    let place = Place::new();
    let whole = place.path("whole");
    place.run(&whole, 20).succeeds();
    let parts = ["0/3", "1/3", "2/3"].map(|part| (place.path(&part.replace('/', " of ")), part));
    for (dir, part) in &parts {
        place.run(dir, 20).args(["--part", part]).succeeds();
    }
    let [a, b, c] = parts.each_ref().map(|(dir, _)| dir.as_path());
    let out = place.path("merged");
    merge(&[a, c], &out).fails(75, &["1 of 3 shards have no logits yet, the first is 1"]);
    merge(&[a, b, c], &out).args(["--dtype", "f16"]).fails(2, &["--dtype says what is taken of published"]);
    merge(&[a, b, &whole], &out).fails(2, &["it is unfinished, and others are published"]);
    merge(&[a, b, &place.path("nowhere")], &out).fails(2, &["nowhere: No such file"]);
    assert!(!out.exists(), "nothing is begun for nothing");
    let said = merge(&[c, a, b], &out).ends();
    assert!(said.code == Some(0) && said.stderr.contains("complete, 500 rows"), "{}", said.stderr);
    assert!(tree(&out) == tree(&whole));
    let again = merge(&[c, a, b], &out).ends();
    assert!(again.code == Some(0) && again.stderr.contains("already complete"), "{}", again.stderr);
    label().arg("merge").arg(a).args(["--out", "x"]).fails(2, &["2 values"]);
}

#[test]
fn a_merge_that_is_asked_to_stop_ends_with_75_and_goes_on() {
    let place = Place::new();
    let [part, rest, one, other] = ["part", "rest", "one", "other"].map(|name| place.path(name));
    place.run(&part, 20).args(["--part", "0/2"]).succeeds();
    place.run(&rest, 20).args(["--part", "1/2"]).succeeds();
    run(&place, &one, "plan:3@0", 20).succeeds();
    run(&place, &other, "plan:3@1", 20).succeeds();
    for (number, labels) in [[part, rest], [one, other]].into_iter().enumerate() {
        let out = place.path(&format!("out {number}"));
        let (taken, said) = (TakenArgs::default(), SaidArgs::default());
        let args = MergeArgs { labels: labels.to_vec(), out: out.clone(), taken, said };
        let error = run_merge(&args, 1, &Stop::asked(), &mut Progress::hidden()).unwrap_err();
        assert_eq!(error.exit(), Exit::Interrupted, "{error}");
        assert!(error.to_string().starts_with("interrupted: 0 of "), "{error}");
        assert!(out.join(".work").exists() && !out.join("manifest.json").exists());
        merge(&[&labels[0], &labels[1]], &out).succeeds();
        label().arg("verify").arg(&out).succeeds();
    }
}

/// Answers to the views of one epoch of six images by an engine, given by hand: those of a row do not depend on it.
fn by_hand(dir: &Path, seed: u64, engine: &str, weights: Option<Hex>) -> Vec<(usize, u16)> {
    let augment: Augment = "crop1".parse().unwrap();
    let plan = ViewPlan { augment, views: Views::Plan { epochs: 1, seed } };
    let dataset = Dataset {
        name: "pixels".into(),
        split: "train".into(),
        shape: [1, 1, 1],
        class_names: Vec::new(),
        classes: 2,
        hashes: (0..6).map(|image| image_hash(1, 1, 1, &[image])).collect(),
        labels: vec![0; 6],
    };
    let views: Vec<Vec<u16>> = (0..6).map(|image| plan.rows(image)).collect();
    let rows = RowTable::from_views(&views, augment).unwrap();
    let mut teacher = Teacher::named("by hand");
    (teacher.engine, teacher.weights_blake3) = (engine.into(), weights);
    let mut session = Session::open(dir, Spec::new(dataset, augment, plan.views, rows, teacher)).unwrap();
    let rows: Vec<(usize, u16)> = views
        .iter()
        .enumerate()
        .flat_map(|(image, views)| views.iter().map(move |&view| (image, view)))
        .collect();
    for job in session.pending() {
        let answers =
            rows[job.rows.clone()].iter().flat_map(|&(image, view)| [image as f32, f32::from(view)]);
        session.write(&job, &answers.collect::<Vec<_>>()).unwrap();
    }
    session.finish().unwrap();
    rows
}

#[test]
fn a_merge_says_which_engine_answered_which_row() {
    let place = Place::new();
    let [one, other, out] = ["one", "other", "out"].map(|name| place.path(name));
    let weights = Some(Hex([1; 32]));
    let ours = by_hand(&one, 0, "a 1", weights);
    let theirs = by_hand(&other, 1, "b 1", weights);
    merge(&[&one, &other], &out).succeeds();
    let mut rows: Vec<(usize, u16)> = [ours.clone(), theirs].concat();
    rows.sort_unstable();
    rows.dedup();
    let by = |row: &(usize, u16)| if ours.contains(row) { "a 1" } else { "b 1" };
    let found = inspect(&out);
    let mut whose = Vec::new();
    for one in found["answered"].as_array().unwrap() {
        let [start, end] = [0, 1].map(|place| one["rows"][place].as_u64().unwrap());
        whose.extend((start..end).map(|_| one["by"]["engine"].as_str().unwrap()));
    }
    assert_eq!(whose, rows.iter().map(by).collect::<Vec<_>>());
    assert!(whose.contains(&"b 1") && whose[0] == found["teacher"]["engine"]);
    let parents: Vec<_> =
        found["parents"].as_array().unwrap().iter().map(|parent| &parent["engine"]).collect();
    assert_eq!(parents, ["a 1", "b 1"]);
    label().arg("verify").arg(&out).succeeds();
    // What is taken of it says so, too; what one engine answered alone does not.
    let [part, whole] = ["part", "whole"].map(|name| place.path(name));
    let subset = |from: &Path, views: &str, out: &Path| {
        label().arg("subset").arg(from).args(["--views", views, "--out"]).arg(out).succeeds()
    };
    subset(&out, "plan:1@1", &part);
    subset(&out, "plan:1@0", &whole);
    assert!(inspect(&whole).get("answered").is_none() && inspect(&whole)["teacher"]["engine"] == "a 1");
    assert!(inspect(&part)["content_hash"] == inspect(&other)["content_hash"]);
    // The same command finds it done.
    let again = merge(&[&one, &other], &out).ends();
    assert!(again.code == Some(0) && again.stderr.contains("already complete"), "{}", again.stderr);
}

#[test]
fn teachers_whose_weights_nobody_recorded_are_one_only_if_somebody_says_so() {
    let place = Place::new();
    let [one, other, out] = ["one", "other", "out"].map(|name| place.path(name));
    by_hand(&one, 0, "a 1", None);
    by_hand(&other, 1, "a 1", None);
    let said =
        merge(&[&one, &other], &out).fails(2, &["does not record the weights of its teacher, by hand"]);
    assert!(said.stderr.contains("hint: --same-teacher says"), "{}", said.stderr);
    assert!(!out.exists(), "nothing is begun for nothing");
    merge(&[&one, &other], &out).args(["--same-teacher"]).succeeds();
}

#[test]
fn what_is_published_or_being_published_is_left_with_75_when_somebody_asks() {
    let place = Place::new();
    let [one, other, out, parts] = ["one", "other", "out", "parts"].map(|name| place.path(name));
    run(&place, &one, "plan:3@0", 20).succeeds();
    run(&place, &other, "plan:3@1", 20).succeeds();
    merge(&[&one, &other], &out).args(["--threads", "1"]).succeeds();
    let whole = tree(&out);
    let args = MergeArgs {
        labels: vec![one, other],
        out: out.clone(),
        taken: TakenArgs::default(),
        said: SaidArgs::default(),
    };
    let error = run_merge(&args, 2, &Stop::asked(), &mut Progress::hidden()).unwrap_err();
    assert_eq!(error.exit(), Exit::Interrupted, "{error}");
    assert!(error.to_string().contains("was not verified to its end"), "{error}");
    assert!(tree(&out) == whole);
    for part in ["0/2", "1/2"] {
        place.run(&parts, 20).args(["--part", part]).succeeds();
    }
    let before = tree(&parts);
    let finalize = FinalizeArgs { labels: parts.clone() };
    let asked = run_finalize(&finalize, 2, &Stop::asked()).unwrap_err();
    assert_eq!(asked.exit(), Exit::Interrupted, "{asked}");
    assert!(tree(&parts) == before);
    label().arg("finalize").arg(&parts).args(["--threads", "1"]).succeeds();
    let asked = run_finalize(&finalize, 2, &Stop::asked()).unwrap_err();
    assert_eq!(asked.exit(), Exit::Interrupted, "of a published one: {asked}");
    label()
        .arg("finalize")
        .arg(&parts)
        .args(["--device", "cpu"])
        .fails(2, &["--device says what runs a network"]);
}

#[test]
fn more_images_than_there_are_is_said() {
    let place = Place::new();
    let [one, out] = ["one", "out"].map(|name| place.path(name));
    let said = run(&place, &one, "plan:1@0", 999_999).ends();
    assert!(
        said.code == Some(0) && said.stderr.contains(": --limit 999999 takes all of them"),
        "{}",
        said.stderr
    );
    let subset = label().arg("subset").arg(&one).args(["--limit", "999999", "--out"]).arg(&out).ends();
    assert!(subset.stderr.contains(" images: --limit 999999 takes all of them"), "{}", subset.stderr);
}
