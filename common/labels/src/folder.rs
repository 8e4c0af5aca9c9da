//! The folder: the names of its files, what the manifest, the card and SHA256SUMS say, and opening plain files only.

pub(crate) mod answered;
pub(crate) mod card;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod parameters;
pub(crate) mod plain;
pub(crate) mod records;
mod seal;
pub(crate) mod sums;
pub(crate) mod teacher;
mod validate;
