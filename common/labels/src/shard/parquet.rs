//! The Parquet form of a shard: one row per (image, view), in the same order, for pyarrow, polars, `DuckDB` and `datasets`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::row::augment::{Augment, View};
use crate::row::column::{ANSWERS, COLUMNS, Column, Parquet, Per, Source};
use crate::shard::answer::{AnswerRow, Entries};
use crate::shard::layout::Layout;
use crate::shard::parquet::filling::Filling;
use crate::shard::parquet::pieces::Pieces;
use crate::shard::rows::Shard;
use crate::shard::storage::Storage;
use crate::shard::stream::Reading;
use crate::shard::window::Take;

mod cells;
mod filling;
mod pieces;
#[cfg(test)]
mod tests;

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
    let rows = named(augment, rows);
    let answers = shard.answers(start..start + rows.len());
    let column = |column: &'static Column| {
        let entries = entries(column, shard, &answers, start, &rows);
        let mut out = MutableBuffer::with_capacity(entries.len());
        out.extend_from_slice(&entries);
        cells::array(column, &shard.layout, out.into())
    };
    let columns = held(&shard.layout).map(column).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// Rows of a shard whose views were checked: each one's image, and what its view is.
fn named(augment: Augment, rows: impl Iterator<Item = (usize, u64, u16, i32)>) -> Vec<(u64, View)> {
    let view = |id| augment.view(id).expect("the shard's views were checked");
    rows.map(|(_, image, id, _)| (image, view(id))).collect()
}

/// What this form has in a column, little-endian, of `rows`, which begin with a shard's row `start`. Their answers come
/// apart, as the shard may be without.
fn entries<'a>(
    column: &Column,
    shard: &'a Shard,
    answers: &Entries<'a>,
    start: usize,
    rows: &[(u64, View)],
) -> Cow<'a, [u8]> {
    let layout = &shard.layout;
    let size = layout.entry(column);
    let whole = |value: &dyn Fn(usize) -> i64| {
        let values = (0..rows.len()).map(|row| value(row).to_le_bytes());
        match size {
            1 => of_each(values, |bytes| [bytes[0]]),
            2 => of_each(values, |bytes| [bytes[0], bytes[1]]),
            4 => of_each(values, |[a, b, c, d, ..]| [a, b, c, d]),
            _ => of_each(values, |bytes| bytes),
        }
    };
    match column.source {
        Source::Image => whole(&|row| rows[row].0 as i64),
        Source::View(part) => whole(&|row| part(rows[row].1)),
        Source::Answer => {
            let sizes = layout.answer_sizes();
            whole(&|row| AnswerRow::logits_of(&layout.coding, answers, sizes, row).argmax() as i64)
        }
        Source::Stored { per: Per::Row, .. } => {
            let place = ANSWERS.iter().position(|answer| answer.place() == column.place());
            let here = || shard.entries(column, start..start + rows.len());
            Cow::Borrowed(place.map_or_else(here, |place| answers[place]))
        }
        Source::Stored { .. } => {
            let all = shard.entries(column, 0..layout.images);
            let begins = rows.iter().map(|&(image, _)| (image - shard.first_image) as usize * size);
            match size {
                4 => of_each(begins, |begin| at::<4>(all, begin)),
                16 => of_each(begins, |begin| at::<16>(all, begin)),
                _ => Cow::Owned(begins.flat_map(|begin| &all[begin..begin + size]).copied().collect()),
            }
        }
    }
}

/// The entry that begins there.
fn at<const N: usize>(all: &[u8], begin: usize) -> [u8; N] {
    *all[begin..].first_chunk().expect("the column is whole entries")
}

/// The bytes of each, one behind the other.
fn of_each<T, const N: usize>(
    values: impl Iterator<Item = T>,
    bytes: impl Fn(T) -> [u8; N],
) -> Cow<'static, [u8]> {
    Cow::Owned(values.map(bytes).collect::<Vec<_>>().into_flattened())
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
    require_room(path, bytes, &layout)?;
    guarded(path, || {
        let reader = batches(path, file, &layout)?;
        let blank = if take.is_some() { Shard::blank_heads } else { Shard::blank };
        let mut filling = Filling::new(path, augment, blank(layout, first_image));
        for batch in reader {
            let batch = batch.map_err(|error| undecoded(path, error.to_string()))?;
            filling.add(held(&layout), &batch, &mut take)?;
        }
        filling.finish()
    })
}

/// Refuses a manifest that promises more rows than so many bytes of Parquet could be.
fn require_room(path: &Path, bytes: u64, layout: &Layout) -> Result<()> {
    // Logits hardly compress, and even constant ones not a thousandfold: a manifest that promises more is a trap.
    let most = bytes.saturating_mul(1024).saturating_add(1 << 26);
    if layout.data_len().is_some_and(|data| data as u64 <= most) {
        return Ok(());
    }
    let wanted = format!("rows that fit in {bytes} bytes of Parquet");
    Err(Error::structure(path, "number of rows in the manifest", wanted, layout.rows))
}

/// What the library's decoder gives; its panics are damage.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    let gave_up = |_| Err(undecoded(path, "the Parquet decoder gave up on it".into()));
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(gave_up)
}

fn undecoded(path: &Path, detail: String) -> Error {
    Error::Decode { path: path.into(), detail }
}

/// The rows of a file whose columns and number of rows are those of a layout.
fn batches(
    path: &Path,
    file: impl ChunkReader + 'static,
    layout: &Layout,
) -> Result<ParquetRecordBatchReader> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| undecoded(path, format!("not a Parquet file: {error}")))?;
    let wanted = schema(layout);
    if builder.schema().fields() != wanted.fields() {
        return Err(Error::structure(path, "schema", columns(&wanted), columns(builder.schema())));
    }
    let found = builder.metadata().file_metadata().num_rows();
    if found != layout.rows as i64 {
        return Err(Error::structure(path, "number of rows", layout.rows, found));
    }
    let rows = layout.together(BATCH_ROWS, BATCH_BYTES);
    builder.with_batch_size(rows).build().map_err(|error| undecoded(path, error.to_string()))
}

/// Whether the Parquet shard in a file of so many bytes has the rows of its safetensors twin: the heads and the answers that
/// `open` gives, once this file's own header was looked at.
///
/// Every column is compared with what [`write`] would put there. What is no such shard does not have them: [`read`] says
/// what is wrong with it. `go_on` is asked between rows.
pub(crate) fn is_twin<'a>(
    path: &Path,
    (file, bytes): (File, u64),
    (layout, augment): (Layout, Augment),
    open: impl FnOnce() -> Result<(Shard, Reading<'a>)>,
    go_on: impl Fn() -> Result<()>,
) -> Result<bool> {
    require_room(path, bytes, &layout)?;
    guarded(path, || {
        let reader = batches(path, Pieces { file: Arc::new(file), bytes }, &layout)?;
        let (heads, mut twin) = open()?;
        let (mut rows, mut start) = (heads.rows(), 0);
        for batch in reader {
            let batch = batch.map_err(|error| undecoded(path, error.to_string()))?;
            let cells = |(column, array)| (column, cells::bytes(column, &layout, array));
            let found: Vec<(&Column, Buffer)> = held(&layout).zip(batch.columns()).map(cells).collect();
            for first in (0..batch.num_rows()).step_by(layout.window()) {
                go_on()?;
                let count = layout.window().min(batch.num_rows() - first);
                let named = named(augment, rows.by_ref().take(count));
                if named.len() < count {
                    return Ok(false);
                }
                let answers = twin.answers(start..start + named.len())?;
                let same = |(column, bytes): &(&Column, Buffer)| {
                    let size = layout.entry(column);
                    let found = bytes.get(first * size..(first + named.len()) * size);
                    found == Some(&entries(column, &heads, &answers, start, &named))
                };
                if !found.iter().all(same) {
                    return Ok(false);
                }
                start += named.len();
            }
        }
        Ok(start == layout.rows)
    })
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
