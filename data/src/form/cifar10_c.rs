//! `cifar10-c:FOLDER/fog@3`: CIFAR-10's test images under a corruption, at a severity of 1 to 5 or at all.
//!
//! FOLDER/fog.npy holds the 10,000 test images five times, by severity, and FOLDER/labels.npy the labels in the same
//! order: arXiv:1903.12261, <https://zenodo.org/records/2535967>. There is no training part.

use super::{cifar, cifar10, cifar10_1};
use crate::dataset::Rows;
use crate::folder::{self, nothing};
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "cifar10-c",
    place: Place::File,
    form: "cifar10-c:FOLDER/fog@S",
    about: "FOLDER/fog.npy beside labels.npy, severity S of 1 to 5, or all without it; test images for eval",
    augment: "none",
    shape: Some(cifar::SHAPE),
    class_names: &cifar10::CLASS_NAMES,
    number: Number::Severity,
    published: None,
    kept: None,
    read,
};

const SEVERITIES: usize = 5;

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path, split, number } = asked;
    let file = if path.is_file() { path.to_owned() } else { path.with_added_extension("npy") };
    if split == Split::Train || !file.is_file() {
        let home = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let home = if home.as_os_str().is_empty() { ".".as_ref() } else { home };
        folder::roots(home, &[])?;
        let looked_for = format!("{}, which is a test part", file.display());
        return Err(nothing(home, ROW.name, split, &looked_for, &[]));
    }
    let labels = file.with_file_name("labels.npy");
    let mut rows = cifar10_1::both(&file, &labels)?;
    let Some(severity) = number else { return Ok(rows) };
    if !rows.labels.len().is_multiple_of(SEVERITIES) {
        return Err(DataError::WrongContent {
            path: file,
            wanted: format!("images at {SEVERITIES} severities, as many at each"),
            found: format!("{} images", rows.labels.len()),
            hint: "it is no file of CIFAR-10-C; leave the severity out to read it whole",
        });
    }
    let each = rows.labels.len() / SEVERITIES;
    let values = rows.shape.values();
    let first = (severity - 1) * each;
    rows.labels = rows.labels[first..first + each].to_vec();
    rows.images = rows.images[first * values..(first + each) * values].to_vec();
    Ok(rows)
}
