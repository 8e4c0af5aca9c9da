//! Tests of the readers against files that other programs wrote: `golden/make_golden.py` with NumPy, pyarrow, Pillow and
//! PyTorch, and, where `RSLAD_DATA` names a folder with them, the published CIFAR-10 and MNIST.

mod arrays;
mod cifar;
mod damage;
mod folders;
mod hostile;
mod identity;
mod jpeg;
mod mnist;
mod npz;
mod odd;
mod parquet;
mod published;
mod sample;
mod spec;
mod strong;
mod views;

use std::path::{Path, PathBuf};

use data::{DataError, Dataset, DatasetSpec, Split};
use sha2::{Digest, Sha256};

/// A file or folder that `make_golden.py` wrote.
fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files").join(path)
}

fn load(dataset: &str, place: &Path, split: Split) -> Result<Dataset, DataError> {
    format!("{dataset}:{}", place.display()).parse::<DatasetSpec>()?.load(split)
}

/// The message of a refusal, which always carries a hint on its second line.
fn refusal(dataset: &str, place: &Path, split: Split) -> String {
    let error = load(dataset, place, split).expect_err("a damaged dataset is refused");
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].starts_with("hint: "), "{text}");
    text
}

/// A folder of the published datasets, or `None`, said aloud, where they are not.
fn published(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RSLAD_DATA")
        .map(|data| Path::new(&data).join(name))
        .filter(|folder| folder.is_dir());
    if folder.is_none() {
        eprintln!("skipped: RSLAD_DATA names no folder with {name}/");
    }
    folder
}

fn sha256(bytes: &[u8]) -> String {
    let digits: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// The values of one pixel, one per channel.
fn pixel(dataset: &Dataset, image: usize, y: usize, x: usize) -> &[u8] {
    let shape = dataset.shape();
    &dataset.pixels(image)[(y * shape.width + x) * shape.channels..][..shape.channels]
}

/// Images per class.
fn counts(dataset: &Dataset) -> Vec<usize> {
    let mut counts = vec![0; dataset.classes()];
    for &label in dataset.labels() {
        counts[label as usize] += 1;
    }
    counts
}
