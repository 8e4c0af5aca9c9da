//! What can be wrong with a dataset: one variant per kind of trouble, each naming the file and, where there is one, the row.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};

use crate::{ImageShape, Split};

/// Why a dataset could not be named, found or read. Rows count from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum DataError {
    #[error(transparent)]
    UnknownDataset(#[from] names::Unknown),
    /// A place, and no name before it.
    #[error(
        "dataset `{text}`: a path alone does not say what it holds\nhint: put a name before it, as in `cifar10:{text}`; known: {known}"
    )]
    Nameless { text: String, known: String },
    /// A known name with a wrong or missing place.
    #[error("dataset `{text}`: wanted `{wanted}`, found {found}\nhint: {hint}")]
    BadSpec { text: String, wanted: &'static str, found: &'static str, hint: &'static str },
    /// The word is neither `train` nor `test`.
    #[error(
        "split `{0}`: wanted train or test\nhint: a third part is a folder of its own, read as one of the two, as in `--data parquet:FOLDER --split test`; `distill train --holdout N` holds training images out"
    )]
    UnknownSplit(String),
    /// The folder or file is not there, or is the other of the two.
    #[error("{}: wanted a {wanted}, found {found}\nhint: {}", path.display(), where_it_lies(path, found))]
    WrongPlace { path: PathBuf, wanted: &'static str, found: &'static str },
    /// The folder holds none of the forms that are known for this dataset.
    #[error("{}: no {split} part of {dataset}; looked for {looked_for}\nhint: the folder holds {found}", folder.display())]
    NothingFound { folder: PathBuf, dataset: &'static str, split: Split, looked_for: String, found: String },
    /// A name without a place, and it lies in none of the places where people keep it.
    #[error(
        "{dataset}: looked for {folders} in: {shelves}; found none\nhint: `hf download {hub} --repo-type dataset --local-dir {dataset}` puts it here; or say where it lies, as in `{dataset}:FOLDER`"
    )]
    NotKept { dataset: &'static str, folders: String, shelves: String, hub: &'static str },
    /// Some files of a form are there and others are not.
    #[error("{}: part {missing} is missing, though {found} is there\nhint: unpack or download the dataset again", folder.display())]
    MissingPart { folder: PathBuf, missing: String, found: String },
    /// Files that hold the whole part stand beside others that do, too.
    #[error("{}: wanted one set of files for the {split} part, found {found} beside {other}\nhint: the part would be read twice; move one of them away", folder.display())]
    TwoSets { folder: PathBuf, split: Split, found: String, other: String },
    /// The second half of the part is the first half again.
    #[error("{}: wanted {half} images, found the same {half} images and labels twice\nhint: the part lies there in two copies; move one away", path.display())]
    Doubled { path: PathBuf, half: usize },
    /// The operating system failed.
    #[error("{}: {source}\nhint: check that the file is readable and the disk is well", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The file does not begin as its form begins.
    #[error("{}: wanted {wanted} at the start, found {found}\nhint: it is another kind of file under this name, or a failed download", path.display())]
    WrongMagic { path: PathBuf, wanted: &'static str, found: String },
    /// The file is shorter or longer than its header or its form says.
    #[error("{}: wanted {wanted} bytes, found {found}\nhint: it was cut short or damaged; download it again", path.display())]
    WrongLength { path: PathBuf, wanted: String, found: String },
    /// The container cannot be taken apart.
    #[error("{}: not readable as {form}: {reason}\nhint: it was cut short or damaged; download it again", path.display())]
    Damaged { path: PathBuf, form: &'static str, reason: String },
    /// A column or array is missing or has a type that cannot hold what is wanted.
    #[error("{}: wanted {wanted}, found {found}\nhint: {hint}", path.display())]
    WrongContent { path: PathBuf, wanted: String, found: String, hint: &'static str },
    /// A row has no image or no label.
    #[error("{}: row {row}: wanted a value in `{column}`, found null\nhint: store every image's bytes and label in the file", path.display())]
    NullValue { path: PathBuf, row: usize, column: String },
    /// An encoded image cannot be decoded.
    #[error(
        "{spot}: wanted an 8-bit grey or RGB PNG or JPEG, found {found}\nhint: convert or leave out this image"
    )]
    BrokenImage { spot: Spot, found: String },
    /// An image has another size than those before it.
    #[error(
        "{spot}: wanted an image of {wanted}, found {found}\nhint: images of several sizes need one to be brought to, as in `imagefolder:DIR@32` or --size 32; the whole image is squeezed to a square"
    )]
    MixedSizes { spot: Spot, wanted: ImageShape, found: ImageShape },
    /// An image has another size than the dataset's.
    #[error("{}: row {row}: wanted an image of {wanted}, found {found}\nhint: all images of a dataset have one size; resize them, or name the right dataset", path.display())]
    WrongShape { path: PathBuf, row: usize, wanted: ImageShape, found: ImageShape },
    /// A label is negative or not below the number of classes.
    #[error("{}: row {row}: wanted a label in 0..{classes}, found {label}\nhint: the file belongs to another dataset, or its labels are hidden", path.display())]
    WrongLabel { path: PathBuf, row: usize, label: i64, classes: usize },
    /// The dataset has another number of classes than its name says.
    #[error("{}: wanted the {wanted} classes of {dataset}, found {found}\nhint: name the right dataset, or read it as `parquet:`", path.display())]
    WrongClasses { path: PathBuf, dataset: &'static str, wanted: usize, found: usize },
    /// Two files number the same classes differently.
    #[error("{}: class {class} is `{found}`, in {other} it is `{wanted}`\nhint: a label means another class in each; bring the labels to one order of class names", path.display())]
    ClassesDiffer { path: PathBuf, other: String, class: usize, wanted: String, found: String },
    /// There are more images than labels, or fewer.
    #[error("{}: wanted one label per image, found {images} images and {labels} labels\nhint: the files belong to different parts of the dataset", path.display())]
    CountsDiffer { path: PathBuf, images: usize, labels: usize },
    /// The pixels do not fit in memory.
    #[error("{}: wanted memory for {bytes} bytes of pixels, found less\nhint: resize the images, or read fewer of them from a folder of their own", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    /// The split has no rows.
    #[error("{}: wanted images in the {split} part, found none\nhint: choose the other split, or download the dataset again", path.display())]
    EmptySplit { path: PathBuf, split: Split },
}

/// Where an image lies: in a file of its own, or in a row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The file.
    pub path: PathBuf,
    /// The row in it, from 0, where it holds several.
    pub row: Option<usize>,
}

impl Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.row.map_or(Ok(()), |row| write!(f, ": row {row}"))
    }
}

impl DataError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// The error of a file that is of another form: by its name where that is recognised, never "damaged".
    pub(crate) fn other_form(path: &Path, wanted: &str, head: &[u8], hint: &'static str) -> Self {
        let kind = weights::kind_of(head);
        let found = kind.map_or_else(
            || format!("bytes that begin {:02x?}", &head[..head.len().min(8)]),
            |kind| kind.name.to_owned(),
        );
        let hint = kind.and_then(|kind| kind.hint).unwrap_or(hint);
        Self::WrongContent { path: path.to_owned(), wanted: wanted.to_owned(), found, hint }
    }

    pub(crate) fn damaged(path: &Path, form: &'static str, reason: &dyn Display) -> Self {
        Self::Damaged { path: path.to_owned(), form, reason: reason.to_string() }
    }
}

fn where_it_lies(path: &Path, found: &str) -> String {
    match found {
        "a file" => return "name the folder that holds it; unpack it first if it is an archive".to_owned(),
        "a folder" => return "name a file in it".to_owned(),
        _ => {}
    }
    match std::env::current_dir() {
        Ok(folder) if path.is_relative() => {
            format!("check the path; it was looked for in {}", folder.display())
        }
        _ => "check the path".to_owned(),
    }
}
