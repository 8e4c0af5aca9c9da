//! The rows of a safetensors shard, read window by window.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::column::{ANSWERS, IMAGE_HASH, LABEL, OFFSET, VIEW};
use crate::row::views::Views;
use crate::shard::answer::Entries;
use crate::shard::layout::Layout;
use crate::shard::rows::Shard;
use crate::shard::safetensors::Sections;
use crate::shard::storage::Storage;
use crate::shard::window::{RowHead, Take, Window};

/// A safetensors shard in a file, read some rows at a time.
pub(crate) struct Reading<'a> {
    path: &'a Path,
    file: &'a File,
    layout: Layout,
    sections: Sections,
    /// The answers that were read last.
    held: [Storage; ANSWERS.len()],
}

impl<'a> Reading<'a> {
    /// Reads the header of a file of so many bytes.
    pub fn open(path: &'a Path, (file, bytes): (&'a File, u64), layout: Layout) -> Result<Reading<'a>> {
        let begin = |most: u64| -> io::Result<Vec<u8>> {
            let mut begin = vec![0; most.min(bytes) as usize];
            file.read_exact_at(&mut begin, 0)?;
            Ok(begin)
        };
        let io = |error| Error::io("read", path)(error);
        let header = begin(Layout::header_len(&begin(8).map_err(io)?)).map_err(io)?;
        let sections = layout.read_header(path, &header, bytes)?;
        let held = layout.answer_sizes().map(|size| Storage::zeroed(size * layout.window()));
        Ok(Reading { path, file, layout, sections, held })
    }

    /// The shard without its answers, validated.
    pub fn heads(&self, first_image: u64, augment: Augment, views: Views) -> Result<Shard> {
        let mut shard = Shard::blank_heads(self.layout, first_image);
        for column in [&OFFSET, &LABEL, &VIEW, &IMAGE_HASH] {
            let section = self.sections[column.place()].clone();
            let entries = 0..section.len() / self.layout.entry(column);
            let read = self.file.read_exact_at(shard.entries_mut(column, entries), section.start as u64);
            read.map_err(Error::io("read", self.path))?;
        }
        shard.validate(self.path, augment, views)?;
        Ok(shard)
    }

    /// What is stored of the answers of some rows, a window's at most, column by column.
    pub fn answers(&mut self, rows: Range<usize>) -> Result<Entries<'_>> {
        let sizes = self.layout.answer_sizes();
        for ((column, size), held) in ANSWERS.into_iter().zip(sizes).zip(&mut self.held) {
            if size > 0 {
                let at = self.sections[column.place()].start + rows.start * size;
                let read = self.file.read_exact_at(&mut held.owned_mut()[..rows.len() * size], at as u64);
                read.map_err(Error::io("read", self.path))?;
            }
        }
        let mut sizes = sizes.into_iter();
        Ok(self.held.each_ref().map(|held| &held[..rows.len() * sizes.next().unwrap_or(0)]))
    }
}

/// Hands on the rows of a shard. What it gives, and validates before the first row, is the shard without its answers.
pub(crate) fn stream(
    mut reading: Reading,
    first_image: u64,
    (augment, views): (Augment, Views),
    take: Take,
) -> Result<Shard> {
    let layout = reading.layout;
    let shard = reading.heads(first_image, augment, views)?;
    let (mut rows, mut heads) = (shard.rows(), Vec::new());
    for first in (0..layout.rows).step_by(layout.window()) {
        let end = layout.rows.min(first + layout.window());
        heads.clear();
        let next = rows.by_ref().take(end - first);
        heads.extend(next.map(|(_, image, view, label)| RowHead { image, view, label, answer: None }));
        let (answers, sizes) = (reading.answers(first..end)?, layout.answer_sizes());
        take(&Window { layout: &layout, first, heads: &heads, answers, sizes })?;
    }
    drop(rows);
    Ok(shard)
}
