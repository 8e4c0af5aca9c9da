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

fn read(folder: &Path, split: Split) -> Result<Rows, DataError> {
    for root in roots(folder, &["data"])? {
        if let Some(rows) = parquet::read_split(&root, split, None)? {
            return Ok(rows);
        }
    }
    Err(nothing(folder, "parquet", split, &parquet::file_names(split), &["data"]))
}
