//! Files changed at random: a reader may refuse or read another image, but never panics, hangs or takes all memory.

use std::fs;
use std::path::Path;

use data::Split;

use crate::{golden, load};

/// Cuts the file at many places and flips bits all over it; each result must be a dataset or one error of two lines.
fn damage(dataset: &str, whole: &[u8], place: &Path, write_to: &Path, cuts_are_seen: bool) {
    let step = (whole.len() / 100).max(1);
    for cut in (0..whole.len()).step_by(step) {
        fs::write(write_to, &whole[..cut]).unwrap();
        let outcome = load(dataset, place, Split::Train);
        assert!(outcome.is_err() || !cuts_are_seen, "{dataset} cut at {cut} was read");
    }
    for at in (0..whole.len()).step_by((whole.len() / 500).max(1)) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        fs::write(write_to, &bytes).unwrap();
        if let Err(error) = load(dataset, place, Split::Train) {
            let text = error.to_string();
            assert!(text.contains("\nhint: "), "{dataset} flipped at {at}: {text}");
        }
    }
}

#[test]
fn damaged_parquet_is_refused_or_read_but_never_panics() {
    let home = tempfile::tempdir().unwrap();
    for source in ["parquet/sharded/data/train-00001-of-00002.parquet", "parquet/plain/train.parquet"] {
        let whole = fs::read(golden(source)).unwrap();
        damage("parquet", &whole, home.path(), &home.path().join("train.parquet"), true);
    }
}

#[test]
fn a_damaged_npz_is_refused_or_read_but_never_panics() {
    let home = tempfile::tempdir().unwrap();
    for source in ["keras.npz", "planar.npz"] {
        let whole = fs::read(golden(source)).unwrap();
        let file = home.path().join("file.npz");
        damage("npz", &whole, &file, &file, true);
    }
}

#[test]
fn a_damaged_python_batch_is_refused_or_read_but_never_panics() {
    let home = tempfile::tempdir().unwrap();
    for source in ["cifar100/python/train", "cifar100/python4/train"] {
        let whole = fs::read(golden(source)).unwrap();
        damage("cifar100", &whole, home.path(), &home.path().join("train"), true);
    }
}

#[test]
fn a_damaged_idx_is_refused_or_read_but_never_panics() {
    let home = tempfile::tempdir().unwrap();
    let labels = "train-labels-idx1-ubyte.gz";
    fs::copy(golden("mnist/packed/raw").join(labels), home.path().join(labels)).unwrap();
    let images = "train-images-idx3-ubyte.gz";
    let whole = fs::read(golden("mnist/packed/raw").join(images)).unwrap();
    damage("mnist", &whole, home.path(), &home.path().join(images), true);
}
