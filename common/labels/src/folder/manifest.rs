//! `manifest.json`: what the label set is, and every file that belongs to it. Its presence is the commit.

use std::collections::HashSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::folder::answered::{self, Answered, Answerer};
use crate::folder::records::{DatasetRecord, FileRecord, Parent, RightAnswers, Robust};
use crate::folder::teacher::Teacher;
use crate::row::augment::Augment;
use crate::row::coding::Coding;
use crate::row::digest::Hex;
use crate::row::dtype::{Dtype, Form};
use crate::row::features::Features;
use crate::row::lost::Lost;
use crate::row::views::Views;
use crate::shard::layout::Layout;

/// The manifest of a label set. Its JSON has these keys in this order, no floats, and nothing about when or where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `rslad-labels`.
    pub format: String,
    /// 1; 2 where the set has feature maps; 3 where not every logit is stored as a float.
    pub format_version: u32,
    /// BLAKE3 of the file's own bytes with these 64 digits as zeros.
    pub id: Hex,
    /// BLAKE3 over the rows, the same for both forms and for shards of any size: of `rslad-labels-1`, dtype, K, then the BLAKE3 of
    /// image, view, label and logits of the rows of each 1,024 images; with feature maps `rslad-labels-2`, and they are hashed, too;
    /// `rslad-labels-3` and N where not every logit is stored as a float, with all that is stored of a row.
    pub content_hash: Hex,
    /// The labelled images.
    pub dataset: DatasetRecord,
    /// The augmentation whose views are labelled.
    pub augment: Augment,
    /// Which views of each image are there.
    pub views: Views,
    /// Number of rows.
    pub rows: u64,
    /// Stored type of the logits.
    pub dtype: Dtype,
    /// N, where the N largest logits of a row are stored alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<NonZeroU32>,
    /// The feature maps of each row; none where the set holds logits alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Which files hold the rows.
    pub form: Form,
    /// Images of every shard but the last, which may have fewer.
    pub shard_images: u64,
    /// Who answered. Engine and device are those that answered the first row.
    pub teacher: Teacher,
    /// Which rows were answered by which engine, device and build; none where one answered all. Rows that were taken over count as
    /// those of whoever took them over; where nobody was asked, as those of whoever answered them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "answered::some")]
    pub answered: Vec<Answered>,
    /// The label sets whose answers it took over, each with its own before it; none where the teacher was asked for every row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// How often the teacher is right on these rows.
    pub right: RightAnswers,
    /// What is lost where not every logit is stored as a float, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// How often it is right under attack; none where nobody measured that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robust: Option<Robust>,
    /// Licence of the label set, as its author wrote it.
    pub license: String,
    /// Author of the label set.
    pub author: String,
    /// Every file but the manifest and SHA256SUMS: card, Parquet shards, safetensors shards.
    pub files: Vec<FileRecord>,
}

impl Manifest {
    /// Number of shards of each form.
    pub fn shards(&self) -> usize {
        self.dataset.images.div_ceil(self.shard_images) as usize
    }

    /// Who answered how many rows.
    pub fn answerers(&self) -> Vec<(Answerer, u64)> {
        let all = || vec![(Answerer::new(&self.teacher, None), self.rows)];
        let totals = answered::totals(&self.answered);
        if totals.is_empty() {
            all()
        } else {
            totals.into_iter().map(|(by, rows)| (by.clone(), rows)).collect()
        }
    }

    /// Engine and device of each parent that are none of those who answered here: rows that were taken over may be theirs.
    pub fn elsewhere(&self) -> Vec<Answerer> {
        let mut known: HashSet<(String, String)> =
            self.answerers().into_iter().map(|(by, _)| (by.engine, by.device)).collect();
        let others =
            self.parents.iter().filter(|other| known.insert((other.engine.clone(), other.device.clone())));
        let named = |Parent { engine, device, .. }: &Parent| Answerer {
            engine: engine.clone(),
            device: device.clone(),
            build: None,
        };
        others.map(named).collect()
    }

    /// What computed the rows, as people read it.
    pub fn computed_by(&self) -> String {
        let Teacher { engine, precision, device, .. } = &self.teacher;
        let mut said = if self.answered.is_empty() {
            format!("{engine}, {precision}, {device}")
        } else {
            let each = self.answerers().into_iter().map(|(by, rows)| format!("{rows} rows by {by}"));
            format!("{precision}: {}", each.collect::<Vec<_>>().join("; "))
        };
        let elsewhere: Vec<String> = self.elsewhere().iter().map(ToString::to_string).collect();
        if !elsewhere.is_empty() {
            said += "; rows were taken over, and the parents name also ";
            said += &elsewhere.join("; ");
        }
        said
    }

    /// Who answered the rows of a shard.
    pub(crate) fn answerers_of(&self, shard: usize) -> Vec<Answerer> {
        if self.answered.is_empty() {
            return vec![Answerer::new(&self.teacher, None)];
        }
        let shards = &self.files[1..=self.shards()];
        let rows = |files: &[FileRecord]| files.iter().filter_map(|file| file.rows).sum::<u64>();
        let (start, end) = (rows(&shards[..shard]), rows(&shards[..=shard]));
        let here = self.answered.iter().filter(|one| one.rows[0] < end && one.rows[1] > start).cloned();
        answered::totals(&here.collect::<Vec<_>>()).into_iter().map(|(by, _)| by.clone()).collect()
    }

    /// How a row's answer is kept.
    pub fn coding(&self) -> Coding {
        Coding::new(self.dataset.classes, self.dtype, self.top_k, self.features.as_ref())
    }

    /// The card's record.
    pub(crate) fn card(&self) -> &FileRecord {
        &self.files[0]
    }

    /// The records of the Parquet shards, none where there are none.
    pub(crate) fn parquet_files(&self) -> &[FileRecord] {
        let shards = if self.form.has_parquet() { self.shards() } else { 0 };
        &self.files[1..=shards]
    }

    /// The records of the safetensors shards, none where there are none.
    pub(crate) fn safetensors_files(&self) -> &[FileRecord] {
        &self.files[1 + self.parquet_files().len()..]
    }

    /// First image and layout of a shard's record.
    pub(crate) fn layout(&self, record: &FileRecord) -> (u64, Layout) {
        let [first, end] = record.images.expect("validated: shards have images");
        let rows = record.rows.expect("validated: shards have rows") as usize;
        let sizes = [(end - first) as usize, rows];
        (first, Layout::new(sizes, self.coding()))
    }
}
