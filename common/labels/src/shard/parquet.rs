//! The Parquet form of a shard: one row per (image, view), in the same order, for pyarrow, polars, `DuckDB` and `datasets`.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::MutableBuffer;
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::row::augment::{Augment, View};
use crate::row::column::{COLUMNS, Column, Parquet, Per, Source};
use crate::shard::layout::Layout;
use crate::shard::parquet::filling::Filling;
use crate::shard::rows::Shard;
use crate::shard::storage::Storage;

mod cells;
mod filling;

/// The most rows of a row group: small enough for readers to go through several at once.
const GROUP_ROWS: usize = 1 << 17;
/// The most bytes of a row group's feature maps, of which a few rows are as much as many without.
const GROUP_BYTES: usize = 64 << 20;
/// The most rows that are decoded together.
const BATCH_ROWS: usize = 8192;
/// The most bytes of their feature maps.
const BATCH_BYTES: usize = 16 << 20;

/// Writes a shard as Parquet: PLAIN, no dictionary, zstd, nothing nullable.
///
/// `BYTE_STREAM_SPLIT` would pack f16 better, but `DuckDB` cannot read it.
pub(crate) fn write<W: Write + Send>(shard: &Shard, augment: Augment, out: W) -> io::Result<()> {
    encode(shard, augment, out).map_err(io_error)
}

fn encode<W: Write + Send>(shard: &Shard, augment: Augment, out: W) -> std::result::Result<(), ParquetError> {
    let level = ZstdLevel::try_new(1)?;
    let group = shard.layout.together(GROUP_ROWS, GROUP_BYTES);
    let mut properties = WriterProperties::builder()
        // The library's own line would carry its version: other bytes for the same rows.
        .set_created_by(format!("rslad labels-{}", shard.layout.version()))
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(false)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(group));
    for column in held(&shard.layout).filter(|column| column.parquet == Parquet::Ranged) {
        properties =
            properties.set_column_statistics_enabled(ColumnPath::from(column.name), EnabledStatistics::Chunk);
    }
    let schema = Arc::new(schema(&shard.layout));
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties.build()))?;
    let mut rows = shard.rows();
    let mut start = 0;
    while start < shard.layout.rows {
        let count = group.min(shard.layout.rows - start);
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

/// The columns of this form that a label set has, in their order.
fn held(layout: &Layout) -> impl Iterator<Item = &'static Column> + use<> {
    let layout = *layout;
    COLUMNS.into_iter().filter(move |column| column.parquet != Parquet::Absent && layout.holds(column))
}

fn schema(layout: &Layout) -> Schema {
    let field = |column: &Column| Field::new(column.name, cells::data_type(column, layout), false);
    Schema::new(held(layout).map(field).collect::<Vec<_>>())
}

fn batch(
    shard: &Shard,
    augment: Augment,
    schema: &Arc<Schema>,
    start: usize,
    rows: impl Iterator<Item = (usize, u64, u16, i32)>,
) -> std::result::Result<RecordBatch, ParquetError> {
    let rows: Vec<(usize, u64, View)> = rows
        .map(|(row, image, id, _)| (row, image, augment.view(id).expect("the shard's views were checked")))
        .collect();
    let column = |column: &'static Column| {
        let size = shard.layout.entry(column);
        let mut out = MutableBuffer::with_capacity(rows.len() * size);
        let mut whole = |value: i64| out.extend_from_slice(&value.to_le_bytes()[..size]);
        match column.source {
            Source::Image => {
                for &(_, image, _) in &rows {
                    whole(image as i64);
                }
            }
            Source::View(part) => {
                for &(_, _, view) in &rows {
                    whole(part(view));
                }
            }
            Source::Answer => {
                for &(row, _, _) in &rows {
                    whole(shard.logits(row..row + 1).argmax() as i64);
                }
            }
            Source::Stored { per: Per::Row, .. } => {
                out.extend_from_slice(shard.entries(column, start..start + rows.len()));
            }
            Source::Stored { .. } => {
                for &(_, image, _) in &rows {
                    let place = (image - shard.first_image) as usize;
                    out.extend_from_slice(shard.entries(column, place..place + 1));
                }
            }
        }
        cells::array(column, &shard.layout, out.into())
    };
    let columns = held(&shard.layout).map(column).collect::<std::result::Result<Vec<_>, _>>()?;
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
        let rows = layout.together(BATCH_ROWS, BATCH_BYTES);
        let reader = builder.with_batch_size(rows).build().map_err(|error| decode(error.to_string()))?;
        let mut filling = Filling::new(path, augment, layout, first_image);
        for batch in reader {
            filling.add(held(&layout), &batch.map_err(|error| decode(error.to_string()))?)?;
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
