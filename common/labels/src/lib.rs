//! Label sets, formats 1 to 3: the logits of a teacher on views of images, and its feature maps where they are wanted, on
//! disk, verified and memory-mapped.
//!
//! This crate is where the two stages meet. Stage one opens a [`Session`], asks it which shards are pending, and hands it
//! the answers of one shard at a time; `finish` publishes the folder. Stage two opens the folder as a [`LabelSet`],
//! checks it against the images it is about to train on ([`LabelSet::check_against`]), and looks rows up by (image, view).
//! The crate knows nothing of networks or tensors, so third parties and fuzzers can build it alone.
//!
//! Two grey images of one pixel, a teacher of two classes, written and read:
//!
//! ```
//! use labels::{Augment, Check, Dataset, LabelSet, RowTable, Session, Spec, Teacher, Views, image_hash};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let images = Dataset {
//!     name: "pixels".into(),
//!     split: "train".into(),
//!     shape: [1, 1, 1],
//!     class_names: vec!["dark".into(), "light".into()],
//!     classes: 2,
//!     hashes: vec![image_hash(1, 1, 1, &[3]), image_hash(1, 1, 1, &[250])],
//!     labels: vec![0, 1],
//! };
//! let (rows, teacher) = (RowTable::all(images.len(), Augment::NONE), Teacher::named("by eye"));
//! let mut session = Session::open(&folder.join("labels"), Spec::new(images, Augment::NONE, Views::All, rows, teacher))?;
//! for job in session.pending() {
//!     let logits: Vec<f32> = job.rows.clone().flat_map(|row| [2.0 - row as f32, row as f32]).collect();
//!     session.write(&job, &logits)?;
//! }
//! let manifest = session.finish()?;
//!
//! let set = LabelSet::open(&folder.join("labels"), Check::Hashes)?;
//! let mut logits = [0.0; 2];
//! assert!(set.read(1, 0, &mut logits), "the answer to image 1, view 0");
//! assert_eq!(logits, [1.0, 1.0]);
//! assert_eq!((set.label(1), set.manifest().content_hash), (1, manifest.content_hash));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(target_endian = "big")]
compile_error!("label sets are mapped as little-endian numbers; this machine is big-endian");

mod error;
mod folder;
mod part;
mod read;
mod row;
mod shard;
mod travel;
mod write;

pub use error::{Error, Kind, Result};
pub use folder::answered::{Answered, Answerer};
pub use folder::manifest::Manifest;
pub use folder::records::{ClassCount, DatasetRecord, FileRecord, Parent, RightAnswers, Robust};
pub use folder::teacher::Teacher;
pub use part::Part;
pub use read::check::Wanted;
pub use read::lookup::{LabelSet, Row};
pub use read::note::Note;
pub use read::open::Check;
pub use read::verify::{Report, Watch, verify, verify_watched};
pub use row::augment::{Augment, View};
pub use row::coding::{Coding, Unkept};
pub use row::dataset::{Dataset, ImageHash, image_hash};
pub use row::digest::Hex;
pub use row::dtype::{Dtype, Form, Stored};
pub use row::features::{FeatureMap, Features};
pub use row::logits::Logits;
pub use row::lost::Lost;
pub use row::table::RowTable;
pub use row::views::Views;
pub use travel::arriving::Arriving;
pub use travel::incoming::Incoming;
pub use travel::outgoing::{Outgoing, Piece};
pub use write::answers::Answers;
pub use write::finish::{finalize, finalize_watched};
pub use write::join::{Joined, join};
pub use write::repair::Repair;
pub use write::session::{Session, ShardJob};
pub use write::spec::{Spec, default_shard_images};
