//! The names of a label set's files.

use crate::row::dtype::Form;

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const CARD: &str = "README.md";
pub(crate) const SUMS: &str = "SHA256SUMS";
pub(crate) const WORK: &str = ".work";
pub(crate) const SHARDS: &str = "shards";
pub(crate) const DATA: &str = "data";

/// Path of a shard inside the folder, like `shards/train-00000-of-00064.safetensors`.
pub(crate) fn shard_path(form: Form, split: &str, index: usize, shards: usize) -> String {
    let (folder, ending) = match form {
        Form::Parquet => (DATA, "parquet"),
        Form::Safetensors | Form::Both => (SHARDS, "safetensors"),
    };
    format!("{folder}/{split}-{index:05}-of-{shards:05}.{ending}")
}
