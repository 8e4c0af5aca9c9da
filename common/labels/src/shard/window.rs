//! Some rows of a shard on their way to whoever looks at each of them: the shard as a whole need not be in memory.

use crate::error::Result;
use crate::row::column::ANSWERS;
use crate::row::dtype::{Dtype, Stored};
use crate::shard::answer::{AnswerRow, Entries};
use crate::shard::layout::Layout;
use crate::shard::rows::Shard;

/// The most rows of a window.
const ROWS: usize = 8192;
/// The most bytes of its answers: what stays in a processor's second cache.
const BYTES: usize = 1 << 18;

/// What is said of a row beside its floats. The image is counted in the whole set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowHead {
    pub image: u64,
    pub view: u16,
    pub label: i32,
    /// The class that the teacher answers, where that was looked up already.
    pub answer: Option<u32>,
}

/// Whoever looks at rows as they come; may refuse to go on.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&Window) -> Result<()>;

/// Consecutive rows of a shard.
pub(crate) struct Window<'a> {
    /// Of the shard.
    pub layout: &'a Layout,
    /// The first row, counted in the shard.
    pub first: usize,
    pub heads: &'a [RowHead],
    /// What is stored of these rows' answers, column by column, little-endian.
    pub answers: Entries<'a>,
    /// Bytes of a row in each of these.
    pub sizes: [usize; ANSWERS.len()],
}

impl<'a> Window<'a> {
    /// What is stored of a row's answer, the row counted in the window.
    #[inline]
    pub fn answer_row(&self, row: usize) -> AnswerRow<'a> {
        AnswerRow::of(&self.layout.coding, &self.answers, self.sizes, row)
    }

    /// The class that the teacher answers.
    pub fn answer(&self, row: usize) -> usize {
        let known = self.heads[row].answer.map(|answer| answer as usize);
        let logits = || AnswerRow::logits_of(&self.layout.coding, &self.answers, self.sizes, row);
        known.unwrap_or_else(|| logits().argmax())
    }

    /// The first logit that is no number, where all are floats: its row in the shard, its class, and what it is.
    pub fn bad_logit(&self) -> Option<(usize, usize, f32)> {
        let plain = self.layout.is_plain();
        self.bad(self.answers[0], self.layout.floats.logits, self.layout.classes).filter(|_| plain)
    }

    /// The first row that is not what the format allows, where not all logits are floats, and what is wrong with it.
    pub fn bad_row(&self) -> Option<(usize, [String; 3])> {
        if self.layout.is_plain() {
            return None;
        }
        let mut seen = Vec::new();
        (0..self.heads.len())
            .find_map(|row| Some((self.first + row, self.answer_row(row).problem(&mut seen)?)))
    }

    /// The first value of a feature map that is no number: its row, and its place in the row's.
    pub fn bad_feature(&self) -> Option<(usize, usize, f32)> {
        self.bad(self.answers[ANSWERS.len() - 1], self.layout.floats.features, self.layout.features)
    }

    fn bad(&self, bytes: &[u8], dtype: Dtype, width: usize) -> Option<(usize, usize, f32)> {
        let values = stored(bytes, dtype);
        let index = values.first_non_finite()?;
        Some((self.first + index / width, index % width, values.get(index)))
    }
}

/// Bytes as the floats that they are; they must be aligned to them.
#[inline]
pub(crate) fn stored(bytes: &[u8], dtype: Dtype) -> Stored<'_> {
    match dtype {
        // Nothing has no alignment.
        _ if bytes.is_empty() => Stored::F16(&[]),
        Dtype::F16 => Stored::F16(bytemuck::cast_slice(bytes)),
        Dtype::F32 => Stored::F32(bytemuck::cast_slice(bytes)),
        Dtype::U8 => unreachable!("codes are no floats"),
    }
}

impl Layout {
    /// Rows of a window.
    pub fn window(&self) -> usize {
        self.together(ROWS, BYTES)
    }
}

impl Shard {
    /// All its rows, window after window.
    pub fn windows(&self, mut take: impl FnMut(&Window)) {
        let mut rows = self.rows();
        let mut heads = Vec::new();
        for first in (0..self.layout.rows).step_by(self.layout.window()) {
            let end = self.layout.rows.min(first + self.layout.window());
            heads.clear();
            let next = rows.by_ref().take(end - first);
            heads.extend(next.map(|(_, image, view, label)| RowHead { image, view, label, answer: None }));
            let (answers, sizes) = (self.answers(first..end), self.layout.answer_sizes());
            take(&Window { layout: &self.layout, first, heads: &heads, answers, sizes });
        }
    }
}
