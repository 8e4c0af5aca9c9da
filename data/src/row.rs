//! What the table knows of a dataset.

use std::path::Path;

use crate::dataset::Rows;
use crate::kept::Kept;
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

/// What a number behind the place means, as in `imagefolder:DIR@32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// None is taken: images come in the size that they have.
    None,
    /// Height and width to bring every image to; it may be left out where all images have one size.
    Side,
    /// The severity of a corruption, 1 to 5; all of them where it is left out.
    Severity,
}

impl Number {
    /// The largest it may be; the least is 1.
    pub(crate) fn most(self) -> usize {
        match self {
            Self::None => 0,
            Self::Side => 1024,
            Self::Severity => 5,
        }
    }
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The folder or file.
    pub path: &'a Path,
    pub split: Split,
    /// The number behind the place.
    pub number: Option<usize>,
}

/// How data sets without a reader of their own are read.
const OTHERS: &str = "it has no reader of its own: `imagefolder:DIR@N` reads a folder of images per class, `parquet:FOLDER` Hugging Face's Parquet files, `npz:FILE` arrays";

/// How SVHN is read.
const SVHN: &str = "`parquet:FOLDER` reads the folder cropped_digits of the hub's ufldl-stanford/svhn, `npz:FILE` arrays; what makes them of train_32x32.mat is said to `npz:train_32x32.mat`";

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
    /// What a number behind the place means.
    pub number: Number,
    /// What is known of it as it was published.
    pub(crate) published: Option<&'static Published>,
    /// Where people keep it, for its name alone.
    pub(crate) kept: Option<&'static Kept>,
    /// Reads a split from the place: decoded pixels, every label checked.
    pub(crate) read: fn(Asked) -> Result<Rows, DataError>,
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

    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("cifar-10", "cifar10"),
        ("cifar-100", "cifar100"),
        ("cifar-10.1", "cifar10.1"),
        ("cifar-10-c", "cifar10-c"),
        ("cifar10c", "cifar10-c"),
        ("image-folder", "imagefolder"),
        ("tinyimagenet", "tiny-imagenet"),
        ("tiny-imagenet-200", "tiny-imagenet"),
        ("digits", "sample"),
        ("hf", "parquet"),
    ];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("cifar", "say which: `cifar10:FOLDER` or `cifar100:FOLDER`"),
        ("svhn", SVHN),
        ("imagenet", OTHERS),
        ("fashion-mnist", OTHERS),
        ("fashionmnist", OTHERS),
        ("stl10", OTHERS),
    ];
}
