//! What a manifest records of the dataset, of its files, and of the teacher's answers.

use serde::{Deserialize, Serialize};

use crate::row::dataset::Dataset;
use crate::row::digest::Hex;
use crate::row::views::Views;

/// The labelled dataset. The hash identifies it; names only inform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRecord {
    /// Name, like `cifar10`.
    pub name: String,
    /// Split, like `train`.
    pub split: String,
    /// [`Dataset::hash`] over image hashes and labels.
    pub hash: Hex,
    /// Number of images.
    pub images: u64,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// Channels.
    pub channels: u32,
    /// Number of classes K.
    pub classes: usize,
    /// Name of each class, or none.
    pub class_names: Vec<String>,
}

/// How often the teacher is right under attack, where that was measured: on images as they are, not on the labelled views.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Robust {
    /// The attack or suite, like `autoattack`.
    pub attack: String,
    /// How it measures distance: `linf` or `l2`.
    pub norm: String,
    /// Radius of the ball, as written.
    pub eps: String,
    /// What keys its randomness.
    pub seed: u64,
    /// Part of the data set that the images are the first of.
    pub split: String,
    /// Images judged.
    pub images: u64,
    /// Those right without attack.
    pub clean: u64,
    /// Those right under it.
    pub right: u64,
}

/// A label set that answers were taken over from: its rows are those of these views of so many first images.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Its content hash.
    pub content_hash: Hex,
    /// Its images.
    pub images: u64,
    /// Their views.
    pub views: Views,
    /// Engine and build that answered to those of its rows that it took over from none.
    pub engine: String,
    /// Kind of device that ran it.
    pub device: String,
}

/// How often the teacher's largest logit is that of the label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightAnswers {
    /// Rows.
    pub rows: u64,
    /// Rows answered right.
    pub right: u64,
    /// The same for each class.
    pub per_class: Vec<ClassCount>,
}

/// Rows of one class and how many of them are answered right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCount {
    /// Rows whose label is this class.
    pub rows: u64,
    /// Those answered right.
    pub right: u64,
}

/// One file of a label set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// Rows of a shard; none for the card.
    pub rows: Option<u64>,
    /// First image of a shard and the one after its last; none for the card.
    pub images: Option<[u64; 2]>,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Hex,
    /// SHA-256 of the bytes that were written: the file's line in SHA256SUMS. A reader goes by the other.
    pub sha256: Hex,
}

impl DatasetRecord {
    pub(crate) fn of(dataset: &Dataset) -> DatasetRecord {
        let [height, width, channels] = dataset.shape;
        DatasetRecord {
            name: dataset.name.clone(),
            split: dataset.split.clone(),
            hash: dataset.hash(),
            images: dataset.len() as u64,
            height,
            width,
            channels,
            classes: dataset.classes,
            class_names: dataset.class_names.clone(),
        }
    }
}

impl RightAnswers {
    /// No rows of K classes yet.
    pub fn none(classes: usize) -> RightAnswers {
        RightAnswers { rows: 0, right: 0, per_class: vec![ClassCount::default(); classes] }
    }

    /// Counts one row. Panics unless the label is a class.
    pub fn add(&mut self, label: i32, answer: usize) {
        let class = label as usize;
        let right = u64::from(class == answer);
        self.rows += 1;
        self.right += right;
        self.per_class[class].rows += 1;
        self.per_class[class].right += right;
    }

    /// Adds the counts of other rows of as many classes.
    pub(crate) fn add_all(&mut self, other: &RightAnswers) {
        self.rows += other.rows;
        self.right += other.right;
        for (class, other) in self.per_class.iter_mut().zip(&other.per_class) {
            class.rows += other.rows;
            class.right += other.right;
        }
    }
}
