//! `parquet:FOLDER`: any images and labels in Parquet files, as the Hugging Face hub serves them.

use crate::DataError;
use crate::dataset::Rows;
use crate::folder::{nothing, roots};
use crate::read::parquet;
use crate::row::{Asked, DatasetRow, Number, Place};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "parquet",
    place: Place::Folder,
    form: "parquet:FOLDER@N",
    about: "train-*.parquet and test-*.parquet with `img` or `image`, and `label`; brought to N x N",
    augment: "none",
    shape: None,
    class_names: &[],
    number: Number::Side,
    published: None,
    kept: None,
    read,
};

/// Where repositories of the hub keep their files, and where its converted branches do.
const FOLDERS: [&str; 2] = ["data", "default"];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path: folder, split, number } = asked;
    for root in roots(folder, &FOLDERS)? {
        if let Some(rows) = parquet::read_split(&root, split, None, number)? {
            return Ok(rows);
        }
    }
    Err(nothing(folder, "parquet", split, &parquet::file_names(split), &FOLDERS))
}
