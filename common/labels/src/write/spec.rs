//! What a label set is to be: everything that decides its bytes, but the logits.

use std::num::NonZeroU32;

use crate::error::{Error, Result};
use crate::folder::parameters::Parameters;
use crate::folder::records::{DatasetRecord, Parent};
use crate::folder::teacher::Teacher;
use crate::row::augment::Augment;
use crate::row::coding::Coding;
use crate::row::dataset::Dataset;
use crate::row::dtype::{Dtype, Form};
use crate::row::features::Features;
use crate::row::table::RowTable;
use crate::row::views::Views;

/// A shard of this size is quick to write again and large enough to read fast.
const SHARD_BYTES: usize = 64 << 20;

/// Images per shard where nobody says otherwise: about 64 MiB of rows, each of which has so many bytes of logits and feature
/// maps. A pure function of its arguments.
pub fn default_shard_images(rows_per_image: usize, row_bytes: usize) -> usize {
    let row = row_bytes.saturating_add(2);
    // Per image: an offset, a label and a hash.
    let image = rows_per_image.saturating_mul(row).saturating_add(28);
    (SHARD_BYTES / image).max(1)
}

/// Everything that decides the bytes of a label set, but the logits. Begin with [`Spec::new`] and set what is to differ.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Spec {
    /// The images, in file order.
    pub dataset: Dataset,
    /// The augmentation.
    pub augment: Augment,
    /// How the rows were chosen; recorded, and checked against `rows`.
    pub views: Views,
    /// The views of each image.
    pub rows: RowTable,
    /// Stored type of the logits.
    pub dtype: Dtype,
    /// N, where the N largest logits of each row are stored alone.
    pub top_k: Option<NonZeroU32>,
    /// The feature maps that each answer has behind its logits; none for logits alone.
    pub features: Option<Features>,
    /// Which files to write.
    pub form: Form,
    /// Images per shard; where none, as many as the label set was begun with, and [`default_shard_images`] in a new one.
    pub shard_images: Option<usize>,
    /// Who answers.
    pub teacher: Teacher,
    /// The commit that was built of what answers, where it is known.
    pub build: Option<String>,
    /// Go on with rows that another engine, device or build answered; the manifest then says which rows are whose.
    pub any_engine: bool,
    /// The label sets that answers are taken over from; none where the teacher is asked for all.
    pub parents: Vec<Parent>,
    /// Licence of the label set; may be empty.
    pub license: String,
    /// Author of the label set; may be empty.
    pub author: String,
}

impl Spec {
    /// A label set of these rows in f16, in every form that this build can write, of default shards, without licence and author.
    ///
    /// `rows` must be what `views` says of the dataset's images under `augment`; [`Session::open`](crate::Session::open)
    /// refuses others.
    pub fn new(dataset: Dataset, augment: Augment, views: Views, rows: RowTable, teacher: Teacher) -> Spec {
        Spec {
            dataset,
            augment,
            views,
            rows,
            dtype: Dtype::F16,
            top_k: None,
            features: None,
            form: Form::FULLEST,
            shard_images: None,
            teacher,
            build: None,
            any_engine: false,
            parents: Vec::new(),
            license: String::new(),
            author: String::new(),
        }
    }

    /// Images per shard of this label set.
    pub fn shard_images(&self) -> usize {
        let row = self.coding().weight();
        self.shard_images.unwrap_or_else(|| default_shard_images(self.rows.rows_per_image(), row))
    }

    /// How a row's answer is kept.
    pub fn coding(&self) -> Coding {
        Coding::new(self.dataset.classes, self.dtype, self.top_k, self.features.as_ref())
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.form.require_compiled(|| format!("format `{}`", self.form))?;
        self.dataset.validate()?;
        if !self.augment.ids_fit() {
            return Err(Error::unusable(
                "padding of the augmentation",
                "ids that fit in 16 bits",
                self.augment,
            ));
        }
        if self.rows.images() != self.dataset.len() {
            return Err(Error::unusable(
                "images in the list of views",
                self.dataset.len(),
                self.rows.images(),
            ));
        }
        if self.shard_images == Some(0) {
            return Err(Error::unusable("images per shard", "at least 1", 0));
        }
        let of_maps = || self.features.as_ref().and_then(|all| all.problem(self.dtype));
        if let Some([what, wanted, found]) = self.coding().problem().or_else(of_maps) {
            return Err(Error::unusable(what, wanted, found));
        }
        self.rows.validate(self.augment, self.views)
    }

    pub(crate) fn parameters(&self, shard_images: usize) -> Parameters {
        Parameters {
            dataset: DatasetRecord::of(&self.dataset),
            augment: self.augment,
            views: self.views,
            rows: self.rows.len() as u64,
            list_of_views: Some(self.rows.hash()),
            build: self.build.clone(),
            dtype: self.dtype,
            top_k: self.top_k,
            features: self.features.clone(),
            form: self.form,
            shard_images: shard_images as u64,
            teacher: self.teacher.clone(),
            parents: self.parents.clone(),
            license: self.license.clone(),
            author: self.author.clone(),
        }
    }
}
