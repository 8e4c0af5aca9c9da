//! Which forms each dataset is looked for in, and in what order.

use std::path::Path;

use bytes::Bytes;

use crate::dataset::Rows;
use crate::folder::{all_or_none, glimpse, roots};
use crate::read::{cifar_binary, cifar_python, idx, npz as npz_file, parquet as parquet_files};
use crate::spec::DatasetRow;
use crate::{DataError, Split};

static SAMPLE_TRAIN: &[u8] = include_bytes!("../samples/train.parquet");
static SAMPLE_TEST: &[u8] = include_bytes!("../samples/test.parquet");

/// Folders in which the hub, torchvision, keras and the original archives keep their files.
const CIFAR10_FOLDERS: [&str; 4] = ["data", "plain_text", "cifar-10-batches-bin", "cifar-10-batches-py"];
const CIFAR100_FOLDERS: [&str; 4] = ["data", "cifar100", "cifar-100-binary", "cifar-100-python"];
const MNIST_FOLDERS: [&str; 4] = ["raw", "MNIST/raw", "data", "mnist"];

pub(crate) fn sample(_: &'static DatasetRow, _: &Path, split: Split) -> Result<Rows, DataError> {
    let (file, name) = match split {
        Split::Train => (SAMPLE_TRAIN, "sample/train.parquet"),
        Split::Test => (SAMPLE_TEST, "sample/test.parquet"),
    };
    parquet_files::read_bytes(Bytes::from_static(file), Path::new(name))
}

/// The names and record layout of one kind of CIFAR batches.
struct Batches {
    folders: [&'static str; 4],
    stems: Vec<String>,
    /// Label bytes before each image of the binary form.
    label_bytes: usize,
    /// Keys of the labels in the python form.
    label_key: &'static str,
}

pub(crate) fn cifar10(row: &'static DatasetRow, folder: &Path, split: Split) -> Result<Rows, DataError> {
    let stems = match split {
        Split::Train => (1..=5).map(|number| format!("data_batch_{number}")).collect(),
        Split::Test => vec!["test_batch".to_owned()],
    };
    cifar(
        row,
        folder,
        split,
        &Batches { folders: CIFAR10_FOLDERS, stems, label_bytes: 1, label_key: "labels" },
    )
}

pub(crate) fn cifar100(row: &'static DatasetRow, folder: &Path, split: Split) -> Result<Rows, DataError> {
    let stems = vec![split.name().to_owned()];
    cifar(
        row,
        folder,
        split,
        &Batches { folders: CIFAR100_FOLDERS, stems, label_bytes: 2, label_key: "fine_labels" },
    )
}

fn cifar(
    row: &'static DatasetRow,
    folder: &Path,
    split: Split,
    batches: &Batches,
) -> Result<Rows, DataError> {
    let shape = row.shape.expect("CIFAR images have one size");
    let classes = row.class_names.len();
    let binary: Vec<String> = batches.stems.iter().map(|stem| format!("{stem}.bin")).collect();
    for root in roots(folder, &batches.folders)? {
        if let Some(paths) = all_or_none(&root, &binary)? {
            return cifar_binary::read(&paths, shape, batches.label_bytes, classes, root);
        }
        if let Some(paths) = all_or_none(&root, &batches.stems)? {
            return cifar_python::read(&paths, shape, batches.label_key, classes, root);
        }
        if let Some(paths) = parquet_files::shards(&root, split)? {
            return parquet_files::read_files(&paths, Some(classes), root);
        }
    }
    let looked_for = format!(
        "{} (binary); {} (python); {}",
        binary.join(", "),
        batches.stems.join(", "),
        parquet_names(split)
    );
    nothing(row, folder, split, &looked_for, &batches.folders)
}

pub(crate) fn mnist(row: &'static DatasetRow, folder: &Path, split: Split) -> Result<Rows, DataError> {
    let stem = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let classes = row.class_names.len();
    for root in roots(folder, &MNIST_FOLDERS)? {
        // The original server wrote a dash, older copies and browsers a dot.
        for dot in ['-', '.'] {
            for end in ["", ".gz"] {
                let wanted = [
                    format!("{stem}-images{dot}idx3-ubyte{end}"),
                    format!("{stem}-labels{dot}idx1-ubyte{end}"),
                ];
                if let Some(paths) = all_or_none(&root, &wanted)? {
                    return idx::read(&paths[0], &paths[1], classes, root);
                }
            }
        }
        if let Some(paths) = parquet_files::shards(&root, split)? {
            return parquet_files::read_files(&paths, Some(classes), root);
        }
    }
    let looked_for = format!(
        "{stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte, plain or .gz; {}",
        parquet_names(split)
    );
    nothing(row, folder, split, &looked_for, &MNIST_FOLDERS)
}

pub(crate) fn parquet(row: &'static DatasetRow, folder: &Path, split: Split) -> Result<Rows, DataError> {
    for root in roots(folder, &["data"])? {
        if let Some(paths) = parquet_files::shards(&root, split)? {
            return parquet_files::read_files(&paths, None, root);
        }
    }
    nothing(row, folder, split, &parquet_names(split), &["data"])
}

pub(crate) fn npz(_: &'static DatasetRow, file: &Path, split: Split) -> Result<Rows, DataError> {
    npz_file::read(file, split)
}

fn parquet_names(split: Split) -> String {
    format!("{split}-*.parquet, {split}.parquet, {split}/*.parquet")
}

fn nothing<T>(
    row: &DatasetRow,
    folder: &Path,
    split: Split,
    looked_for: &str,
    inside: &[&str],
) -> Result<T, DataError> {
    Err(DataError::NothingFound {
        folder: folder.to_owned(),
        dataset: row.name,
        split,
        looked_for: format!("{looked_for}; also inside {}", inside.join(", ")),
        found: glimpse(folder),
    })
}
