//! What the two CIFAR datasets have in common: binary batches, python batches, or Parquet.

use std::path::Path;

use crate::dataset::Rows;
use crate::folder::{all_or_none, nothing, roots};
use crate::read::{cifar_binary, cifar_python, parquet};
use crate::{DataError, ImageShape, Split};

/// The size of every image.
pub(super) const SHAPE: ImageShape = ImageShape::new(32, 32, 3);

/// Where one of them lies, and how its records look.
pub(super) struct Batches {
    /// Its name.
    pub dataset: &'static str,
    /// Folders in which the hub, torchvision, keras and the original archives keep its files.
    pub folders: [&'static str; 4],
    /// The files of the split, without an ending.
    pub stems: Vec<String>,
    /// Label bytes before each image of the binary form.
    pub label_bytes: usize,
    /// Key of the labels in the python form.
    pub label_key: &'static str,
    /// Number of classes.
    pub classes: usize,
}

/// The split in the first form that the folder holds.
pub(super) fn read(folder: &Path, split: Split, batches: &Batches) -> Result<Rows, DataError> {
    let &Batches { dataset, ref folders, ref stems, label_bytes, label_key, classes } = batches;
    let binary: Vec<String> = stems.iter().map(|stem| format!("{stem}.bin")).collect();
    for root in roots(folder, folders)? {
        if let Some(paths) = all_or_none(&root, &binary)? {
            return cifar_binary::read(&paths, SHAPE, label_bytes, classes, root);
        }
        if let Some(paths) = all_or_none(&root, stems)? {
            return cifar_python::read(&paths, SHAPE, label_key, classes, root);
        }
        if let Some(rows) = parquet::read_split(&root, split, Some(classes), None)? {
            return Ok(rows);
        }
    }
    let (binary, python) = (binary.join(", "), stems.join(", "));
    let looked_for = format!("{binary} (binary); {python} (python); {}", parquet::file_names(split));
    Err(nothing(folder, dataset, split, &looked_for, folders))
}
