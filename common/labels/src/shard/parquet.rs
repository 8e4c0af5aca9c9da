//! The Parquet form of a shard: one row per (image, view), in the same order, for pyarrow, polars, `DuckDB` and `datasets`.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Int16Type, Int32Type, UInt16Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, PrimitiveArray, RecordBatch,
};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::dtype::Dtype;
use crate::shard::rows::Shard;
use crate::shard::safetensors::Layout;
use crate::shard::storage::Storage;

/// Rows per row group: small enough for readers to go through several at once.
const GROUP_ROWS: usize = 1 << 17;

/// Writes a shard as Parquet: PLAIN, no dictionary, zstd, nothing nullable.
///
/// `BYTE_STREAM_SPLIT` would pack f16 better, but `DuckDB` cannot read it.
pub(crate) fn write<W: Write + Send>(shard: &Shard, augment: Augment, out: W) -> io::Result<()> {
    encode(shard, augment, out).map_err(io_error)
}

fn encode<W: Write + Send>(shard: &Shard, augment: Augment, out: W) -> std::result::Result<(), ParquetError> {
    let level = ZstdLevel::try_new(1)?;
    let mut properties = WriterProperties::builder()
        // The library's own line would carry its version: other bytes for the same rows.
        .set_created_by("rslad labels-1".into())
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(false)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    for name in ["image", "view", "label", "teacher_pred"] {
        properties =
            properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Chunk);
    }
    let schema = Arc::new(schema(&shard.layout));
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties.build()))?;
    let mut rows = shard.rows();
    let mut start = 0;
    while start < shard.layout.rows {
        let count = GROUP_ROWS.min(shard.layout.rows - start);
        writer.write(&batch(shard, augment, &schema, start, rows.by_ref().take(count))?)?;
        start += count;
    }
    writer.into_inner()?;
    Ok(())
}

/// The Parquet writer wraps the disk's refusals; the person who reads the message needs the refusal.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

fn schema(layout: &Layout) -> Schema {
    let number = match layout.dtype {
        Dtype::F16 => DataType::Float16,
        Dtype::F32 => DataType::Float32,
    };
    let logit = Arc::new(Field::new("element", number, false));
    Schema::new(vec![
        Field::new("image", DataType::UInt64, false),
        Field::new("view", DataType::UInt16, false),
        Field::new("crop_y", DataType::Int16, false),
        Field::new("crop_x", DataType::Int16, false),
        Field::new("flip", DataType::Boolean, false),
        Field::new("label", DataType::Int32, false),
        Field::new("teacher_pred", DataType::Int32, false),
        Field::new("logits", DataType::FixedSizeList(logit, layout.classes as i32), false),
        Field::new("image_hash", DataType::FixedSizeBinary(16), false),
    ])
}

fn batch(
    shard: &Shard,
    augment: Augment,
    schema: &Arc<Schema>,
    start: usize,
    rows: impl Iterator<Item = (usize, u64, u16, i32)>,
) -> std::result::Result<RecordBatch, ParquetError> {
    let (mut images, mut views, mut crop_y, mut crop_x) = (vec![], vec![], vec![], vec![]);
    let (mut flips, mut labels, mut answers, mut hashes) = (vec![], vec![], vec![], vec![]);
    for (row, image, id, label) in rows {
        let view = augment.view(id).expect("the shard's views were checked");
        images.push(image);
        views.push(id);
        crop_y.push(view.crop_y as i16);
        crop_x.push(view.crop_x as i16);
        flips.push(view.flip);
        labels.push(label);
        answers.push(shard.logits(row..row + 1).argmax() as i32);
        hashes.extend_from_slice(&shard.hashes()[(image - shard.first_image) as usize]);
    }
    let layout = &shard.layout;
    let row_bytes = layout.classes * layout.dtype.size();
    let logits = Buffer::from(&shard.logit_bytes()[start * row_bytes..][..images.len() * row_bytes]);
    let values: ArrayRef = match layout.dtype {
        Dtype::F16 => Arc::new(PrimitiveArray::<Float16Type>::new(logits.into(), None)),
        Dtype::F32 => Arc::new(PrimitiveArray::<Float32Type>::new(logits.into(), None)),
    };
    let DataType::FixedSizeList(element, size) = schema.field(7).data_type() else {
        unreachable!("column 7 holds the logits")
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(PrimitiveArray::<UInt64Type>::from(images)),
        Arc::new(PrimitiveArray::<UInt16Type>::from(views)),
        Arc::new(PrimitiveArray::<Int16Type>::from(crop_y)),
        Arc::new(PrimitiveArray::<Int16Type>::from(crop_x)),
        Arc::new(BooleanArray::from(flips)),
        Arc::new(PrimitiveArray::<Int32Type>::from(labels)),
        Arc::new(PrimitiveArray::<Int32Type>::from(answers)),
        Arc::new(FixedSizeListArray::try_new(element.clone(), *size, values, None)?),
        Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from(hashes), None)?),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// Decodes a Parquet shard into the shard its safetensors twin holds.
///
/// Check the file's hash before: decoders of this format are known to panic on damaged files. A panic becomes an error
/// here, and what is read is bounded by `layout`, which comes from the manifest.
pub(crate) fn read(
    path: &Path,
    file: Storage,
    layout: Layout,
    first_image: u64,
    augment: Augment,
) -> Result<Shard> {
    let bytes = file.len();
    // Logits hardly compress, and even constant ones not a thousandfold: a manifest that promises more is a trap.
    let most = bytes.saturating_mul(1024).saturating_add(1 << 26);
    if layout.data_len().is_none_or(|data| data > most) {
        let wanted = format!("rows that fit in {bytes} bytes of Parquet");
        return Err(Error::structure(path, "number of rows in the manifest", wanted, layout.rows));
    }
    let decode = |detail: String| Error::Decode { path: path.into(), detail };
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_owner(file))
            .map_err(|error| decode(format!("not a Parquet file: {error}")))?;
        let wanted = schema(&layout);
        if builder.schema().fields() != wanted.fields() {
            return Err(Error::structure(path, "schema", columns(&wanted), columns(builder.schema())));
        }
        let found = builder.metadata().file_metadata().num_rows();
        if found != layout.rows as i64 {
            return Err(Error::structure(path, "number of rows", layout.rows, found));
        }
        let reader = builder.with_batch_size(8192).build().map_err(|error| decode(error.to_string()))?;
        let mut filling =
            Filling { path, augment, shard: Shard::blank(layout, first_image), rows: 0, images: 0 };
        for batch in reader {
            filling.add(&batch.map_err(|error| decode(error.to_string()))?)?;
        }
        filling.finish()
    }));
    decoded.unwrap_or_else(|_| Err(decode("the Parquet decoder gave up on it".into())))
}

fn columns(schema: &Schema) -> String {
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| {
            format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "?" } else { "" })
        })
        .collect();
    names.join(", ")
}

/// A shard that is being filled from record batches.
struct Filling<'a> {
    path: &'a Path,
    augment: Augment,
    shard: Shard,
    rows: usize,
    images: usize,
}

impl Filling<'_> {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let layout = self.shard.layout;
        let count = batch.num_rows();
        if count > layout.rows - self.rows {
            return Err(Error::structure(
                self.path,
                "number of rows",
                layout.rows,
                format!("more than {}", self.rows),
            ));
        }
        let images = primitive::<UInt64Type>(batch, 0);
        let views = primitive::<UInt16Type>(batch, 1);
        let (crop_y, crop_x) = (primitive::<Int16Type>(batch, 2), primitive::<Int16Type>(batch, 3));
        let flips: &BooleanArray = column(batch, 4);
        let (labels, answers) = (primitive::<Int32Type>(batch, 5), primitive::<Int32Type>(batch, 6));
        let hashes: &FixedSizeBinaryArray = column(batch, 8);

        let lists: &FixedSizeListArray = column(batch, 7);
        let values = lists.values().slice(lists.value_offset_at(0), count * layout.classes);
        let row_bytes = layout.classes * layout.dtype.size();
        let logits = match layout.dtype {
            Dtype::F16 => bytemuck::cast_slice(as_primitive::<Float16Type>(&values)),
            Dtype::F32 => bytemuck::cast_slice(as_primitive::<Float32Type>(&values)),
        };
        self.shard.logit_bytes_mut()[self.rows * row_bytes..][..count * row_bytes].copy_from_slice(logits);

        for index in 0..count {
            let row = self.rows + index;
            self.begin_image(row, images[index], labels[index], hashes.value(index))?;
            let id = views[index];
            self.shard.views_mut()[row] = id;
            let (y, x) = (crop_y[index], crop_x[index]);
            let agrees = self.augment.view(id).is_some_and(|view| {
                (i32::from(view.crop_y), i32::from(view.crop_x), view.flip)
                    == (i32::from(y), i32::from(x), flips.value(index))
            });
            if !agrees {
                let wanted = format!("the crop and mirror of view {id} of {}", self.augment);
                let found = format!("crop_y {y}, crop_x {x}, flip {}", flips.value(index));
                return Err(Error::structure(self.path, format!("row {row}"), wanted, found));
            }
            let answer = self.shard.logits(row..row + 1).argmax();
            if answers[index] != answer as i32 {
                return Err(Error::structure(
                    self.path,
                    format!("teacher_pred of row {row}"),
                    answer,
                    answers[index],
                ));
            }
        }
        self.rows += count;
        Ok(())
    }

    /// Notes where an image begins, and that all its rows agree on label and hash.
    fn begin_image(&mut self, row: usize, image: u64, label: i32, hash: &[u8]) -> Result<()> {
        let next = self.shard.first_image + self.images as u64;
        if image == next && self.images < self.shard.layout.images {
            self.shard.offsets_mut()[self.images] = row as u64;
            self.shard.labels_mut()[self.images] = label;
            self.shard.hashes_mut()[self.images].copy_from_slice(hash);
            self.images += 1;
            return Ok(());
        }
        if self.images == 0 || image != next - 1 {
            return Err(Error::structure(
                self.path,
                format!("image of row {row}"),
                format!("{next} or the one before"),
                image,
            ));
        }
        let (last, same) = (self.images - 1, "that of the image's first row");
        if self.shard.labels()[last] != label {
            return Err(Error::structure(self.path, format!("label of row {row}"), same, label));
        }
        if self.shard.hashes()[last] != hash {
            return Err(Error::structure(self.path, format!("image_hash of row {row}"), same, "another"));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Shard> {
        let layout = self.shard.layout;
        if (self.rows, self.images) != (layout.rows, layout.images) {
            let wanted = format!("{} rows of {} images", layout.rows, layout.images);
            return Err(Error::structure(
                self.path,
                "content",
                wanted,
                format!("{} rows of {} images", self.rows, self.images),
            ));
        }
        self.shard.offsets_mut()[layout.images] = layout.rows as u64;
        Ok(self.shard)
    }
}

fn column<A: Array + 'static>(batch: &RecordBatch, index: usize) -> &A {
    batch.column(index).as_any().downcast_ref().expect("the schema was compared")
}

fn primitive<T: ArrowPrimitiveType>(batch: &RecordBatch, index: usize) -> &[T::Native] {
    as_primitive::<T>(batch.column(index))
}

fn as_primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> &[T::Native] {
    let array: &PrimitiveArray<T> = array.as_any().downcast_ref().expect("the schema was compared");
    array.values()
}
