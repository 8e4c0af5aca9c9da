//! Label sets, format 1: the logits of a teacher on views of images, on disk, verified and memory-mapped.
//!
//! This crate is where the two stages meet. Stage one opens a [`Session`], asks it which shards are pending, and hands it
//! the logits of one shard at a time; `finish` publishes the folder. Stage two opens the folder as a [`LabelSet`],
//! checks it against the images it is about to train on ([`LabelSet::check_against`]), and looks rows up by (image, view).
//! The crate knows nothing of networks or tensors, so third parties and fuzzers can build it alone.

#[cfg(target_endian = "big")]
compile_error!("label sets are mapped as little-endian numbers; this machine is big-endian");

mod error;
mod folder;
mod read;
mod row;
mod shard;
mod write;

pub use error::{Error, Kind, Result};
pub use folder::manifest::Manifest;
pub use folder::records::{ClassCount, DatasetRecord, FileRecord, RightAnswers, Robust};
pub use folder::teacher::Teacher;
pub use read::check::Wanted;
pub use read::lookup::{LabelSet, Row};
pub use read::note::Note;
pub use read::open::Check;
pub use read::verify::{Report, verify};
pub use row::augment::{Augment, View};
pub use row::dataset::{Dataset, ImageHash, image_hash};
pub use row::digest::Hex;
pub use row::dtype::{Dtype, Form, Logits};
pub use row::table::RowTable;
pub use row::views::Views;
pub use write::answers::Answers;
pub use write::session::{Session, ShardJob};
pub use write::spec::{Spec, default_shard_images};
