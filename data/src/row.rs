//! What the table knows of a dataset.

use std::path::Path;

use crate::dataset::Rows;
use crate::published::Published;
use crate::{DataError, ImageShape, Split};

/// What stands after the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No colon: the data is built in.
    BuiltIn,
    /// A folder.
    Folder,
    /// A single file.
    File,
}

/// How data sets without a reader of their own are read.
const OTHERS: &str =
    "it has no reader of its own: `parquet:FOLDER` reads Hugging Face's Parquet files, `npz:FILE` arrays";

/// One known dataset.
#[derive(Debug)]
pub struct DatasetRow {
    /// The name before the colon.
    pub name: &'static str,
    /// What stands after the colon.
    pub place: Place,
    /// The form as written in help: `cifar10:FOLDER`.
    pub form: &'static str,
    /// The forms on disk, in a line.
    pub about: &'static str,
    /// Name of the augmentation for runs that name none.
    pub augment: &'static str,
    /// The size of every image, where the dataset has one by definition.
    pub shape: Option<ImageShape>,
    /// The classes, where the dataset has them by definition; names in the files win over these.
    pub class_names: &'static [&'static str],
    /// What is known of it as it was published.
    pub(crate) published: Option<&'static Published>,
    /// Reads a split from the place: decoded pixels, every label checked.
    pub(crate) read: fn(&Path, Split) -> Result<Rows, DataError>,
}

impl names::Row for DatasetRow {
    const WHAT: &'static str = "dataset";

    fn name(&self) -> &'static str {
        self.name
    }

    fn form(&self) -> &'static str {
        self.form
    }

    fn summary(&self) -> &'static str {
        self.about
    }

    const ALIASES: &'static [(&'static str, &'static str)] =
        &[("cifar-10", "cifar10"), ("cifar-100", "cifar100"), ("digits", "sample"), ("hf", "parquet")];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("cifar", "say which: `cifar10:FOLDER` or `cifar100:FOLDER`"),
        ("svhn", OTHERS),
        ("imagenet", OTHERS),
        ("tiny-imagenet", OTHERS),
        ("tinyimagenet", OTHERS),
        ("fashion-mnist", OTHERS),
        ("fashionmnist", OTHERS),
        ("stl10", OTHERS),
    ];
}
