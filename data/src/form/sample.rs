//! `sample`: MNIST digits that are part of the program.

use std::path::Path;

use bytes::Bytes;

use super::mnist::DIGITS;
use crate::dataset::Rows;
use crate::read::parquet;
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, ImageShape, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "sample",
    place: Place::BuiltIn,
    form: "sample",
    about: "10,000 MNIST digits that are built in: 9,000 train, 1,000 test",
    augment: "crop2",
    shape: Some(ImageShape::new(28, 28, 1)),
    class_names: &DIGITS,
    number: Number::None,
    published: None,
    kept: None,
    read,
};

static TRAIN: &[u8] = include_bytes!("../../samples/train.parquet");
static TEST: &[u8] = include_bytes!("../../samples/test.parquet");

fn read(asked: Asked) -> Result<Rows, DataError> {
    let (file, name) = match asked.split {
        Split::Train => (TRAIN, "sample/train.parquet"),
        Split::Test => (TEST, "sample/test.parquet"),
    };
    parquet::read_bytes(Bytes::from_static(file), Path::new(name), DIGITS.len())
}
