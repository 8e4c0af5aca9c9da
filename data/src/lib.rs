//! Datasets, and cutting views out of their images: where both stages get their pixels.
//!
//! [`DatasetSpec`] names a dataset as on the command line and loads a split of it; [`Dataset`] holds the decoded u8 pixels
//! and labels in file order; [`cut()`] and [`Dataset::gather`] turn (image, view) into network input; a [`Change`] alters
//! an image strongly. The embedded `sample` needs no files.
//!
//! ```
//! let spec: data::DatasetSpec = "sample".parse()?;
//! let test = spec.load(data::Split::Test)?;
//! assert_eq!((test.len(), test.classes()), (1_000, 10));
//! # Ok::<(), data::DataError>(())
//! ```

mod cut;
mod dataset;
mod error;
mod folder;
mod form;
mod kept;
mod published;
mod read;
mod row;
mod spec;
mod strong;

pub use cut::cut;
pub use dataset::{Dataset, ImageShape, Split};
pub use error::{DataError, Spot};
pub use form::DATASETS;
pub use row::{DatasetRow, Number, Place};
pub use spec::{DatasetSpec, help, known};
pub use strong::{Change, change};
