//! A row: a view of an image, whose label it has. What rows there are, of which images, and what their numbers mean.

pub(crate) mod augment;
pub(crate) mod coding;
#[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "the table says more than one form asks"))]
pub(crate) mod column;
pub(crate) mod dataset;
pub(crate) mod digest;
pub(crate) mod dtype;
pub(crate) mod features;
pub(crate) mod logits;
pub(crate) mod lost;
pub(crate) mod table;
pub(crate) mod views;
