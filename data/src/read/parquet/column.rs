//! The two columns that are read: labels as integers, images as encoded bytes, either also from a dictionary.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};

use crate::DataError;

/// The labels of a batch whose first row is row `first` of the file.
pub(super) fn labels(
    batch: &RecordBatch,
    name: &str,
    path: &Path,
    first: usize,
) -> Result<Vec<i64>, DataError> {
    let array = column(batch, name, path)?;
    let (values, keys) = unfolded(array);
    let Some(values) = integers(values) else {
        let hint = "store class indices";
        return Err(wrong(path, format!("integers in column {name}"), array, hint));
    };
    each(&values, keys.as_deref(), name, path, first)
}

/// Gives the encoded images of a batch whose first row is row `first` of the file.
pub(super) fn images(
    batch: &RecordBatch,
    name: &str,
    path: &Path,
    first: usize,
    take: impl FnOnce(&[&[u8]]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let array = column(batch, name, path)?;
    let stored = match array.as_struct_opt() {
        Some(fields) => fields.column_by_name("bytes").unwrap_or(array),
        None => array,
    };
    let (values, keys) = unfolded(stored);
    let Some(values) = binary(values) else {
        let wanted = format!("encoded images in column {name}: a struct with binary `bytes`, or binary");
        return Err(wrong(path, wanted, array, "store PNG or JPEG files as `datasets` does"));
    };
    take(&each(&values, keys.as_deref(), name, path, first)?)
}

/// A value for every row: by its place, or by its key in a dictionary.
fn each<T: Copy>(
    values: &[Option<T>],
    keys: Option<&[Option<usize>]>,
    name: &str,
    path: &Path,
    first: usize,
) -> Result<Vec<T>, DataError> {
    let null = |at| DataError::NullValue { path: path.to_owned(), row: first + at, column: name.to_owned() };
    match keys {
        None => values.iter().enumerate().map(|(at, value)| value.ok_or_else(|| null(at))).collect(),
        Some(keys) => {
            let found = keys.iter().map(|key| values.get((*key)?).copied().flatten());
            found.enumerate().map(|(at, value)| value.ok_or_else(|| null(at))).collect()
        }
    }
}

/// The values that a dictionary refers to, and the key of each row; or the array itself.
fn unfolded(array: &ArrayRef) -> (&ArrayRef, Option<Vec<Option<usize>>>) {
    match array.as_any_dictionary_opt() {
        None => (array, None),
        // Without values every row is null.
        Some(folded) if folded.values().is_empty() => (folded.values(), Some(vec![None; array.len()])),
        Some(folded) => {
            let keys = folded.normalized_keys().into_iter().enumerate();
            let keys = keys.map(|(row, key)| array.is_valid(row).then_some(key)).collect();
            (folded.values(), Some(keys))
        }
    }
}

fn column<'b>(batch: &'b RecordBatch, name: &str, path: &Path) -> Result<&'b ArrayRef, DataError> {
    let lost = || DataError::damaged(path, "Parquet", &format!("column {name} is lost"));
    batch.column_by_name(name).ok_or_else(lost)
}

fn wrong(path: &Path, wanted: String, array: &ArrayRef, hint: &'static str) -> DataError {
    DataError::WrongContent { path: path.to_owned(), wanted, found: array.data_type().to_string(), hint }
}

fn binary(array: &ArrayRef) -> Option<Vec<Option<&[u8]>>> {
    if let Some(array) = array.as_binary_opt::<i32>() {
        Some(array.iter().collect())
    } else if let Some(array) = array.as_binary_opt::<i64>() {
        Some(array.iter().collect())
    } else {
        array.as_binary_view_opt().map(|array| array.iter().collect())
    }
}

fn integers(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    fn of<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Vec<Option<i64>>>
    where
        T::Native: TryInto<i64>,
    {
        // A value beyond 63 bits is no class either; -1 makes it a label error that names the row.
        Some(
            array
                .as_primitive_opt::<T>()?
                .iter()
                .map(|value| value.map(|value| value.try_into().unwrap_or(-1)))
                .collect(),
        )
    }
    of::<Int64Type>(array)
        .or_else(|| of::<Int32Type>(array))
        .or_else(|| of::<Int16Type>(array))
        .or_else(|| of::<Int8Type>(array))
        .or_else(|| of::<UInt64Type>(array))
        .or_else(|| of::<UInt32Type>(array))
        .or_else(|| of::<UInt16Type>(array))
        .or_else(|| of::<UInt8Type>(array))
}
