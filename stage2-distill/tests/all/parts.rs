//! Runs whose batches are cut into parts, in one process, and what refuses to be one of several. Several ranks are tried by
//! `tools/ranks`.

use crate::fixture::{Scene, state_of};

/// A short run of a network with BatchNorm; its last batch has fewer images than parts.
fn training<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    training_of("sat", out, more)
}

fn training_of<'a>(objective: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let own = ["--limit", "105", "--epochs", "2", "--objective", objective];
    let mut arguments = Scene::training(out, &own);
    for argument in &mut arguments {
        if *argument == "tiny-cnn" {
            *argument = "resnet8";
        }
    }
    arguments.extend(more);
    arguments
}

#[test]
fn a_run_in_parts_has_the_same_bits_on_any_number_of_threads_and_is_recorded_as_one() {
    let scene = Scene::new();
    for (out, threads) in [("one", "1"), ("two", "2"), ("three", "3"), ("four", "4")] {
        scene.run(&training(out, &["--parts", "8", "--threads", threads])).succeeds();
        assert_eq!(scene.student(out), scene.student("one"), "{threads} threads");
    }
    let said = scene.run(&training("set", &["--set", "parts=8", "-v"])).succeeds().stderr;
    assert!(said.contains("each batch in 8 parts") && said.contains("parts = 8"), "{said}");
    assert_eq!(scene.student("set"), scene.student("one"));
    let config = std::fs::read_to_string(scene.path("one/config.toml")).unwrap();
    assert!(config.contains("\nparts = 8\n"), "{config}");
    scene.run(&training("one", &[])).refused(2, &["parts: 8, not set"]);
}

#[test]
fn one_part_is_a_batch_in_one_piece_and_eight_are_another_training() {
    let scene = Scene::new();
    for (out, more) in [("whole", &[][..]), ("one", &["--parts", "1"]), ("eight", &["--parts", "8"])] {
        scene.run(&training(out, more)).succeeds();
    }
    assert_eq!(scene.student("one"), scene.student("whole"));
    assert_ne!(scene.student("eight"), scene.student("whole"));
    let config = std::fs::read_to_string(scene.path("whole/config.toml")).unwrap();
    assert!(!config.contains("parts"), "{config}");
}

/// Several forwards move the running statistics in a step, in their order: TRADES has two, and an attack on batch
/// statistics before them.
#[test]
fn one_part_moves_the_running_statistics_as_often_as_a_batch_in_one_piece() {
    let scene = Scene::new();
    for (out, more) in [("whole", &[][..]), ("one", &["--parts", "1"])] {
        scene.run(&training_of("trades", out, more)).succeeds();
    }
    assert_eq!(scene.student("one"), scene.student("whole"));
}

#[test]
fn mpirun_of_one_rank_means_eight_parts_and_of_several_is_refused_without_mpi() {
    let scene = Scene::new();
    let under = |out: &str, ranks: &str| {
        let mut command = scene.command(&training(out, &[]));
        crate::fixture::Finished::of(&command.env("OMPI_COMM_WORLD_SIZE", ranks).output().unwrap())
    };
    if cfg!(feature = "mpi") {
        eprintln!("skipped: this build would look for mpirun");
        return;
    }
    under("under", "1").succeeds();
    scene.run(&training("plain", &["--parts", "8"])).succeeds();
    assert_eq!(scene.student("under"), scene.student("plain"));
    under("several", "2")
        .refused(2, &["one of 2 ranks", "built without MPI", "--features rslad-distill/mpi"]);
    assert!(!scene.path("several").exists());
}

#[test]
fn what_needs_a_whole_batch_is_refused_in_parts() {
    let scene = Scene::new();
    scene.labels("labels");
    for (more, words) in [
        (&["--awp", "0.005"][..], &["both parts and awp"][..]),
        (&["--batch", "7"], &["parts is more than the images of a batch"]),
        (&["--objective", "fair-rslad", "--labels", "labels"], &["objective fair-rslad remembers"]),
        (&["--objective", "absld", "--labels", "labels"], &["objective absld remembers"]),
        (
            &["--objective", "snord", "--labels", "labels", "--labelled", "0.5", "--ema", "0.9"],
            &["snord mixes images"],
        ),
    ] {
        let arguments = Scene::training("run", &[more, &["--parts", "8"]].concat());
        scene.run(&arguments).refused(2, words);
        assert!(!scene.path("run").exists());
    }
}

#[test]
fn a_run_in_parts_counts_each_batch_once() {
    let scene = Scene::new();
    scene.run(&training("run", &["--parts", "8"])).succeeds();
    let checkpoint = crate::fixture::checkpoints(&scene.path("run")).pop().unwrap();
    let state = state_of(&checkpoint);
    // 105 images in batches of 50, two epochs.
    assert_eq!((state["step"].as_u64(), state["epoch"].as_u64()), (Some(6), Some(2)));
    let file = weights::read(&checkpoint).unwrap();
    let counts: Vec<i64> = file
        .iter()
        .filter(|(name, _)| name.ends_with("num_batches_tracked"))
        .flat_map(|(_, tensor)| tensor.to_f64())
        .map(|count| count as i64)
        .collect();
    assert!(!counts.is_empty() && counts.iter().all(|&count| count == 6), "{counts:?}");
}
