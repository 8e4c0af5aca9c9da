//! `cifar10:FOLDER`: CIFAR-10, in the forms that people have it in.

use super::cifar::{self, Batches};
use crate::dataset::Rows;
use crate::kept::Kept;
use crate::published::Published;
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "cifar10",
    place: Place::Folder,
    form: "cifar10:FOLDER",
    about: "binary or python batches, or Hugging Face Parquet",
    augment: "crop4+flip",
    shape: Some(cifar::SHAPE),
    class_names: &CLASS_NAMES,
    number: Number::None,
    published: Some(&PUBLISHED),
    kept: Some(&KEPT),
    read,
};

static KEPT: Kept = Kept {
    folders: &["cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar-10-batches-py-target"],
    hub: "uoft-cs/cifar10",
};

/// The prints are those of what pyarrow and Pillow read of the Parquet files on the hub.
static PUBLISHED: Published = Published {
    name: "CIFAR-10",
    images: [50_000, 10_000],
    prints: Some([0x2658a1c8acc00b1b5c1174710893a136, 0xe01e2ed39f12655d5593d444d189cf6d]),
};

/// CIFAR-10's, as in its `batches.meta`.
pub(super) static CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let stems = match asked.split {
        Split::Train => (1..=5).map(|number| format!("data_batch_{number}")).collect(),
        Split::Test => vec!["test_batch".to_owned()],
    };
    let batches = Batches {
        dataset: "cifar10",
        folders: ["data", "plain_text", "cifar-10-batches-bin", "cifar-10-batches-py"],
        stems,
        label_bytes: 1,
        label_key: "labels",
        classes: CLASS_NAMES.len(),
    };
    cifar::read(asked.path, asked.split, &batches)
}
