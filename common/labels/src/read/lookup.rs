//! Reading an open label set: rows by (image, view).

use std::path::{Path, PathBuf};

use crate::folder::answered::Answerer;
use crate::folder::manifest::Manifest;
use crate::read::note::Note;
use crate::row::dataset::ImageHash;
use crate::row::digest::Hex;
use crate::row::dtype::Stored;
use crate::row::logits::Logits;
use crate::shard::answer::AnswerRow;
use crate::shard::content::ContentHasher;
use crate::shard::rows::Shard;

/// A published label set, checked and open. Lookups take no lock and allocate nothing.
pub struct LabelSet {
    dir: PathBuf,
    manifest: Manifest,
    shards: Vec<Shard>,
    notes: Vec<Note>,
    shard_images: usize,
    images: usize,
    /// Views of the augmentation: an image with this many rows has them all, and a view's id is its place.
    views: usize,
    /// Rows before each shard.
    before: Vec<u64>,
    /// Who answered all rows, where one did.
    alone: Answerer,
}

/// One row: what the teacher answers to a view of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Number of the image.
    pub image: usize,
    /// Id of the view.
    pub view: u16,
    /// Label of the image.
    pub label: i32,
    /// The K logits.
    pub logits: Logits<'a>,
}

impl LabelSet {
    /// Shards in order, validated against the manifest.
    pub(crate) fn new(dir: &Path, manifest: Manifest, shards: Vec<Shard>, notes: Vec<Note>) -> LabelSet {
        LabelSet {
            dir: dir.into(),
            shard_images: manifest.shard_images.min(manifest.dataset.images) as usize,
            images: manifest.dataset.images as usize,
            views: manifest.augment.views() as usize,
            before: shards
                .iter()
                .scan(0, |sum, shard| Some(std::mem::replace(sum, *sum + shard.layout.rows as u64)))
                .collect(),
            alone: Answerer::new(&manifest.teacher, None),
            manifest,
            shards,
            notes,
        }
    }

    /// The folder it was opened from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the label set is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is other than it was written and no reason to refuse: for the person who opened it.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The hash of the rows, computed from them: [`Manifest::content_hash`], which opening the set did not look at.
    pub fn content_hash(&self) -> Hex {
        let mut hasher = ContentHasher::new(self.manifest.coding(), self.manifest.features.as_ref());
        for shard in &self.shards {
            hasher.add(shard);
        }
        hasher.finish()
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Number of classes K.
    pub fn classes(&self) -> usize {
        self.manifest.dataset.classes
    }

    /// Logits of one view of an image; `None` where the set does not hold that row. A read of one cache line or two.
    #[inline]
    pub fn logits(&self, image: usize, view: u16) -> Option<Logits<'_>> {
        let (shard, row) = self.row(image, view)?;
        Some(shard.logits(row))
    }

    /// The F values of the feature maps of one view of an image, which [`Features`](crate::Features) takes apart; `None`
    /// where the set does not hold that row, or holds no maps.
    pub fn features(&self, image: usize, view: u16) -> Option<Stored<'_>> {
        let (shard, row) = self.row(image, view)?;
        self.manifest.features.is_some().then(|| shard.features(row..row + 1))
    }

    /// What is stored of the answer to one view of an image.
    pub(crate) fn stored(&self, image: usize, view: u16) -> Option<AnswerRow<'_>> {
        self.row(image, view).map(|(shard, row)| shard.answer(row))
    }

    /// Who answered to one view of an image, as far as the manifest says; `None` where the set does not hold that row.
    pub fn answerer(&self, image: usize, view: u16) -> Option<&Answerer> {
        let (_, row) = self.row(image, view)?;
        let place = self.before[image / self.shard_images] + row as u64;
        let answered = &self.manifest.answered;
        let range = answered.get(answered.partition_point(|one| one.rows[1] <= place));
        Some(range.map_or(&self.alone, |one| &one.by))
    }

    #[inline]
    fn row(&self, image: usize, view: u16) -> Option<(&Shard, usize)> {
        if image >= self.images {
            return None;
        }
        let (shard, index) = self.find(image);
        let offsets = &shard.offsets()[index..index + 2];
        let (start, end) = (offsets[0] as usize, offsets[1] as usize);
        let row = if end - start == self.views {
            (usize::from(view) < self.views).then_some(start + usize::from(view))
        } else {
            shard.views()[start..end].binary_search(&view).ok().map(|place| start + place)
        }?;
        Some((shard, row))
    }

    /// Writes the K logits of a row into `out` as f32, whatever is stored of them; `false`, with `out` as it was, where the set does not hold the row.
    ///
    /// Panics unless `out` has K values.
    #[inline]
    pub fn read(&self, image: usize, view: u16, out: &mut [f32]) -> bool {
        match self.logits(image, view) {
            Some(logits) => {
                logits.copy_to(out);
                true
            }
            None => false,
        }
    }

    /// The ids of the views that the set holds of an image, ascending. Panics at or beyond [`LabelSet::images`].
    pub fn views_of(&self, image: usize) -> &[u16] {
        let (shard, index) = self.find(image);
        let offsets = shard.offsets();
        &shard.views()[offsets[index] as usize..offsets[index + 1] as usize]
    }

    /// Label of an image. Panics at or beyond [`LabelSet::images`].
    pub fn label(&self, image: usize) -> i32 {
        let (shard, index) = self.find(image);
        shard.labels()[index]
    }

    /// Hash of an image. Panics at or beyond [`LabelSet::images`].
    pub fn image_hash(&self, image: usize) -> ImageHash {
        let (shard, index) = self.find(image);
        shard.hashes()[index]
    }

    /// Every row, by image, then view.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.shards.iter().flat_map(|shard| {
            shard.rows().map(|(row, image, view, label)| Row {
                image: image as usize,
                view,
                label,
                logits: shard.logits(row),
            })
        })
    }

    #[inline]
    fn find(&self, image: usize) -> (&Shard, usize) {
        (&self.shards[image / self.shard_images], image % self.shard_images)
    }
}
