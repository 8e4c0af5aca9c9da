//! Label sets, format 1: the logits of a teacher on views of images, on disk, verified and memory-mapped.
//!
//! This crate is where the two stages meet. Stage one opens a [`Session`], asks it which shards are pending, and hands it
//! the logits of one shard at a time; `finish` publishes the folder. Stage two opens the folder as a [`LabelSet`],
//! checks it against the images it is about to train on ([`LabelSet::check_against`]), and looks rows up by (image, view).
//! The crate knows nothing of networks or tensors, so third parties and fuzzers can build it alone.

#[cfg(target_endian = "big")]
compile_error!("label sets are mapped as little-endian numbers; this machine is big-endian");

mod card;
mod check;
mod content;
mod dataset;
mod digest;
mod dtype;
mod error;
mod finish;
mod folder;
mod layout;
mod lookup;
mod manifest;
mod map;
mod open;
mod parameters;
mod publish;
mod records;
mod rows;
mod session;
mod shard;
mod spec;
pub mod stats;
mod sums;
mod table;
mod teacher;
mod verify;
mod view;
mod views;

pub use check::Wanted;
pub use dataset::{Dataset, ImageHash, image_hash};
pub use digest::Hex;
pub use dtype::{Dtype, Form, Logits};
pub use error::{Error, Kind, Result};
pub use lookup::{LabelSet, Row};
pub use manifest::{ClassCount, DatasetRecord, FileRecord, Manifest, RightAnswers};
pub use open::Check;
pub use rows::RowTable;
pub use session::{Session, ShardJob};
pub use spec::{Spec, default_shard_images};
pub use teacher::Teacher;
pub use verify::{Report, verify};
pub use view::{Augment, View};
pub use views::Views;
