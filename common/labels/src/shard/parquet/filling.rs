//! A shard that is being filled from the batches of a Parquet file, every column checked against the others.

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::column::{ANSWERS, Column, Part, Per, Source, Width};
use crate::shard::answer::{AnswerRow, Entries};
use crate::shard::layout::Layout;
use crate::shard::parquet::{cells, held};
use crate::shard::rows::Shard;
use crate::shard::window::{RowHead, Take, Window};

/// A shard that is being filled.
pub(super) struct Filling<'a> {
    path: &'a Path,
    augment: Augment,
    shard: Shard,
    rows: usize,
    images: usize,
    /// Of the rows of the current batch.
    heads: Vec<RowHead>,
    head: RowHead,
    /// What each view says of itself, by its id, as the columns of parts have it.
    parts: Vec<Vec<u8>>,
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
    parts: Vec<Cells>,
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
                Source::View(_) => sorted.parts.push(cells),
                Source::Answer => sorted.answers.push(cells),
            }
        }
        sorted
    }

    /// What is stored of so many rows' answers, column by column.
    fn answers(&self, count: usize) -> Entries<'_> {
        ANSWERS.map(|column| {
            let cells = self.per_row.iter().find(|cells| cells.column.place() == column.place());
            cells.map_or(&[][..], |cells| &cells.bytes[..count * cells.size])
        })
    }
}

/// Whether these are the same bytes; most entries are as short as one of a few numbers.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    fn of<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        a.first_chunk::<N>() == b.first_chunk::<N>()
    }
    match (a.len(), b.len()) {
        (1, 1) => of::<1>(a, b),
        (2, 2) => of::<2>(a, b),
        (4, 4) => of::<4>(a, b),
        (16, 16) => of::<16>(a, b),
        _ => a == b,
    }
}

impl<'a> Filling<'a> {
    /// A shard without rows, whose answers it takes over or, where they are only looked at, leaves out.
    pub fn new(path: &'a Path, augment: Augment, shard: Shard) -> Filling<'a> {
        let parts = held(&shard.layout).filter_map(|column| match column.source {
            Source::View(part) => Some((part, shard.layout.entry(column))),
            Source::Stored { .. } | Source::Image | Source::Answer => None,
        });
        let views = || (0..augment.views()).filter_map(|id| augment.view(id as u16));
        let said = |(part, size): (Part, usize)| -> Vec<u8> {
            views().flat_map(|view| part(view).to_le_bytes().into_iter().take(size)).collect()
        };
        let (parts, head) =
            (parts.map(said).collect(), RowHead { image: 0, view: 0, label: 0, answer: None });
        Filling { path, augment, shard, rows: 0, images: 0, heads: Vec::new(), head, parts }
    }

    /// Adds a batch, whose schema must be that of `columns`, and hands on its rows.
    pub fn add(
        &mut self,
        columns: impl Iterator<Item = &'static Column>,
        batch: &RecordBatch,
        take: &mut Option<Take>,
    ) -> Result<()> {
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
            if !self.shard.has(cells.column) {
                continue;
            }
            let rows = self.rows..self.rows + count;
            self.shard.entries_mut(cells.column, rows).copy_from_slice(&cells.bytes[..count * cells.size]);
        }
        self.heads.clear();
        let (answers, sizes) = (batch.answers(count), layout.answer_sizes());
        for index in 0..count {
            let answer = AnswerRow::logits_of(&layout.coding, &answers, sizes, index).argmax();
            self.add_row(&batch, index, answer)?;
        }
        if let Some(take) = take {
            take(&Window { layout: &layout, first: self.rows, heads: &self.heads, answers, sizes })?;
        }
        self.rows += count;
        Ok(())
    }

    /// Checks one row of a batch whose entries per row have been taken over, and takes over those per image.
    fn add_row(&mut self, batch: &Batch, index: usize, answer: usize) -> Result<()> {
        let row = self.rows + index;
        let mut begins = false;
        for cells in &batch.images {
            let image = u64::from_le_bytes(cells.at(index).try_into().expect("an image's number is a u64"));
            begins = self.begin_image(row, image)?;
        }
        for cells in &batch.per_image {
            self.take_image(cells, index, begins)?;
        }
        self.head.view = self.shard.views()[row];
        self.check_view(&batch.parts, index)?;
        self.head.answer = Some(answer as u32);
        self.heads.push(self.head);
        for cells in &batch.answers {
            if !same(cells.at(index), &(answer as i64).to_le_bytes()[..cells.size]) {
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
            self.head.image = image;
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
            self.shard.entries_mut(cells.column, last.clone()).copy_from_slice(cells.at(index));
            self.head.label = self.shard.labels()[last.start];
            return Ok(());
        }
        if same(self.shard.entries(cells.column, last), cells.at(index)) {
            return Ok(());
        }
        let found = if cells.column.width == Width::One { self.text(cells, index) } else { "another".into() };
        let what = format!("{} of row {row}", cells.column.name);
        Err(Error::structure(self.path, what, "that of the image's first row", found))
    }

    /// The parts of a view must be those of its id.
    fn check_view(&self, parts: &[Cells], index: usize) -> Result<()> {
        let id = self.head.view;
        let agrees = |(cells, said): (&Cells, &Vec<u8>)| {
            let said = said.get(usize::from(id) * cells.size..).and_then(|said| said.get(..cells.size));
            said.is_some_and(|said| same(cells.at(index), said))
        };
        if parts.iter().zip(&self.parts).all(agrees) {
            return Ok(());
        }
        let wanted = format!("the crop and mirror of view {id} of {}", self.augment);
        let found: Vec<String> =
            parts.iter().map(|cells| format!("{} {}", cells.column.name, self.text(cells, index))).collect();
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
