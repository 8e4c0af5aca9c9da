//! `mnist:FOLDER`: MNIST as idx files, gzipped or not, or as Parquet.

use crate::dataset::Rows;
use crate::folder::{all_or_none, nothing, roots};
use crate::kept::Kept;
use crate::published::Published;
use crate::read::{idx, parquet};
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, ImageShape, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "mnist",
    place: Place::Folder,
    form: "mnist:FOLDER",
    about: "idx or idx.gz files, or Hugging Face Parquet",
    augment: "crop2",
    shape: Some(ImageShape::new(28, 28, 1)),
    class_names: &DIGITS,
    number: Number::None,
    published: Some(&PUBLISHED),
    kept: Some(&KEPT),
    read,
};

static KEPT: Kept = Kept { folders: &["mnist", "MNIST"], hub: "ylecun/mnist" };

/// The prints are those of what NumPy reads of the original idx files.
static PUBLISHED: Published = Published {
    name: "MNIST",
    images: [60_000, 10_000],
    prints: Some([0x63ecaa4d81b267e3e97b5c544d402478, 0x97cdf6e14951127b7a8a08762ab0af9b]),
};

/// The classes, in the order of the labels.
pub(super) static DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const FOLDERS: [&str; 4] = ["raw", "MNIST/raw", "data", "mnist"];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path: folder, split, .. } = asked;
    let stem = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    for root in roots(folder, &FOLDERS)? {
        // The original server wrote a dash, older copies and browsers a dot.
        for dot in ['-', '.'] {
            for end in ["", ".gz"] {
                let wanted = [
                    format!("{stem}-images{dot}idx3-ubyte{end}"),
                    format!("{stem}-labels{dot}idx1-ubyte{end}"),
                ];
                if let Some(paths) = all_or_none(&root, &wanted)? {
                    return idx::read(&paths[0], &paths[1], DIGITS.len(), root);
                }
            }
        }
        if let Some(rows) = parquet::read_split(&root, split, Some(DIGITS.len()), None)? {
            return Ok(rows);
        }
    }
    let idx = format!("{stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte, plain or .gz");
    let looked_for = format!("{idx}; {}", parquet::file_names(split));
    Err(nothing(folder, "mnist", split, &looked_for, &FOLDERS))
}
