//! The sizes of a shard, from which the size of everything in it follows.

use crate::row::column::{self, Column, Per, TENSORS, Width};
use crate::row::dtype::Dtype;

/// The sizes that fix a shard's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub images: usize,
    pub rows: usize,
    pub classes: usize,
    pub dtype: Dtype,
}

impl Layout {
    /// Entries of a column; `None` where that overflows.
    pub fn entries(&self, per: Per) -> Option<usize> {
        match per {
            Per::Row => Some(self.rows),
            Per::Image => Some(self.images),
            Per::Border => self.images.checked_add(1),
        }
    }

    /// Values of one entry of a column; `None` where an entry is one value and has no axis of its own.
    pub fn width(&self, column: &Column) -> Option<usize> {
        match column.width {
            Width::One => None,
            Width::Fixed(values) => Some(values),
            Width::Classes => Some(self.classes),
        }
    }

    /// Bytes of one entry of each tensor, by its column's place.
    pub fn sizes(&self) -> [usize; TENSORS] {
        column::tensors().map(|(column, _)| self.entry(column))
    }

    /// Bytes of one entry of a column.
    pub fn entry(&self, column: &Column) -> usize {
        self.width(column).unwrap_or(1) * column.element.size(self.dtype)
    }
}
