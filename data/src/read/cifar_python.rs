//! CIFAR's python batches: a pickled dictionary with `data`, (N, 3072) u8, and a list or array of labels.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Python version". Nothing in the file is executed.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use weights::npy::Element;
use weights::pickle::{self, Item, PickleError};

use super::interleave;
use crate::dataset::{Rows, checked_label};
use crate::{DataError, ImageShape};

/// Reads the batches one after the other, the labels under `label_key`.
pub(crate) fn read(
    batches: &[PathBuf],
    shape: ImageShape,
    label_key: &str,
    classes: usize,
    origin: PathBuf,
) -> Result<Rows, DataError> {
    let mut planar = Vec::new();
    let mut labels = Vec::new();
    for path in batches {
        let bytes = fs::read(path).map_err(|source| DataError::io(path, source))?;
        let batch = pickle::load(&bytes).map_err(|reason| unreadable(path, &bytes, &reason))?;
        let pixels = pixels(batch.root(), shape, path)?;
        let count = pixels.len() / shape.values();
        let list = batch.root().get(label_key).and_then(Item::integers);
        let list =
            list.ok_or_else(|| wrong(path, format!("a list of integers `{label_key}`"), "something else"))?;
        if list.len() != count {
            return Err(DataError::CountsDiffer { path: path.clone(), images: count, labels: list.len() });
        }
        for (row, label) in list.into_iter().enumerate() {
            labels.push(checked_label(path, row, label, classes)?);
        }
        planar.extend_from_slice(&pixels);
    }
    Ok(Rows {
        shape,
        images: interleave(&planar, shape),
        labels,
        class_names: None,
        origin,
        notes: Vec::new(),
    })
}

/// The values of `data`, an array of u8 with a row of planes per image.
fn pixels<'a>(batch: Item<'a>, shape: ImageShape, path: &Path) -> Result<Cow<'a, [u8]>, DataError> {
    let wanted = || format!("an array `data` of u8 with {} columns", shape.values());
    let array = batch.get("data").ok_or_else(|| wrong(path, wanted(), "no `data`"))?;
    let array = array.as_array().ok_or_else(|| wrong(path, wanted(), "something else"))?;
    let [rows, columns] = *array.shape else {
        return Err(wrong(path, wanted(), &format!("shape {:?}", array.shape)));
    };
    if array.element != Element::named("u1") || columns != shape.values() {
        let order = if array.fortran { "Fortran" } else { "C" };
        let found = format!("{} of shape {rows}x{columns} in {order} order", array.kind);
        return Err(wrong(path, wanted(), &found));
    }
    let found = array.bytes.len().to_string();
    array.row_major().ok_or_else(|| {
        let wanted = format!("{rows} rows of {columns}");
        DataError::WrongLength { path: path.to_owned(), wanted, found }
    })
}

/// Why a file is no pickle: it is another form by name, or it is one that is damaged.
fn unreadable(path: &Path, bytes: &[u8], reason: &PickleError) -> DataError {
    let another = weights::kind_of(bytes).is_some_and(|kind| kind.name != "a Python pickle");
    // A pickle of protocol 0 or 1 has no start of its own: what ends too early may be one.
    let pickle = bytes.first() == Some(&0x80) || matches!(reason, PickleError::Truncated { .. });
    if bytes.is_empty() || pickle && !another {
        return DataError::damaged(path, "pickle", reason);
    }
    let hint = "it is no batch of CIFAR's python version under this name";
    DataError::other_form(path, "a pickled batch", bytes, hint)
}

fn wrong(path: &Path, wanted: String, found: &str) -> DataError {
    let hint = "the file is no CIFAR batch, or one of the other CIFAR dataset";
    DataError::WrongContent { path: path.to_owned(), wanted, found: found.to_owned(), hint }
}
