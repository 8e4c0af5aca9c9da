//! `ROWS.parquet`: the rows that a foreign teacher has to answer, with what ties them to a dataset and a plan.
//!
//! Columns `image` (u64), `view` (u16), `crop_y`, `crop_x` (i16) and `flip` (bool), sorted by image, then view. One key in the
//! file's metadata, `rslad-rows`, holds a [`Header`] as JSON.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, UInt16Type, UInt64Type};
use arrow_array::{ArrayRef, BooleanArray, Int16Array, RecordBatch, UInt16Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use data::Dataset;
use labels::{Augment, Hex, RowTable, Views};
use method::view::ViewPlan;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

const KEY: &str = "rslad-rows";
const FORMAT: u32 = 1;
/// Rows written and compared together.
const CHUNK: usize = 1 << 16;
const OTHER_PLAN: &str = "write it again with `label plan`, then answer its rows";

/// What a file of rows belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of this form.
    pub format: u32,
    /// Name of the dataset; informs only.
    pub dataset: String,
    /// Its split.
    pub split: String,
    /// Hash of its images and labels.
    pub dataset_hash: Hex,
    /// Number of images.
    pub images: usize,
    /// SHA-256 of all pixels, (N, H, W, C) u8, for answerers that have no BLAKE3.
    pub pixels_sha256: Hex,
    /// The augmentation.
    pub augment: Augment,
    /// Its padding in pixels.
    pub pad: u16,
    /// The choice of views.
    pub views: Views,
    /// Number of rows.
    pub rows: usize,
    /// Number of classes; files of versions before did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
}

impl Header {
    /// The header of a plan for these images.
    pub fn new(dataset: &Dataset, plan: ViewPlan, rows: usize) -> Self {
        Self {
            format: FORMAT,
            dataset: dataset.name().into(),
            split: dataset.split().name().into(),
            dataset_hash: dataset.record().hash(),
            images: dataset.len(),
            pixels_sha256: Hex(Sha256::digest(dataset.images()).into()),
            augment: plan.augment,
            pad: plan.augment.pad,
            views: plan.views,
            rows,
            classes: Some(dataset.classes()),
        }
    }

    /// The first thing in which another's header, as JSON, differs: its key, what is wanted, what was found.
    ///
    /// Names inform only: the same images may be read under another. What the other does not say does not differ.
    pub fn difference(&self, other: &Value) -> Option<(String, Value, Value)> {
        let own = serde_json::to_value(self).expect("a header is plain data");
        let keys = own.as_object().expect("a header is an object").iter();
        let mut differing = keys
            .filter(|&(key, wanted)| key != "dataset" && other.get(key).is_some_and(|found| found != wanted));
        differing.next().map(|(key, wanted)| (key.clone(), wanted.clone(), other[key].clone()))
    }
}

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind| Field::new(name, kind, false);
    Arc::new(Schema::new(vec![
        column("image", DataType::UInt64),
        column("view", DataType::UInt16),
        column("crop_y", DataType::Int16),
        column("crop_x", DataType::Int16),
        column("flip", DataType::Boolean),
    ]))
}

/// Writes the rows; equal plans give equal bytes.
pub fn write<W: io::Write + Send>(out: W, header: &Header, table: &RowTable) -> io::Result<W> {
    encode(out, header, table).map_err(|error| match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    })
}

fn encode<W: io::Write + Send>(
    out: W,
    header: &Header,
    table: &RowTable,
) -> std::result::Result<W, ParquetError> {
    let text = serde_json::to_string(header).expect("a header is plain data");
    let properties = WriterProperties::builder()
        .set_created_by("rslad rows-1".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(vec![KeyValue::new(KEY.into(), text)]))
        .build();
    let mut writer = ArrowWriter::try_new(out, schema(), Some(properties))?;
    for columns in chunks(header.augment, table) {
        writer.write(&RecordBatch::try_new(schema(), columns)?)?;
    }
    writer.into_inner()
}

/// The columns of the table, some rows at a time.
fn chunks(augment: Augment, table: &RowTable) -> impl Iterator<Item = Vec<ArrayRef>> + '_ {
    let mut rows = (0..table.images())
        .flat_map(|image| table.views_of(image).iter().map(move |&view| (image, view)))
        .peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let (mut images, mut ids) = (Vec::new(), Vec::new());
        let (mut crop_y, mut crop_x, mut flips) = (Vec::new(), Vec::new(), Vec::new());
        for (image, id) in rows.by_ref().take(CHUNK) {
            let view = augment.view(id).expect("a table holds the augmentation's views");
            images.push(image as u64);
            ids.push(id);
            crop_y.push(view.crop_y as i16);
            crop_x.push(view.crop_x as i16);
            flips.push(view.flip);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(images)),
            Arc::new(UInt16Array::from(ids)),
            Arc::new(Int16Array::from(crop_y)),
            Arc::new(Int16Array::from(crop_x)),
            Arc::new(BooleanArray::from(flips)),
        ];
        Some(columns)
    })
}

/// A file of rows whose header has been read.
pub struct RowsFile<'a> {
    path: &'a Path,
    reader: ParquetRecordBatchReaderBuilder<File>,
    /// What it belongs to.
    pub header: Header,
}

impl<'a> RowsFile<'a> {
    /// Opens a file of rows and reads its header.
    pub fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        if file.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(Error::io("read", path)(io::ErrorKind::IsADirectory.into()));
        }
        let mut head = Vec::new();
        (&file).take(1024).read_to_end(&mut head).map_err(Error::io("read", path))?;
        if let Some(kind) = weights::kind_of(&head).filter(|_| !head.starts_with(b"PAR1")) {
            let hint = "pass a file of `label plan`";
            return Err(Error::input(path, "file", "a Parquet file of `label plan`", kind.name, hint));
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, &error))?;
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let entry = metadata.into_iter().flatten().find(|entry| entry.key == KEY);
        let Some(text) = entry.and_then(|entry| entry.value.as_deref()) else {
            return Err(Error::input(path, KEY, "in its metadata", "nowhere", "pass a file of `label plan`"));
        };
        let wrong =
            |found| Error::input(path, KEY, format!("a header of format {FORMAT}"), found, OTHER_PLAN);
        let header: Header = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if header.format != FORMAT {
            return Err(wrong(format!("format {}", header.format)));
        }
        Ok(Self { path, reader, header })
    }

    /// Refuses a file whose header or rows are other than those of `header` and `table`.
    pub fn check(self, header: &Header, table: &RowTable) -> Result<()> {
        let path = self.path;
        let found = serde_json::to_value(&self.header).expect("a header is plain data");
        if let Some((key, wanted, found)) = header.difference(&found) {
            return Err(Error::input(path, format!("{key} of the rows"), wanted, found, OTHER_PLAN));
        }
        let found = self.reader.schema().fields();
        if found != schema().fields() {
            let names = |fields: &arrow_schema::Fields| {
                fields
                    .iter()
                    .map(|field| format!("{} {}", field.name(), field.data_type()))
                    .collect::<Vec<_>>()
            };
            let (wanted, found) = (names(schema().fields()).join(", "), names(found).join(", "));
            return Err(Error::input(path, "list of columns", wanted, found, OTHER_PLAN));
        }
        self.check_rows(header.augment, table)
    }

    fn check_rows(self, augment: Augment, table: &RowTable) -> Result<()> {
        let path = self.path;
        let count = self.reader.metadata().file_metadata().num_rows();
        if count != table.len() as i64 {
            return Err(Error::input(path, "number of rows", table.len(), count, OTHER_PLAN));
        }
        let reader = self.reader.with_batch_size(CHUNK).build().map_err(|error| damaged(path, &error))?;
        let mut wanted = chunks(augment, table).flat_map(|columns| {
            let batch = RecordBatch::try_new(schema(), columns).expect("the chunks fit their schema");
            (0..batch.num_rows()).map(|row| describe(&batch, row)).collect::<Vec<_>>()
        });
        let mut row = 0;
        for batch in reader {
            let batch = batch.map_err(|error| damaged(path, &error))?;
            for place in 0..batch.num_rows() {
                let (wanted, found) = (wanted.next(), describe(&batch, place));
                if wanted != Some(found) {
                    let wanted = wanted.map_or("no row".into(), |wanted| format!("{wanted:?}"));
                    let what = format!("row {row} (image, view, crop_y, crop_x, flip)");
                    return Err(Error::input(path, what, wanted, format!("{found:?}"), OTHER_PLAN));
                }
                row += 1;
            }
        }
        Ok(())
    }
}

fn describe(batch: &RecordBatch, row: usize) -> (u64, u16, i16, i16, bool) {
    (
        batch.column(0).as_primitive::<UInt64Type>().value(row),
        batch.column(1).as_primitive::<UInt16Type>().value(row),
        batch.column(2).as_primitive::<Int16Type>().value(row),
        batch.column(3).as_primitive::<Int16Type>().value(row),
        batch.column(4).as_boolean().value(row),
    )
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::input(
        path,
        "file",
        "a Parquet file of `label plan`",
        error,
        "it was cut short or changed; write it again",
    )
}
