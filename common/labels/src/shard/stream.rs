//! The rows of a safetensors shard, read window by window.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::column::{ANSWERS, IMAGE_HASH, LABEL, OFFSET, VIEW};
use crate::row::views::Views;
use crate::shard::layout::Layout;
use crate::shard::rows::Shard;
use crate::shard::safetensors::Sections;
use crate::shard::storage::Storage;
use crate::shard::window::{RowHead, Take, Window};

/// Hands on the rows of the shard in a file of so many bytes. What it gives, and validates before the first row, is the
/// shard without its answers.
pub(crate) fn stream(
    path: &Path,
    (file, bytes): (&File, u64),
    (first_image, layout): (u64, Layout),
    (augment, views): (Augment, Views),
    take: Take,
) -> Result<Shard> {
    let io = |error| Error::io("read", path)(error);
    let sections = sections(path, (file, bytes), layout)?;
    let mut shard = Shard::blank_heads(layout, first_image);
    for column in [&OFFSET, &LABEL, &VIEW, &IMAGE_HASH] {
        let section = sections[column.place()].clone();
        let entries = 0..section.len() / layout.entry(column);
        file.read_exact_at(shard.entries_mut(column, entries), section.start as u64).map_err(io)?;
    }
    shard.validate(path, augment, views)?;
    let sizes = layout.answer_sizes();
    let mut held = ANSWERS.map(|column| {
        let (section, size) = (sections[column.place()].clone(), layout.entry(column));
        (section.start, size, Storage::zeroed(size * layout.window()))
    });
    let (mut rows, mut heads) = (shard.rows(), Vec::new());
    for first in (0..layout.rows).step_by(layout.window()) {
        let count = layout.window().min(layout.rows - first);
        heads.clear();
        let next = rows.by_ref().take(count);
        heads.extend(next.map(|(_, image, view, label)| RowHead { image, view, label, answer: None }));
        for (start, size, storage) in held.iter_mut().filter(|(_, size, _)| *size > 0) {
            let at = *start + first * *size;
            file.read_exact_at(&mut storage.owned_mut()[..count * *size], at as u64).map_err(io)?;
        }
        let answers = held.each_ref().map(|(_, size, storage)| &storage[..count * size]);
        take(&Window { layout: &layout, first, heads: &heads, answers, sizes })?;
    }
    drop(rows);
    Ok(shard)
}

fn sections(path: &Path, (file, bytes): (&File, u64), layout: Layout) -> Result<Sections> {
    let begin = |most: u64| -> io::Result<Vec<u8>> {
        let mut begin = vec![0; most.min(bytes) as usize];
        file.read_exact_at(&mut begin, 0)?;
        Ok(begin)
    };
    let io = |error| Error::io("read", path)(error);
    let header = begin(Layout::header_len(&begin(8).map_err(io)?)).map_err(io)?;
    layout.read_header(path, &header, bytes)
}
