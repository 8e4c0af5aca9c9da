//! The Parquet form of a shard: one row per (image, view), in the same order, for pyarrow, polars, `DuckDB` and `datasets`.

use std::fs::File;
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
use parquet::file::reader::ChunkReader;
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::row::augment::{Augment, View};
use crate::row::column::{ANSWERS, COLUMNS, Column, Parquet, Per, Source};
use crate::shard::layout::Layout;
use crate::shard::parquet::filling::Filling;
use crate::shard::parquet::pieces::Pieces;
use crate::shard::rows::Shard;
use crate::shard::storage::Storage;
use crate::shard::window::Take;

mod cells;
mod filling;
mod pieces;

/// The most rows of a row group: small enough for readers to go through several at once.
const GROUP_ROWS: usize = 1 << 17;
/// The most bytes of a row group's answers: it is in memory, encoded, until it is written.
const GROUP_BYTES: usize = 64 << 20;
/// The most values of logits and feature maps that are handed to the library together. It notes 12 bytes for each value of
/// a list, six times what a half takes, and grows by doubling.
const PIECE_VALUES: usize = 1 << 21;
/// The library looks whether a page is full after so many values, or the rows that they begin.
const LOOK: usize = 1024;
/// The most rows that are decoded together.
const BATCH_ROWS: usize = 8192;
/// The most bytes of their answers.
const BATCH_BYTES: usize = 1 << 20;

/// Writes a shard as Parquet: PLAIN, no dictionary but for codes, zstd, nothing nullable.
///
/// `BYTE_STREAM_SPLIT` would pack f16 better, but `DuckDB` cannot read it.
pub(crate) fn write<W: Write + Send>(shard: &Shard, augment: Augment, out: W) -> io::Result<()> {
    encode(shard, augment, [GROUP_BYTES, PIECE_VALUES], out).map_err(io_error)
}

fn encode<W: Write + Send>(
    shard: &Shard,
    augment: Augment,
    [group, piece]: [usize; 2],
    out: W,
) -> std::result::Result<(), ParquetError> {
    let level = ZstdLevel::try_new(1)?;
    let group = shard.layout.together(GROUP_ROWS, group);
    let piece = piece_rows(&shard.layout, piece).min(group);
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
    for column in held(&shard.layout).filter(|column| column.parquet == Parquet::Dictionary) {
        let path = ["list", "element"].map(String::from);
        let path = ColumnPath::new([vec![column.name.into()], path.into()].concat());
        properties = properties.set_column_dictionary_enabled(path, true);
    }
    let schema = Arc::new(schema(&shard.layout));
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties.build()))?;
    let mut rows = shard.rows();
    let mut start = 0;
    while start < shard.layout.rows {
        let count = piece.min(group - start % group).min(shard.layout.rows - start);
        writer.write(&batch(shard, augment, &schema, start, rows.by_ref().take(count))?)?;
        start += count;
    }
    writer.into_inner()?;
    Ok(())
}

/// Rows that are handed to the library together: such that it looks for full pages after the same rows as if it had all at
/// once, unless these are more than so many values.
fn piece_rows(layout: &Layout, values: usize) -> usize {
    let widths =
        ANSWERS.map(|column| if layout.holds(column) { layout.width(column).unwrap_or(0) } else { 0 });
    let looks = widths.map(|width| LOOK.div_ceil(width.max(1)));
    let step = looks.into_iter().fold(LOOK, |step, look| step / common_divisor(step, look) * look);
    let most = (values / widths.into_iter().sum::<usize>().max(1)).max(1);
    if most < step { most } else { most / step * step }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
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
                    whole(shard.logits(row).argmax() as i64);
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
    let bytes = file.len() as u64;
    decode(path, (Bytes::from_owner(file), bytes), (first_image, layout), augment, None)
}

/// Decodes the Parquet shard in a file of so many bytes, as [`read`] does, and hands on its rows: what it gives has no
/// answers. Rows that were handed on are as good as the file only once all of it was read.
pub(crate) fn stream(
    path: &Path,
    (file, bytes): (File, u64),
    (first_image, layout): (u64, Layout),
    augment: Augment,
    take: Take,
) -> Result<Shard> {
    let source = Pieces { file: Arc::new(file), bytes };
    decode(path, (source, bytes), (first_image, layout), augment, Some(take))
}

fn decode(
    path: &Path,
    (file, bytes): (impl ChunkReader + 'static, u64),
    (first_image, layout): (u64, Layout),
    augment: Augment,
    mut take: Option<Take>,
) -> Result<Shard> {
    // Logits hardly compress, and even constant ones not a thousandfold: a manifest that promises more is a trap.
    let most = bytes.saturating_mul(1024).saturating_add(1 << 26);
    if layout.data_len().is_none_or(|data| data as u64 > most) {
        let wanted = format!("rows that fit in {bytes} bytes of Parquet");
        return Err(Error::structure(path, "number of rows in the manifest", wanted, layout.rows));
    }
    let undecoded = |detail: String| Error::Decode { path: path.into(), detail };
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| undecoded(format!("not a Parquet file: {error}")))?;
        let wanted = schema(&layout);
        if builder.schema().fields() != wanted.fields() {
            return Err(Error::structure(path, "schema", columns(&wanted), columns(builder.schema())));
        }
        let found = builder.metadata().file_metadata().num_rows();
        if found != layout.rows as i64 {
            return Err(Error::structure(path, "number of rows", layout.rows, found));
        }
        let rows = layout.together(BATCH_ROWS, BATCH_BYTES);
        let reader = builder.with_batch_size(rows).build().map_err(|error| undecoded(error.to_string()))?;
        let blank = if take.is_some() { Shard::blank_heads } else { Shard::blank };
        let mut filling = Filling::new(path, augment, blank(layout, first_image));
        for batch in reader {
            let batch = batch.map_err(|error| undecoded(error.to_string()))?;
            filling.add(held(&layout), &batch, &mut take)?;
        }
        filling.finish()
    }));
    decoded.unwrap_or_else(|_| Err(undecoded("the Parquet decoder gave up on it".into())))
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

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::row::coding::Coding;
    use crate::row::dtype::Dtype;

    /// 4,200 images with one row of 300 halves each.
    fn shard() -> Shard {
        let layout = Layout::new([4200, 4200], Coding::new(300, Dtype::F16, None, None));
        let mut shard = Shard::blank(layout, 8);
        for (image, offset) in shard.offsets_mut().iter_mut().enumerate() {
            *offset = image as u64;
        }
        let answers: Vec<f32> = (0..4200 * 300).map(|at: u64| (at * 7919 % 4001) as f32 / 16.0).collect();
        shard.fill(&answers, None).unwrap();
        shard
    }

    fn written(shard: &Shard, group: usize, piece: usize) -> Vec<u8> {
        let mut file = Vec::new();
        encode(shard, Augment::NONE, [group, piece], &mut file).unwrap();
        file
    }

    #[test]
    fn pieces_leave_the_bytes_as_they_are_and_groups_have_the_bytes_that_they_may() {
        let shard = shard();
        let whole = written(&shard, GROUP_BYTES, usize::MAX);
        // Four rows of 300 values begin before the library looks.
        assert_eq!(
            [300 * 2047, 300 * 2048, 300 * 100].map(|values| piece_rows(&shard.layout, values)),
            [1024, 2048, 100]
        );
        assert!(written(&shard, GROUP_BYTES, 300 * 2048) == whole);
        let groups = |file: &[u8]| -> Vec<i64> {
            let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).unwrap();
            reader
                .metadata()
                .row_groups()
                .iter()
                .map(parquet::file::metadata::RowGroupMetaData::num_rows)
                .collect()
        };
        assert_eq!(groups(&whole), [4200]);
        let bounded = written(&shard, 600 * 1500, 300 * 7);
        assert_eq!(groups(&bounded), [1500, 1500, 1200]);
        for file in [whole, bounded] {
            let mut storage = Storage::zeroed(file.len());
            storage.owned_mut().copy_from_slice(&file);
            let read = read(Path::new("shard"), storage, shard.layout, 8, Augment::NONE).unwrap();
            assert!(read.bytes() == shard.bytes());
        }
    }
}
