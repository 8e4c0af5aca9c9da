//! CIFAR's binary batches: per image its labels, one byte each, then the red, green and blue planes, row by row.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Binary version".

use std::fs;
use std::path::PathBuf;

use super::interleave;
use crate::dataset::{Rows, checked_label};
use crate::{DataError, ImageShape};

/// Reads the batches one after the other. Of `labels` bytes before each image the last is the (fine) label.
pub(crate) fn read(
    batches: &[PathBuf],
    shape: ImageShape,
    labels: usize,
    classes: usize,
    origin: PathBuf,
) -> Result<Rows, DataError> {
    let record = labels + shape.values();
    let mut planar = Vec::new();
    let mut kept = Vec::new();
    for path in batches {
        let bytes = fs::read(path).map_err(|source| DataError::io(path, source))?;
        if bytes.is_empty() || bytes.len() % record != 0 {
            if !bytes.is_empty() && weights::kind_of(&bytes).is_some() {
                let hint = "it is no batch of CIFAR's binary version under this name";
                return Err(DataError::other_form(path, "a batch of records", &bytes, hint));
            }
            let wanted = format!("a multiple of {record}");
            return Err(DataError::WrongLength {
                path: path.clone(),
                wanted,
                found: bytes.len().to_string(),
            });
        }
        for (row, record) in bytes.chunks_exact(record).enumerate() {
            kept.push(checked_label(path, row, i64::from(record[labels - 1]), classes)?);
            planar.extend_from_slice(&record[labels..]);
        }
    }
    Ok(Rows {
        shape,
        images: interleave(&planar, shape),
        labels: kept,
        class_names: None,
        origin,
        notes: Vec::new(),
    })
}
