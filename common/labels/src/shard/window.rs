//! Some rows of a shard on their way to whoever looks at each of them: the shard as a whole need not be in memory.

use crate::error::Result;
use crate::row::column::{FEATURES, LOGITS};
use crate::row::dtype::{Dtype, Stored};
use crate::shard::layout::Layout;
use crate::shard::rows::Shard;

/// The most rows of a window.
const ROWS: usize = 8192;
/// The most bytes of its logits and feature maps: what stays in a processor's second cache.
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
    /// Logits and feature maps of these rows, little-endian in their stored types.
    pub logits: &'a [u8],
    pub features: &'a [u8],
}

impl<'a> Window<'a> {
    /// Bytes of the logits of a row, counted in the window.
    #[inline]
    pub fn logits_of(&self, row: usize) -> &'a [u8] {
        let size = self.layout.entry(&LOGITS);
        &self.logits[row * size..][..size]
    }

    /// Bytes of the feature maps of a row, none where the set holds none.
    #[inline]
    pub fn features_of(&self, row: usize) -> &'a [u8] {
        let size = self.layout.entry(&FEATURES);
        &self.features[row * size..][..size]
    }

    /// The class that the teacher answers.
    pub fn answer(&self, row: usize) -> usize {
        let known = self.heads[row].answer.map(|answer| answer as usize);
        known.unwrap_or_else(|| stored(self.logits_of(row), self.layout.floats.logits).argmax())
    }

    /// The first logit that is no number: its row in the shard, its class, and what it is.
    pub fn bad_logit(&self) -> Option<(usize, usize, f32)> {
        self.bad(self.logits, self.layout.floats.logits, self.layout.classes)
    }

    /// The same of the feature maps: the place in the row's.
    pub fn bad_feature(&self) -> Option<(usize, usize, f32)> {
        self.bad(self.features, self.layout.floats.features, self.layout.features)
    }

    fn bad(&self, bytes: &[u8], dtype: Dtype, width: usize) -> Option<(usize, usize, f32)> {
        let values = stored(bytes, dtype);
        let index = values.first_non_finite()?;
        Some((self.first + index / width, index % width, values.part(index..index + 1).to_vec()[0]))
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
            let [logits, features] = [&LOGITS, &FEATURES].map(|column| self.entries(column, first..end));
            take(&Window { layout: &self.layout, first, heads: &heads, logits, features });
        }
    }
}
