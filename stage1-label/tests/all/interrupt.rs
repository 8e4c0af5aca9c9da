//! `label run` killed and interrupted: the same command again gives the same folder.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::fixture::{DIGITS, Place, ended, label, save_teacher, tree};

/// Enough rows for the run to last while it is being watched.
const IMAGES: usize = 240;

/// Waits until `there` holds; gives whether the process was still running then.
pub fn wait_for(child: &mut Child, there: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(2) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if there() {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("nothing happened for two minutes");
}

/// Shards that a resumed run will not write again.
fn finished_shards(out: &Path) -> usize {
    let entries = fs::read_dir(out.join(".work")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json")).count()
}

#[test]
fn killed_at_any_moment_and_run_again_gives_the_same_folder() {
    let place = Place::new();
    let whole = place.path("whole");
    place.run(&whole, IMAGES).succeeds();
    let whole = tree(&whole);

    let out = place.path("killed");
    let mut killed = 0;
    // 1 is the parameters' own file; each shard adds one.
    let moments: Vec<Box<dyn Fn() -> bool>> = vec![
        Box::new(|| out.exists()),
        Box::new(|| out.join(".work").exists()),
        Box::new(|| finished_shards(&out) >= 1),
        Box::new(|| finished_shards(&out) >= 2),
        Box::new(|| fs::read_dir(out.join("data")).is_ok_and(|entries| entries.count() > 5)),
        Box::new(|| finished_shards(&out) >= 9),
        Box::new(|| finished_shards(&out) >= 20),
        Box::new(|| out.join("README.md").exists()),
        Box::new(|| out.join("SHA256SUMS").exists()),
        Box::new(|| out.join("manifest.json").exists()),
    ];
    for moment in moments {
        let mut child = place.run(&out, IMAGES).args(["--threads", "1", "--batch", "25"]).start();
        killed += usize::from(wait_for(&mut child, moment));
        child.kill().unwrap();
        child.wait().unwrap();
        if !out.join("manifest.json").exists() && out.join(".work").exists() {
            label()
                .arg("inspect")
                .arg(&out)
                .fails(2, &["is unfinished", "hint: run the same `label run` or `label pull` again"]);
        }
    }
    assert!(killed >= 4, "only {killed} runs were caught alive");
    place.run(&out, IMAGES).succeeds();
    assert!(tree(&out) == whole);
}

#[test]
fn ctrl_c_and_sigterm_end_with_75_and_the_run_resumes() {
    let place = Place::new();
    let whole = place.path("whole");
    place.run(&whole, IMAGES).succeeds();
    let out = place.path("interrupted");
    for (signal, shards) in [("INT", 3), ("TERM", 6)] {
        let mut child = place.run(&out, IMAGES).args(["--threads", "1", "--batch", "25"]).start();
        assert!(wait_for(&mut child, || finished_shards(&out) > shards), "caught alive");
        assert!(
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
        );
        let ended = ended(&child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(75), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: run the same command again to resume"), "{}", ended.stderr);
        assert!(!out.join("manifest.json").exists());
    }
    let resumed = place.run(&out, IMAGES).ends();
    assert_eq!(resumed.code, Some(0));
    assert!(resumed.stderr.contains("resuming after"), "{}", resumed.stderr);
    assert!(tree(&out) == tree(&whole));
}

/// Bytes of the answers that are kept of a shard.
pub fn kept(out: &Path) -> u64 {
    fs::metadata(out.join(".work/answers-00000")).map_or(0, |meta| meta.len())
}

#[test]
fn inside_a_shard_a_kill_costs_an_answer_and_an_interrupt_nothing() {
    let place = Place::new();
    let run = |out: &Path| place.run_in_shards(out, IMAGES, IMAGES).args(["--threads", "1"]);
    let whole = place.path("whole");
    run(&whole).succeeds();
    let out = place.path("stopped");
    let mut before = 0;
    for signal in ["KILL", "INT", "KILL", "TERM"] {
        let had = kept(&out);
        let mut child = run(&out).args(["--batch", "1"]).start();
        // An answer is 10 classes of 4 bytes and 20 bytes before them.
        assert!(wait_for(&mut child, || kept(&out) >= had + 60 * 20), "caught alive");
        assert!(
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
        );
        let ended = ended(&child.wait_with_output().unwrap());
        // A kill may tear an answer between two pages of its file; an interrupt lets it be written.
        let rows = kept(&out) / 60;
        assert!(rows >= before + 20, "{rows} rows after {before}");
        if signal != "KILL" {
            assert_eq!(kept(&out) % 60, 0, "whole answers");
            assert_eq!(ended.code, Some(75), "{}", ended.stderr);
            assert!(ended.stderr.contains(&format!("interrupted: {rows} of 6000 rows")), "{}", ended.stderr);
        }
        before = rows;
    }
    run(&out).succeeds();
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn answers_that_were_torn_by_a_crash_are_given_again() {
    let place = Place::new();
    let run = |out: &Path| place.run_in_shards(out, 40, 40).args(["--threads", "1"]);
    let whole = place.path("whole");
    run(&whole).succeeds();
    let out = place.path("torn");
    let mut child = run(&out).args(["--batch", "1"]).start();
    assert!(wait_for(&mut child, || kept(&out) >= 60 * 50), "caught alive");
    child.kill().unwrap();
    child.wait().unwrap();
    let answers = out.join(".work/answers-00000");
    let mut bytes = fs::read(&answers).unwrap();
    bytes.truncate(60 * 40 + 33);
    bytes.extend([0; 4096]);
    bytes[60 * 30 + 25] ^= 2;
    fs::write(&answers, bytes).unwrap();
    run(&out).succeeds();
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn another_run_does_not_go_on_in_a_begun_folder() {
    let place = Place::new();
    let out = place.path("labels");
    let mut child = place.run(&out, IMAGES).args(["--threads", "1", "--batch", "25"]).start();
    assert!(wait_for(&mut child, || finished_shards(&out) >= 2), "caught alive");
    child.kill().unwrap();
    child.wait().unwrap();
    place.run(&out, IMAGES).args(["--dtype", "f32"]).fails(2, &["dtype is \"f16\" there"]);
    place.run(&out, IMAGES).args(["--author", "me"]).fails(2, &["author is \"\" there, this run has \"me\""]);
    save_teacher(&place.teacher(), DIGITS, 2, |value| value);
    place.run(&out, IMAGES).fails(2, &["teacher.weights_blake3 is"]);
}

#[test]
fn two_writers_do_not_share_a_folder() {
    let place = Place::new();
    let out = place.path("labels");
    let mut child = place.run(&out, IMAGES).args(["--threads", "1", "--batch", "1"]).start();
    assert!(wait_for(&mut child, || finished_shards(&out) >= 1));
    place.run(&out, IMAGES).fails(75, &["another process is writing it"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
