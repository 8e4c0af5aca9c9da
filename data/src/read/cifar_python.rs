//! CIFAR's python batches: a pickled dictionary with `data`, (N, 3072) u8, and a list of labels.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Python version". Nothing in the file is executed.

use std::fs;
use std::path::{Path, PathBuf};

use super::interleave;
use super::pickle::{self, Value};
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
        let batch = pickle::load(&bytes).map_err(|reason| DataError::damaged(path, "pickle", &reason))?;
        let pixels = pixels(&batch, shape, path)?;
        let count = pixels.len() / shape.values();
        let before = labels.len();
        let wrong = || wrong(path, format!("a list of integers `{label_key}`"), "something else");
        let list = batch.get(batch.root(), label_key).and_then(|list| batch.list(list)).ok_or_else(wrong)?;
        for (row, &label) in list.iter().enumerate() {
            let Value::Integer(label) = batch.value(label) else { return Err(wrong()) };
            labels.push(checked_label(path, row, *label, classes)?);
        }
        if labels.len() - before != count {
            return Err(DataError::CountsDiffer {
                path: path.clone(),
                images: count,
                labels: labels.len() - before,
            });
        }
        planar.extend_from_slice(pixels);
    }
    Ok(Rows { shape, images: interleave(&planar, shape), labels, class_names: None, origin })
}

/// The bytes of `data`, a C-ordered array of u8 with a row of planes per image.
fn pixels<'a>(batch: &pickle::Pickle<'a>, shape: ImageShape, path: &Path) -> Result<&'a [u8], DataError> {
    let wanted = || format!("an array `data` of u8 with {} columns", shape.values());
    let array = batch.get(batch.root(), "data").ok_or_else(|| wrong(path, wanted(), "no `data`"))?;
    let array = batch.array(array).ok_or_else(|| wrong(path, wanted(), "something else"))?;
    let [rows, columns] = *array.shape else {
        return Err(wrong(path, wanted(), &format!("shape {:?}", array.shape)));
    };
    if array.kind != "u1" || array.fortran || columns != shape.values() as i64 {
        let order = if array.fortran { "Fortran" } else { "C" };
        return Err(wrong(
            path,
            wanted(),
            &format!("{} of shape {rows}x{columns} in {order} order", array.kind),
        ));
    }
    let length = usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(shape.values()));
    if length != Some(array.bytes.len()) {
        let wanted = format!("{rows} rows of {columns}");
        return Err(DataError::WrongLength {
            path: path.to_owned(),
            wanted,
            found: array.bytes.len().to_string(),
        });
    }
    Ok(array.bytes)
}

fn wrong(path: &Path, wanted: String, found: &str) -> DataError {
    let hint = "the file is no CIFAR batch, or one of the other CIFAR dataset";
    DataError::WrongContent { path: path.to_owned(), wanted, found: found.to_owned(), hint }
}
