//! The sizes of a shard, from which the size of everything in it follows.

use crate::row::column::{self, Column, Per, TENSORS, Width};
use crate::row::dtype::{Dtype, Floats};
use crate::row::features::{Features, floats};

/// The sizes that fix a shard's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub images: usize,
    pub rows: usize,
    pub classes: usize,
    /// Values of a row's feature maps; 0 where the label set holds none.
    pub features: usize,
    pub floats: Floats,
}

impl Layout {
    /// Of so many images and rows of a label set with this many classes, logits of this type and these features.
    pub fn new(
        [images, rows]: [usize; 2],
        classes: usize,
        dtype: Dtype,
        features: Option<&Features>,
    ) -> Layout {
        let floats = floats(dtype, features);
        Layout { images, rows, classes, features: features.map_or(0, Features::values), floats }
    }

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
            Width::Features => Some(self.features),
        }
    }

    /// Whether the label set has the column at all. What has no values has no name in either form, so that sets without
    /// feature maps have the bytes of the format's first version.
    pub fn holds(&self, column: &Column) -> bool {
        self.width(column) != Some(0)
    }

    /// The version of the format that says what is there.
    pub fn version(&self) -> u32 {
        version(self.features > 0)
    }

    /// How many rows to take together: the most, unless their logits and feature maps are more than so many bytes.
    pub fn together(&self, most: usize, bytes: usize) -> usize {
        let row = self.entry(&column::LOGITS) + self.entry(&column::FEATURES);
        most.min(bytes / row.max(1)).max(1)
    }

    /// Bytes of one entry of each tensor, by its column's place.
    pub fn sizes(&self) -> [usize; TENSORS] {
        column::tensors().map(|(column, _)| self.entry(column))
    }

    /// Bytes of one entry of a column.
    pub fn entry(&self, column: &Column) -> usize {
        self.width(column).unwrap_or(1) * column.element.size(self.floats)
    }
}

/// The version of the format of a label set: the lowest that has what it holds.
pub(crate) fn version(has_features: bool) -> u32 {
    if has_features { 2 } else { 1 }
}
