//! The sizes of a shard, from which the size of everything in it follows.

use std::ops::Deref;

use crate::row::coding::Coding;
use crate::row::column::{self, ANSWERS, Per, TENSORS};
use crate::row::dtype::{Dtype, Floats};

/// The sizes that fix a shard's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub images: usize,
    pub rows: usize,
    pub coding: Coding,
}

impl Deref for Layout {
    type Target = Coding;

    fn deref(&self) -> &Coding {
        &self.coding
    }
}

impl Layout {
    /// Of so many images and rows of a label set that keeps its answers so.
    pub fn new([images, rows]: [usize; 2], coding: Coding) -> Layout {
        Layout { images, rows, coding }
    }

    /// The same without what the teacher answers.
    pub fn heads(self) -> Layout {
        let floats = Floats { logits: Dtype::F16, features: Dtype::F16 };
        Layout { coding: Coding { classes: 0, top: 0, features: 0, floats }, ..self }
    }

    /// Entries of a column; `None` where that overflows.
    pub fn entries(&self, per: Per) -> Option<usize> {
        match per {
            Per::Row => Some(self.rows),
            Per::Image => Some(self.images),
            Per::Border => self.images.checked_add(1),
        }
    }

    /// The version of the format that says what is there.
    pub fn version(&self) -> u32 {
        self.coding.version()
    }

    /// How many rows to take together: the most, unless their answers are more than so many bytes.
    pub fn together(&self, most: usize, bytes: usize) -> usize {
        most.min(bytes / self.row_bytes().max(1)).max(1)
    }

    /// Bytes of one entry of each tensor, by its column's place.
    pub fn sizes(&self) -> [usize; TENSORS] {
        column::tensors().map(|(column, _)| self.entry(column))
    }

    /// Bytes of a row of each of [`ANSWERS`].
    pub fn answer_sizes(&self) -> [usize; ANSWERS.len()] {
        ANSWERS.map(|column| self.entry(column))
    }
}

impl Coding {
    /// The version of the format of a label set: the lowest that has what it holds.
    pub(crate) fn version(&self) -> u32 {
        match (self.is_plain(), self.features) {
            (false, _) => 3,
            (true, 0) => 1,
            (true, _) => 2,
        }
    }
}
