//! `parquet:FOLDER`: any images and labels in Parquet files, as the Hugging Face hub serves them.

use std::path::Path;

use crate::dataset::Rows;
use crate::folder::{nothing, roots};
use crate::read::parquet;
use crate::row::{DatasetRow, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "parquet",
    place: Place::Folder,
    form: "parquet:FOLDER",
    about: "train-*.parquet and test-*.parquet with `img` or `image`, and `label`",
    augment: "none",
    shape: None,
    class_names: &[],
    published: None,
    read,
};

/// Where repositories of the hub keep their files, and where its converted branches do.
const FOLDERS: [&str; 2] = ["data", "default"];

fn read(folder: &Path, split: Split) -> Result<Rows, DataError> {
    for root in roots(folder, &FOLDERS)? {
        if let Some(rows) = parquet::read_split(&root, split, None)? {
            return Ok(rows);
        }
    }
    Err(nothing(folder, "parquet", split, &parquet::file_names(split), &FOLDERS))
}
