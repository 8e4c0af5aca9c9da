//! A shard that is being filled from the batches of a Parquet file, every column checked against the others.

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;

use crate::error::{Error, Result};
use crate::row::augment::{Augment, View};
use crate::row::column::{Column, Part, Per, Source, Width};
use crate::shard::layout::Layout;
use crate::shard::parquet::cells;
use crate::shard::rows::Shard;

/// A shard that is being filled.
pub(super) struct Filling<'a> {
    path: &'a Path,
    augment: Augment,
    shard: Shard,
    rows: usize,
    images: usize,
}

/// One column of a batch.
struct Cells {
    column: &'static Column,
    bytes: Buffer,
    size: usize,
}

impl Cells {
    fn at(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.size..][..self.size]
    }
}

/// The columns of a batch, by what becomes of them.
#[derive(Default)]
struct Batch {
    per_row: Vec<Cells>,
    per_image: Vec<Cells>,
    images: Vec<Cells>,
    parts: Vec<(Cells, Part)>,
    answers: Vec<Cells>,
}

impl Batch {
    fn of(columns: impl Iterator<Item = &'static Column>, batch: &RecordBatch, layout: &Layout) -> Batch {
        let mut sorted = Batch::default();
        for (column, array) in columns.zip(batch.columns()) {
            let cells =
                Cells { column, bytes: cells::bytes(column, layout, array), size: layout.entry(column) };
            match column.source {
                Source::Stored { per: Per::Row, .. } => sorted.per_row.push(cells),
                Source::Stored { .. } => sorted.per_image.push(cells),
                Source::Image => sorted.images.push(cells),
                Source::View(part) => sorted.parts.push((cells, part)),
                Source::Answer => sorted.answers.push(cells),
            }
        }
        sorted
    }
}

impl<'a> Filling<'a> {
    /// A shard of this layout without rows.
    pub fn new(path: &'a Path, augment: Augment, layout: Layout, first_image: u64) -> Filling<'a> {
        Filling { path, augment, shard: Shard::blank(layout, first_image), rows: 0, images: 0 }
    }

    /// Adds a batch, whose schema must be that of `columns`.
    pub fn add(&mut self, columns: impl Iterator<Item = &'static Column>, batch: &RecordBatch) -> Result<()> {
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
        let batch = Batch::of(columns, batch, &layout);
        for cells in &batch.per_row {
            let rows = self.rows..self.rows + count;
            self.shard.entries_mut(cells.column, rows).copy_from_slice(&cells.bytes[..count * cells.size]);
        }
        for index in 0..count {
            self.add_row(&batch, index)?;
        }
        self.rows += count;
        Ok(())
    }

    /// Checks one row of a batch whose entries per row have been taken over, and takes over those per image.
    fn add_row(&mut self, batch: &Batch, index: usize) -> Result<()> {
        let row = self.rows + index;
        let mut begins = false;
        for cells in &batch.images {
            let image = u64::from_le_bytes(cells.at(index).try_into().expect("an image's number is a u64"));
            begins = self.begin_image(row, image)?;
        }
        for cells in &batch.per_image {
            self.take_image(cells, index, begins)?;
        }
        self.check_view(&batch.parts, index, self.shard.views()[row])?;
        for cells in &batch.answers {
            let answer = self.shard.logits(row..row + 1).argmax();
            if cells.at(index) != &(answer as i64).to_le_bytes()[..cells.size] {
                let what = format!("{} of row {row}", cells.column.name);
                return Err(Error::structure(self.path, what, answer, self.text(cells, index)));
            }
        }
        Ok(())
    }

    /// Whether an image begins with a row; refuses one that is neither the next nor the one before.
    fn begin_image(&mut self, row: usize, image: u64) -> Result<bool> {
        let next = self.shard.first_image + self.images as u64;
        if image == next && self.images < self.shard.layout.images {
            self.shard.offsets_mut()[self.images] = row as u64;
            self.images += 1;
            return Ok(true);
        }
        if self.images > 0 && image == next - 1 {
            return Ok(false);
        }
        Err(Error::structure(
            self.path,
            format!("image of row {row}"),
            format!("{next} or the one before"),
            image,
        ))
    }

    /// Takes an image's entry from its first row; all its rows must agree.
    fn take_image(&mut self, cells: &Cells, index: usize, begins: bool) -> Result<()> {
        let (row, last) = (self.rows + index, self.images - 1..self.images);
        if begins {
            self.shard.entries_mut(cells.column, last).copy_from_slice(cells.at(index));
            return Ok(());
        }
        if self.shard.entries(cells.column, last) == cells.at(index) {
            return Ok(());
        }
        let found = if cells.column.width == Width::One { self.text(cells, index) } else { "another".into() };
        let what = format!("{} of row {row}", cells.column.name);
        Err(Error::structure(self.path, what, "that of the image's first row", found))
    }

    /// The parts of a view must be those of its id.
    fn check_view(&self, parts: &[(Cells, Part)], index: usize, id: u16) -> Result<()> {
        let agrees = |view: View| {
            parts.iter().all(|(cells, part)| *cells.at(index) == part(view).to_le_bytes()[..cells.size])
        };
        if self.augment.view(id).is_some_and(agrees) {
            return Ok(());
        }
        let wanted = format!("the crop and mirror of view {id} of {}", self.augment);
        let found: Vec<String> = parts
            .iter()
            .map(|(cells, _)| format!("{} {}", cells.column.name, self.text(cells, index)))
            .collect();
        Err(Error::structure(self.path, format!("row {}", self.rows + index), wanted, found.join(", ")))
    }

    fn text(&self, cells: &Cells, index: usize) -> String {
        cells.column.element.text(self.shard.layout.floats, cells.at(index))
    }

    /// The shard, once all its rows are there.
    pub fn finish(mut self) -> Result<Shard> {
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
