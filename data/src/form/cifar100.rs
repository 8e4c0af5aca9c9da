//! `cifar100:FOLDER`: CIFAR-100 with its fine labels, in the forms that people have it in.

use super::cifar::{self, Batches};
use crate::DataError;
use crate::dataset::Rows;
use crate::kept::Kept;
use crate::published::Published;
use crate::row::{Asked, DatasetRow, Number, Place};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "cifar100",
    place: Place::Folder,
    form: "cifar100:FOLDER",
    about: "the same forms, with fine labels",
    augment: "crop4+flip",
    shape: Some(cifar::SHAPE),
    class_names: &CLASS_NAMES,
    number: Number::None,
    published: Some(&PUBLISHED),
    kept: Some(&KEPT),
    read,
};

static KEPT: Kept = Kept {
    folders: &["cifar100", "cifar-100-python", "cifar-100-binary", "cifar-100-python-target"],
    hub: "uoft-cs/cifar100",
};

static PUBLISHED: Published = Published { name: "CIFAR-100", images: [50_000, 10_000], prints: None };

/// CIFAR-100's fine classes, as in its `meta`.
#[rustfmt::skip]
static CLASS_NAMES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let stems = vec![asked.split.name().to_owned()];
    let batches = Batches {
        dataset: "cifar100",
        folders: ["data", "cifar100", "cifar-100-binary", "cifar-100-python"],
        stems,
        label_bytes: 2,
        label_key: "fine_labels",
        classes: CLASS_NAMES.len(),
    };
    cifar::read(asked.path, asked.split, &batches)
}
