//! A label set that goes on on another kind of machine: its rows say whose they are.

use std::fs;
use std::path::Path;

use crate::fixture::{Place, inspect, label, tree};
use crate::interrupt::wait_for;

fn manifest(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// A part is killed in the midst of its second shard on the reference engine and goes on on the fast one, as another part does.
#[test]
fn a_part_goes_on_on_another_engine_and_the_manifest_says_which_rows_are_whose() {
    let place = Place::new();
    let out = place.path("parts");
    let run = |part: &str, more: &[&str]| {
        place.run_in_shards(&out, 120, 20).args(["--threads", "1", "--part", part]).args(more)
    };
    let reference = ["--device", "reference", "--batch", "1"];
    let mut killed = run("0/2", &reference).start();
    let kept = || fs::metadata(out.join(".work/answers-00001")).map_or(0, |kept| kept.len());
    assert!(wait_for(&mut killed, || kept() > 0), "caught alive");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let rows = kept() / (20 + 40);
    assert!(rows > 0 && rows < 500 && fs::exists(out.join(".work/shard-00000.json")).unwrap());

    run("0/2", &["--same-engine"])
        .fails(2, &["teacher.engine is \"reference ", "there, this run has \"cpu-"]);
    let said = run("0/2", &[]).ends();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let warned = "it was begun, or answered in part, by reference ";
    assert!(said.stderr.contains(warned) && said.stderr.contains("--same-engine"), "{}", said.stderr);
    let said = run("1/2", &[]).ends();
    assert!(said.code == Some(0) && said.stderr.contains(warned), "{}", said.stderr);
    label().arg("finalize").arg(&out).succeeds();

    let whole = manifest(&out);
    let whose: Vec<(Vec<u64>, bool)> = whole["answered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let rows = one["rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap());
            (rows.collect(), one["by"]["engine"].as_str().unwrap().starts_with("reference "))
        })
        .collect();
    let moved = 20 * 25 + rows;
    assert_eq!(whose, [(vec![0, moved], true), (vec![moved, 120 * 25], false)]);
    assert_eq!(inspect(&out)["answered"], whole["answered"]);
    label().arg("verify").arg(&out).succeeds();
    let shown = label().arg("inspect").arg(&out).succeeds();
    assert!(shown.contains(&format!("f32: {moved} rows by reference")), "{shown}");
    let teacher = place.teacher();
    let again = label().arg("verify").arg(&out).args(["--recompute", "50", "--data", "sample", "--teacher"]);
    let again = again.arg(&teacher).succeeds();
    assert!(again.contains(&format!("computed then f32: {moved} rows by reference")), "{again}");

    // The engine that answered a shard brings it back; the other one says beforehand that it may not.
    let wanted = tree(&out);
    for path in ["shards/train-00005-of-00006.safetensors", "data/train-00005-of-00006.parquet"] {
        fs::remove_file(out.join(path)).unwrap();
    }
    let repair = || label().arg("repair").arg(&out).args(["--data", "sample", "--teacher"]).arg(&teacher);
    repair()
        .args(["--device", "reference"])
        .fails(1, &["shard 5 was answered by cpu-", "and this is reference "]);
    let said = repair().ends();
    assert!(said.code == Some(0) && !said.stderr.contains("warning"), "{}", said.stderr);
    assert!(tree(&out) == wanted);
}

#[test]
fn what_one_engine_answered_says_so_once() {
    let place = Place::new();
    let [one, moved] = ["one", "moved"].map(|name| place.path(name));
    place.run(&one, 20).args(["--same-engine"]).succeeds();
    let mut whole = manifest(&one);
    assert!(whole.get("answered").is_none());
    // Whoever finds it done on another engine is told so, unless it must be that engine's.
    let other = || place.run(&one, 20).args(["--device", "reference"]);
    assert!(other().ends().stderr.contains("already complete"));
    other().args(["--same-engine"]).fails(2, &["teacher.engine is \"cpu-"]);
    // Appended to on another engine: the old rows are the parent's, whoever that was.
    let append = label().arg("append").arg(&one).arg("--teacher").arg(place.teacher());
    let append =
        append.args(["--data", "sample", "--views", "all", "--limit", "30", "--device", "reference"]);
    append.args(["--same-engine"]).arg("--out").arg(&moved).succeeds();
    whole = manifest(&moved);
    assert!(whole.get("answered").is_none() && whole["parents"].as_array().unwrap().len() == 1);
    // Card and inspection name that engine, and who brings the rows back on the one that is named first is told beforehand.
    let card = |dir: &Path| fs::read_to_string(dir.join("README.md")).unwrap();
    let said = "; rows were taken over, and the parents name also cpu-";
    assert!(card(&moved).contains(said) && !card(&one).contains("taken over"), "{}", card(&moved));
    let shown = label().arg("inspect").arg(&moved).succeeds();
    assert!(shown.split_whitespace().collect::<Vec<_>>().join(" ").contains(said), "{shown}");
    for dir in ["data", "shards"] {
        for file in fs::read_dir(moved.join(dir)).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    let repair = label().arg("repair").arg(&moved).args(["--data", "sample", "--device", "reference"]);
    let told = repair.arg("--teacher").arg(place.teacher()).ends().stderr;
    assert!(told.contains("rows were taken over, which may be by cpu-"), "{told}");
}
