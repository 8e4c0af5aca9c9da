//! Parquet as the Hugging Face hub serves images: a column of encoded images, a column of labels, class names aside.
//!
//! The image column is `img` or `image`, a struct with `bytes`, or plain binary; the label column is `label`,
//! `fine_label` or `labels`, any integer. Class names come from the `huggingface` entry of the file's metadata.

use std::fmt::Display;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;

use super::encoded;
use crate::dataset::{MOST_CLASSES, Rows, checked_label};
use crate::folder;
use crate::{DataError, ImageShape, Split};

const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 3] = ["label", "fine_label", "labels"];

/// The split's shards in a folder, in the order of their names: `train-*.parquet`, `train.parquet` or `train/*.parquet`.
///
/// Errors: one of `train-00000-of-00003.parquet` and so on is missing.
pub(crate) fn shards(root: &Path, split: Split) -> Result<Option<Vec<PathBuf>>, DataError> {
    let ours = |name: &str| {
        let rest = name.strip_prefix(split.name()).and_then(|rest| rest.strip_suffix(".parquet"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    };
    let mut found: Vec<String> = folder::names(root)?.into_iter().filter(|name| ours(name)).collect();
    let mut home = root.to_owned();
    if found.is_empty() && root.join(split.name()).is_dir() {
        home = root.join(split.name());
        found = folder::names(&home)?
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|end| end == "parquet"))
            .collect();
    }
    let Some(first) = found.first() else { return Ok(None) };
    if let Some((count, digits)) = shard_count(first) {
        let stem = format!("{split}-");
        let wanted = |at: usize| format!("{stem}{at:0digits$}-of-{count:0digits$}.parquet");
        if let Some(missing) = (0..count).map(wanted).find(|name| !found.contains(name)) {
            return Err(DataError::MissingPart { folder: home, missing, found: first.clone() });
        }
    }
    Ok(Some(found.into_iter().map(|name| home.join(name)).collect()))
}

/// The files that [`shards`] looks for, for an error.
pub(crate) fn file_names(split: Split) -> String {
    format!("{split}-*.parquet, {split}.parquet, {split}/*.parquet")
}

/// Three from `train-00001-of-00003.parquet`, and how many digits it is written with.
fn shard_count(name: &str) -> Option<(usize, usize)> {
    let (_, count) = name.strip_suffix(".parquet")?.rsplit_once("-of-")?;
    let count_value = count.parse().ok()?;
    Some((count_value, count.len()))
}

/// Reads shards from disk.
pub(crate) fn read_files(
    shards: &[PathBuf],
    classes: Option<usize>,
    origin: PathBuf,
) -> Result<Rows, DataError> {
    let mut reader = Reader { classes, ..Reader::default() };
    for path in shards {
        reader.read(File::open(path).map_err(|source| DataError::io(path, source))?, path)?;
    }
    Ok(reader.finish(origin))
}

/// Reads one file that is already in memory; `path` stands in errors.
pub(crate) fn read_bytes(file: bytes::Bytes, path: &Path) -> Result<Rows, DataError> {
    let mut reader = Reader::default();
    reader.read(file, path)?;
    Ok(reader.finish(path.to_owned()))
}

#[derive(Default)]
struct Reader {
    shape: Option<ImageShape>,
    images: Vec<u8>,
    labels: Vec<i32>,
    /// Number of classes, where the dataset's name or the file says it.
    classes: Option<usize>,
    class_names: Option<Vec<String>>,
}

impl Reader {
    fn read<R: ChunkReader + 'static>(&mut self, file: R, path: &Path) -> Result<(), DataError> {
        let builder = guarded(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
        let names: Vec<&str> =
            builder.parquet_schema().root_schema().get_fields().iter().map(|field| field.name()).collect();
        let column = |known: &[&'static str]| {
            let at =
                known.iter().find_map(|known| Some((*known, names.iter().position(|name| name == known)?)));
            at.ok_or_else(|| DataError::WrongContent {
                path: path.to_owned(),
                wanted: format!("a column {}", known.join(" or ")),
                found: format!("columns {}", names.join(", ")),
                hint: "rename the columns to `image` and `label`",
            })
        };
        let (image, image_at) = column(&IMAGE_COLUMNS)?;
        let (label, label_at) = column(&LABEL_COLUMNS)?;
        if self.class_names.is_none() {
            let notes = builder.metadata().file_metadata().key_value_metadata();
            let note =
                notes.and_then(|notes| notes.iter().find(|note| note.key == "huggingface")?.value.as_deref());
            self.class_names = note.and_then(|note| class_names(note, label));
            // If these are not the classes of the dataset's name, that is the better message than a label out of range.
            self.classes = self.class_names.as_ref().map(Vec::len).or(self.classes);
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), [image_at, label_at]);
        let mut batches = guarded(path, || builder.with_projection(mask).build())?;
        let mut row = 0;
        while let Some(batch) = guarded(path, || batches.next().transpose())? {
            self.append(&batch, image, label, path, row)?;
            row += batch.num_rows();
        }
        Ok(())
    }

    fn append(
        &mut self,
        batch: &RecordBatch,
        image: &str,
        label: &str,
        path: &Path,
        first: usize,
    ) -> Result<(), DataError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| DataError::damaged(path, "Parquet", &format!("column {name} is lost")))
        };
        let null = |at: usize, column: &str| DataError::NullValue {
            path: path.to_owned(),
            row: first + at,
            column: column.to_owned(),
        };
        let wrong = |wanted: String, found: &ArrayRef, hint| {
            let found = found.data_type().to_string();
            DataError::WrongContent { path: path.to_owned(), wanted, found, hint }
        };

        let array = column(label)?;
        let labels = integers(array)
            .ok_or_else(|| wrong(format!("integers in column {label}"), array, "store class indices"))?;
        for (at, value) in labels.into_iter().enumerate() {
            let value = value.ok_or_else(|| null(at, label))?;
            self.labels.push(checked_label(path, first + at, value, self.classes.unwrap_or(MOST_CLASSES))?);
        }

        let array = column(image)?;
        let stored = match array.as_struct_opt() {
            Some(fields) => fields.column_by_name("bytes").unwrap_or(array),
            None => array,
        };
        let encoded = binary(stored).ok_or_else(|| {
            wrong(
                format!("encoded images in column {image}: a struct with binary `bytes`, or binary"),
                array,
                "store PNG or JPEG files as `datasets` does",
            )
        })?;
        let encoded = encoded.into_iter().enumerate().map(|(at, bytes)| bytes.ok_or_else(|| null(at, image)));
        let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
        encoded::append(&mut self.images, &mut self.shape, &encoded, path, first)
    }

    fn finish(self, origin: PathBuf) -> Rows {
        let shape = self.shape.unwrap_or(ImageShape::new(0, 0, 0));
        Rows { shape, images: self.images, labels: self.labels, class_names: self.class_names, origin }
    }
}

/// Calls the Parquet library, which panics on some damaged files (seen: a division by zero in a dictionary page).
fn guarded<T, E: Display>(path: &Path, call: impl FnOnce() -> Result<T, E>) -> Result<T, DataError> {
    let damaged = |reason: String| DataError::damaged(path, "Parquet", &reason);
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("its pages contradict themselves".to_owned())),
    }
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

/// The names of a `ClassLabel` column in the JSON that `datasets` writes.
fn class_names(note: &str, label: &str) -> Option<Vec<String>> {
    let note: serde_json::Value = serde_json::from_str(note).ok()?;
    let names = note.pointer(&format!("/info/features/{label}/names"))?.as_array()?;
    let names = names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    (!names.is_empty()).then_some(names)
}
