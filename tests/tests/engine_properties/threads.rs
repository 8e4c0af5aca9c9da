//! Results do not depend on the number of threads: neither the engine's, nor candle's and its matrix product's.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

use engine::params::{Arena, Precision};
use engine::{Norm, Reference};

use crate::small::{Run, bits_per_image, network};

const NETWORKS: [(&str, [usize; 3]); 4] = [
    ("small-cnn", [1, 28, 28]),
    ("resnet8", [3, 32, 32]),
    ("mobilenet-v2-x0.25", [3, 32, 32]),
    ("resnet4b", [3, 32, 32]),
];

/// A hash of all bits that a run gives.
fn hash(run: &Run) -> u64 {
    let mut hasher = DefaultHasher::new();
    bits_per_image(&run.logits).hash(&mut hasher);
    bits_per_image(&run.image).hash(&mut hasher);
    for arena in [run.grads.values(), run.moved.statistics()] {
        let Arena::F32(values) = arena else { panic!("the run is in f32") };
        for value in values {
            value.to_bits().hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// A line for each network and mode: a full micro-batch and a part, or one batch.
fn report(threads: usize) -> String {
    let engine = Reference::new(threads).unwrap();
    let mut lines = String::new();
    for (name, input) in NETWORKS {
        let small = network(name, input, Precision::F32);
        for (norm, size) in [(Norm::Running, 20), (Norm::Batch, 5)] {
            let run = small.run(&engine, &(0..size).collect::<Vec<_>>(), norm);
            writeln!(lines, "{name} {norm:?} {:016x}", hash(&run)).unwrap();
        }
    }
    lines
}

const CHILD: &str = "RSLAD_TESTS_PRINT_HASHES";
const BEGIN: &str = "hashes begin\n";

#[test]
fn engines_of_any_number_of_threads_give_the_same_bits() {
    let one = report(1);
    assert_eq!(one.lines().count(), 2 * NETWORKS.len());
    for threads in [2, 3] {
        assert_eq!(report(threads), one, "{threads} threads");
    }
}

/// candle and its matrix product read the environment once, so each setting needs a process: this test runs itself.
#[test]
fn processes_with_any_number_of_threads_give_the_same_bits() {
    if std::env::var_os(CHILD).is_some() {
        print!("{BEGIN}{}", report(2));
        return;
    }
    let run = |gemm: &str, candle: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("threads::processes_with_any_number_of_threads_give_the_same_bits")
            .env(CHILD, "1")
            .env("RAYON_NUM_THREADS", gemm)
            .env("CANDLE_NUM_THREADS", candle)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, hashes) = text.split_once(BEGIN).unwrap_or_else(|| panic!("no hashes: {text}"));
        let count = 2 * NETWORKS.len();
        hashes.lines().take(count).map(String::from).collect::<Vec<_>>()
    };
    let one = run("1", "1");
    assert!(one.len() == 2 * NETWORKS.len() && one[0].starts_with("small-cnn Running "), "{one:?}");
    for (gemm, candle) in [("2", "1"), ("3", "3")] {
        assert_eq!(run(gemm, candle), one, "RAYON_NUM_THREADS={gemm} CANDLE_NUM_THREADS={candle}");
    }
}
