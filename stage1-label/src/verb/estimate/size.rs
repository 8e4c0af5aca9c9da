//! How many bytes a label set takes, and how many of them are feature maps.

use labels::{Coding, Features, Form, default_shard_images};
use serde::Serialize;

use crate::taps::{MOST_UNASKED, weight};

/// What feature maps weigh.
#[derive(Debug, Serialize)]
pub struct Weight {
    /// Which they are, and their stored type.
    #[serde(flatten)]
    pub maps: Features,
    /// Bytes of a row.
    pub bytes_per_row: u64,
    /// Bytes of all rows in one form.
    pub bytes: u64,
    /// Whether `label run` writes them only with --yes: in one form, and in both.
    pub wants_yes: [bool; 2],
    /// Whether the objective reads any.
    pub are_read: bool,
}

/// Bytes of the label set for each stored type of the logits.
#[derive(Debug, Serialize)]
pub struct Sizes {
    /// Stored as f16; none where feature maps are stored in f32, which f16 logits do not have beside them.
    pub f16: Option<FormSizes>,
    /// Stored as f32.
    pub f32: FormSizes,
    /// Stored as codes of eight bits; none where that saves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub u8: Option<FormSizes>,
    /// With --top-k, the largest logits alone, as f16 and as f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<TopSizes>,
}

/// Bytes of a label set that stores the largest logits of a row alone.
#[derive(Debug, Serialize)]
pub struct TopSizes {
    /// N, how many.
    pub n: u32,
    /// Bytes of a row's logits, classes and the rest, stored as f16.
    pub bytes_per_row: u64,
    /// Stored as f16.
    pub f16: FormSizes,
    /// Stored as f32.
    pub f32: FormSizes,
}

/// Bytes of each form.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct FormSizes {
    /// The mapped shards, exactly.
    pub safetensors: u64,
    /// The Parquet shards, to a few percent: they are compressed. How far feature maps shrink is not foreseen: they are
    /// counted whole.
    pub parquet: u64,
    /// Both forms.
    pub both: u64,
}

impl Weight {
    pub(super) fn of(maps: Features, rows: u64, are_read: bool) -> Self {
        let [bytes, both] = [Form::Safetensors, Form::Both].map(|form| weight(&maps, rows, form));
        let wants_yes = [bytes, both].map(|bytes| bytes > MOST_UNASKED);
        Self { bytes_per_row: maps.row_bytes() as u64, bytes, wants_yes, are_read, maps }
    }
}

/// Bytes of a label set that keeps its answers so.
pub(super) fn sizes(images: u64, rows: u64, coding: Coding) -> FormSizes {
    const HEADER: u64 = 4096;
    let rows_per_image = rows.div_ceil(images.max(1)).max(1) as usize;
    let shards = images.div_ceil(default_shard_images(rows_per_image, coding.weight()) as u64);
    let floats = rows.saturating_mul(coding.row_bytes() as u64);
    // Header, view, and per image an offset, a label and a hash.
    let safetensors = shards * (HEADER + 8) + floats + 2 * rows + (8 + 4 + 16) * images;
    // Hardly anything but floats and hashes is left after compression.
    let parquet = shards * HEADER + floats + (16 + 4) * images + rows / 2;
    FormSizes { safetensors, parquet, both: safetensors + parquet }
}
