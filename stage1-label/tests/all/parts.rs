//! `label run --part` and `label finalize`: several processes write one label set.

use std::fs;
use std::process::Command;

use crate::fixture::{Place, label, tree};
use crate::interrupt::wait_for;

#[test]
fn three_processes_one_of_them_killed_and_retried_give_the_label_set_of_one() {
    let place = Place::new();
    let whole = place.path("whole");
    place.run_in_shards(&whole, 240, 40).succeeds();
    let out = place.path("parts");
    let run = |part: &str| place.run_in_shards(&out, 240, 40).args(["--threads", "1", "--part", part]);
    let mut killed = run("1/3").args(["--batch", "1"]).start();
    let answered = || fs::metadata(out.join(".work/answers-00002")).is_ok_and(|kept| kept.len() > 0);
    assert!(wait_for(&mut killed, answered), "caught alive");
    // Asleep, and no less the one that writes.
    Command::new("kill").args(["-STOP", &killed.id().to_string()]).status().unwrap();
    run("1/3").fails(75, &["another process is writing part 1/3 of it"]);
    let others = ["0/3", "2/3"].map(|part| run(part).start());
    killed.kill().unwrap();
    killed.wait().unwrap();
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    label().arg("finalize").arg(&out).fails(75, &["2 of 6 shards have no logits yet, the first is 2"]);
    label().arg("verify").arg(&out).fails(2, &["is unfinished"]);
    let ended = run("1/3").ends();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(
        ended.stderr.contains("part 1/3 complete, shards 2 to 3 of 0 to 5\nall shards are there"),
        "{}",
        ended.stderr
    );
    label().arg("finalize").arg(&out).succeeds();
    assert!(tree(&out) == tree(&whole));
    // Whoever comes late finds it done.
    let late = run("0/3").ends();
    assert!(late.code == Some(0) && late.stderr.contains("already complete"), "{}", late.stderr);
    label().arg("finalize").arg(&out).succeeds();
    assert!(tree(&out) == tree(&whole));
}

/// A part's number, as Slurm and Kubernetes hand it to a process.
#[test]
fn a_scheduler_says_which_part_it_is() {
    let place = Place::new();
    let out = place.path("parts");
    let run = |part: &str, variables: &[(&str, &str)]| {
        let mut command = place.run_in_shards(&out, 20, 10).args(["--part", part]);
        for name in ["SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "SLURM_NTASKS", "JOB_COMPLETION_INDEX"] {
            command = command.without(name);
        }
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command
    };
    run("auto", &[]).fails(2, &["no scheduler says which part this is"]);
    let array =
        [("SLURM_ARRAY_TASK_ID", "0"), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_MIN", "0")];
    let said = run("auto", &array).ends().stderr;
    assert!(said.contains("part 0/2 complete, shard 0 of 0 to 1\n1 of 2 shards are missing"), "{said}");
    run("auto/3", &[("JOB_COMPLETION_INDEX", "1")]).fails(2, &["it was begun in 2 parts, this is part 1/3"]);
    run("auto/2", &[("JOB_COMPLETION_INDEX", "1")]).succeeds();
    label().arg("finalize").arg(&out).succeeds();
}

#[test]
fn a_part_that_no_shard_falls_to_says_so_and_robust_is_for_one_process() {
    let place = Place::new();
    let out = place.path("parts");
    let run = |part: &str| place.run_in_shards(&out, 20, 20).args(["--part", part]);
    let said = run("0/2").ends().stderr;
    assert!(said.contains("no shard of 1 falls to it: --shard-images makes more of them"), "{said}");
    run("1/2").args(["--robust", "5"]).fails(2, &["cannot be used with"]);
    run("1/2").succeeds();
    let there = |name: &str| fs::exists(out.join(name)).unwrap();
    assert!(!there("manifest.json"));
    label().arg("finalize").arg(&out).succeeds();
    assert!(there("manifest.json") && !there(".work"));
}
