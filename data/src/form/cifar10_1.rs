//! `cifar10.1:FOLDER`: CIFAR-10.1, 2,000 new test images for CIFAR-10's classes.
//!
//! `cifar10.1_v6_data.npy` and `cifar10.1_v6_labels.npy` as <https://github.com/modestyachts/CIFAR-10.1> has them; the
//! earlier version by the name of its file, `cifar10.1:FOLDER/cifar10.1_v4_data.npy`. There is no training part.

use std::fs;
use std::path::Path;

use super::{cifar, cifar10};
use crate::dataset::Rows;
use crate::folder::{nothing, roots};
use crate::read::npy;
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "cifar10.1",
    place: Place::Folder,
    form: "cifar10.1:FOLDER",
    about: "cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy; test images for eval",
    augment: "none",
    shape: Some(cifar::SHAPE),
    class_names: &cifar10::CLASS_NAMES,
    number: Number::None,
    published: None,
    kept: None,
    read,
};

const IMAGES: &str = "cifar10.1_v6_data.npy";
/// Where the repository keeps its files.
const FOLDERS: [&str; 1] = ["datasets"];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path, split, .. } = asked;
    let images = if path.is_file() {
        Some(path.to_owned())
    } else {
        roots(path, &FOLDERS)?.into_iter().map(|root| root.join(IMAGES)).find(|file| file.is_file())
    };
    let Some(images) = images.filter(|_| split == Split::Test) else {
        let looked_for = format!("{IMAGES}, which is a test part");
        let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
        return Err(nothing(folder, ROW.name, split, &looked_for, &FOLDERS));
    };
    let name = images.file_name().unwrap_or_default().to_string_lossy();
    let labels = images.with_file_name(name.replace("_data.npy", "_labels.npy"));
    both(&images, &labels)
}

/// Images with the labels of another file; the classes are CIFAR-10's.
pub(super) fn both(images: &Path, labels: &Path) -> Result<Rows, DataError> {
    let bytes = |path: &Path| fs::read(path).map_err(|source| DataError::io(path, source));
    let pixels = npy::images(&bytes(images)?, images)?;
    let classes = npy::labels(&bytes(labels)?, labels)?;
    let rows = npy::rows(pixels, &classes, &[], labels, images.to_owned())?;
    Ok(Rows { class_names: None, ..rows })
}
