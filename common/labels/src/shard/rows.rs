//! One shard in memory or mapped: a contiguous range of images and their rows. Its bytes are those of the safetensors file.

use std::ops::Range;
use std::path::Path;

use bytemuck::{AnyBitPattern, Pod};

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::column::{ANSWERS, Column, FEATURES, IMAGE_HASH, LABEL, LOGITS, OFFSET, TENSORS, VIEW};
use crate::row::dataset::{ImageHash, is_label};
use crate::row::dtype::{Dtype, Stored};
use crate::row::features::Features;
use crate::row::logits::Logits;
use crate::row::table::{problem_with, rows_allowed};
use crate::row::views::Views;
use crate::shard::answer::{self, AnswerRow, Entries};
use crate::shard::layout::Layout;
use crate::shard::safetensors::Sections;
use crate::shard::storage::Storage;

pub(crate) struct Shard {
    storage: Storage,
    sections: Sections,
    /// Bytes of one entry of each tensor.
    sizes: [usize; TENSORS],
    pub layout: Layout,
    pub first_image: u64,
}

impl Shard {
    /// A shard of zeros with its header in place, to be filled through the `_mut` accessors.
    pub fn blank(layout: Layout, first_image: u64) -> Shard {
        let header = layout.header();
        let data = layout.data_len().expect("shards in memory have a size");
        let mut storage = Storage::zeroed(header.len() + data);
        storage.owned_mut()[..header.len()].copy_from_slice(&header);
        Shard { sections: layout.sections(header.len()), sizes: layout.sizes(), storage, layout, first_image }
    }

    /// The same without what the teacher answers, of which it knows the sizes alone.
    pub fn blank_heads(layout: Layout, first_image: u64) -> Shard {
        Shard { layout, ..Shard::blank(layout.heads(), first_image) }
    }

    /// Whether it has the column's entries.
    #[cfg(feature = "parquet")]
    pub fn has(&self, column: &Column) -> bool {
        self.sizes[column.place()] > 0
    }

    /// The shard in a safetensors file's bytes, if they have this layout. Look at the rows through [`Shard::validate`] first.
    pub fn read(path: &Path, storage: Storage, layout: Layout, first_image: u64) -> Result<Shard> {
        Ok(Shard {
            sections: layout.read(path, &storage)?,
            sizes: layout.sizes(),
            storage,
            layout,
            first_image,
        })
    }

    /// The safetensors file.
    pub fn bytes(&self) -> &[u8] {
        &self.storage
    }

    /// The values of the column at a place over the whole shard, in their stored type.
    #[inline]
    fn values<T: AnyBitPattern>(&self, place: usize) -> &[T] {
        bytemuck::cast_slice(self.tensor(place))
    }

    #[inline]
    fn tensor(&self, place: usize) -> &[u8] {
        &self.storage[self.sections[place].clone()]
    }

    fn values_mut<T: Pod>(&mut self, place: usize) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.storage.owned_mut()[self.sections[place].clone()])
    }

    /// The bytes of some entries of a column, little-endian.
    #[inline]
    pub fn entries(&self, column: &Column, entries: Range<usize>) -> &[u8] {
        let (place, size) = (column.place(), self.sizes[column.place()]);
        &self.tensor(place)[entries.start * size..entries.end * size]
    }

    /// The same for writing.
    pub fn entries_mut(&mut self, column: &Column, entries: Range<usize>) -> &mut [u8] {
        let (place, size) = (column.place(), self.sizes[column.place()]);
        &mut self.values_mut(place)[entries.start * size..entries.end * size]
    }

    /// Row at which each image begins, and the number of rows.
    #[inline]
    pub fn offsets(&self) -> &[u64] {
        self.values(const { OFFSET.place() })
    }

    pub fn offsets_mut(&mut self) -> &mut [u64] {
        self.values_mut(const { OFFSET.place() })
    }

    pub fn labels(&self) -> &[i32] {
        self.values(const { LABEL.place() })
    }

    pub fn labels_mut(&mut self) -> &mut [i32] {
        self.values_mut(const { LABEL.place() })
    }

    #[inline]
    pub fn views(&self) -> &[u16] {
        self.values(const { VIEW.place() })
    }

    pub fn views_mut(&mut self) -> &mut [u16] {
        self.values_mut(const { VIEW.place() })
    }

    pub fn hashes(&self) -> &[ImageHash] {
        self.values(const { IMAGE_HASH.place() })
    }

    pub fn hashes_mut(&mut self) -> &mut [ImageHash] {
        self.values_mut(const { IMAGE_HASH.place() })
    }

    /// The logits of a row.
    #[inline]
    pub fn logits(&self, row: usize) -> Logits<'_> {
        if self.layout.is_plain() {
            Logits::Plain(self.floats(const { LOGITS.place() }, self.layout.floats.logits, row..row + 1))
        } else {
            self.answer(row).logits()
        }
    }

    /// All that is stored of a row's answer.
    pub fn answer(&self, row: usize) -> AnswerRow<'_> {
        AnswerRow { coding: &self.layout.coding, entries: self.answers(row..row + 1) }
    }

    /// The same of some rows, column by column.
    pub fn answers(&self, rows: Range<usize>) -> Entries<'_> {
        ANSWERS.map(|column| self.entries(column, rows.clone()))
    }

    /// The feature maps of some rows, in their stored type; no values where the label set holds none.
    #[inline]
    pub fn features(&self, rows: Range<usize>) -> Stored<'_> {
        self.floats(const { FEATURES.place() }, self.layout.floats.features, rows)
    }

    #[inline]
    fn floats(&self, place: usize, dtype: Dtype, rows: Range<usize>) -> Stored<'_> {
        let size = self.sizes[place];
        let bytes = &self.tensor(place)[rows.start * size..rows.end * size];
        match dtype {
            Dtype::F32 => Stored::F32(bytemuck::cast_slice(bytes)),
            Dtype::F16 | Dtype::U8 => Stored::F16(bytemuck::cast_slice(bytes)),
        }
    }

    /// Stores answers as [`Coding::keep`](crate::Coding::keep) gives them, rounding to f16 where that is the stored type; refuses
    /// NaN, infinities and what f16 cannot hold. `features` says what the maps are.
    pub fn fill(&mut self, kept: &[f32], features: Option<&Features>) -> Result<()> {
        let coding = self.layout.coding;
        let width = coding.kept();
        let mut bad: Option<usize> = None;
        for (column, places) in ANSWERS.into_iter().zip(answer::places(&coding)) {
            let (size, section) = (coding.entry(column), self.sections[column.place()].clone());
            if size == 0 {
                continue;
            }
            let entries = self.storage.owned_mut()[section].chunks_exact_mut(size);
            for (row, (entry, kept)) in entries.zip(kept.chunks_exact(width)).enumerate() {
                let found = answer::write(column, &coding, &kept[places.clone()], entry);
                let found = found.map(|place| row * width + places.start + place);
                bad = bad.into_iter().chain(found).min();
            }
        }
        let Some(index) = bad else { return Ok(()) };
        let (row, place, value) = (index / width, index % width, kept[index]);
        // Feature maps come last, whatever is kept before them.
        let place = match place.checked_sub(width - coding.features) {
            Some(value) => coding.classes + value,
            None => place,
        };
        Err(self.unstorable(features, row, place, value))
    }

    /// The refusal of an answer's value, its place counted among K logits and F values of maps.
    pub fn unstorable(&self, features: Option<&Features>, row: usize, place: usize, value: f32) -> Error {
        let (image, view) = (self.image_of(row), self.views()[row]);
        Error::of_answer(features, &self.layout.coding, place, (image, view), value)
    }

    /// The image (counted in the whole set) of a row (counted in this shard).
    pub fn image_of(&self, row: usize) -> u64 {
        self.first_image + self.offsets().partition_point(|&offset| offset <= row as u64) as u64 - 1
    }

    /// Rows with their image (counted in the whole set), view and label, in order.
    pub fn rows(&self) -> impl Iterator<Item = (usize, u64, u16, i32)> + '_ {
        let (offsets, views) = (self.offsets(), self.views());
        self.labels().iter().enumerate().flat_map(move |(image, &label)| {
            let rows = offsets[image] as usize..offsets[image + 1] as usize;
            rows.map(move |row| (row, self.first_image + image as u64, views[row], label))
        })
    }

    /// Refuses offsets, views and labels that the manifest does not allow. After it every accessor is in bounds.
    pub fn validate(&self, path: &Path, augment: Augment, views: Views) -> Result<()> {
        let (rows, classes) = (self.layout.rows, self.layout.classes);
        let wrong =
            |what: String, wanted: String, found: String| Err(Error::structure(path, what, wanted, found));
        let (offsets, ids) = (self.offsets(), self.views());
        let ends = (offsets[0], offsets[offsets.len() - 1]);
        if ends != (0, rows as u64) {
            return wrong(
                "first and last offset".into(),
                format!("0 and {rows}"),
                format!("{} and {}", ends.0, ends.1),
            );
        }
        let allowed = rows_allowed(augment, views);
        for (index, pair) in offsets.windows(2).enumerate() {
            let image = self.first_image + index as u64;
            // The last offset is `rows`, but one in the middle may still lie beyond it.
            if pair[0] > pair[1] || pair[1] > rows as u64 {
                return wrong(
                    format!("offset after image {image}"),
                    format!("{} to {rows}", pair[0]),
                    pair[1].to_string(),
                );
            }
            if !allowed.contains(&(pair[1] - pair[0])) {
                let wanted =
                    format!("{} to {} for views {views} of {augment}", allowed.start(), allowed.end());
                return wrong(
                    format!("number of views of image {image}"),
                    wanted,
                    (pair[1] - pair[0]).to_string(),
                );
            }
            if let Some(problem) = problem_with(&ids[pair[0] as usize..pair[1] as usize], augment) {
                return wrong(format!("list of views of image {image}"), problem.wanted, problem.found);
            }
            let label = self.labels()[index];
            if !is_label(label, classes) {
                return wrong(
                    format!("label of image {image}"),
                    format!("0 to {}", classes - 1),
                    label.to_string(),
                );
            }
        }
        Ok(())
    }

    /// Refuses logits and feature maps, which are those of `features`, that are NaN, infinite, or not what the format allows.
    /// Call [`Shard::validate`] before.
    pub fn check_answers(&self, path: &Path, features: Option<&Features>) -> Result<()> {
        let rows = 0..self.layout.rows;
        if self.layout.is_plain() {
            let logits = self.floats(const { LOGITS.place() }, self.layout.floats.logits, rows.clone());
            if let Some(index) = logits.first_non_finite() {
                let (row, class) = (index / self.layout.classes, index % self.layout.classes);
                return Err(self.bad_logit(path, row, class, logits.get(index)));
            }
        } else {
            let mut seen = Vec::new();
            let mut problems = rows.clone().map(|row| (row, self.answer(row).problem(&mut seen)));
            if let Some((row, Some(problem))) = problems.find(|(_, problem)| problem.is_some()) {
                return Err(self.bad_row(path, row, problem));
            }
        }
        let (Some(features), maps) = (features, self.features(rows)) else { return Ok(()) };
        let Some(index) = maps.first_non_finite() else { return Ok(()) };
        let (row, place) = (index / self.layout.features, index % self.layout.features);
        Err(self.bad_feature(path, features, row, place, maps.get(index)))
    }

    /// The refusal of what is stored of a row that is not plain.
    pub fn bad_row(&self, path: &Path, row: usize, [what, wanted, found]: [String; 3]) -> Error {
        let (image, view) = (self.image_of(row), self.views()[row]);
        Error::structure(path, format!("{what} of image {image}, view {view}"), wanted, found)
    }

    /// The refusal of a logit that is no number.
    pub fn bad_logit(&self, path: &Path, row: usize, class: usize, found: f32) -> Error {
        let (image, view) = (self.image_of(row), self.views()[row]);
        Error::NotFinite { path: path.into(), image, view, class, found }
    }

    /// The refusal of a value of a row's feature maps that is no number.
    pub fn bad_feature(
        &self,
        path: &Path,
        features: &Features,
        row: usize,
        value: usize,
        found: f32,
    ) -> Error {
        let (image, view) = (self.image_of(row), self.views()[row]);
        let (module, place) = features.locate(value);
        Error::MapNotFinite { path: path.into(), image, view, module, place, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::coding::Coding;

    fn shard(dtype: Dtype) -> Shard {
        let layout = Layout::new([2, 3], Coding::new(2, dtype, None, None));
        let mut shard = Shard::blank(layout, 10);
        shard.offsets_mut().copy_from_slice(&[0, 1, 3]);
        shard.views_mut().copy_from_slice(&[4, 0, 3]);
        shard
    }

    #[test]
    fn f16_logits_round_to_nearest_even() {
        let mut shard = shard(Dtype::F16);
        // 1 + 2^-11 is halfway between 1 and 1 + 2^-10: even is 1. 1 + 3 * 2^-11 is halfway too: even is 1 + 2^-9.
        let logits = [1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 65504.0, 65519.0, 5.960_464_5e-8, -2e-8];
        shard.fill(&logits, None).unwrap();
        assert_eq!(
            (0..3).flat_map(|row| shard.logits(row).to_vec()).collect::<Vec<_>>(),
            [1.0, 1.0 + 1.0 / 512.0, 65504.0, 65504.0, 5.960_464_5e-8, -0.0]
        );
    }

    #[test]
    fn logits_that_cannot_be_stored_name_their_row() {
        let mut halves = shard(Dtype::F16);
        let error = halves.fill(&[0.0, 0.0, 0.0, 0.0, 0.0, 65520.0], None).unwrap_err();
        assert!(matches!(error, Error::TooLargeForF16 { image: 11, view: 3, class: 1, .. }), "{error}");
        let error = shard(Dtype::F32).fill(&[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0], None).unwrap_err();
        assert!(matches!(error, Error::TeacherNotFinite { image: 11, view: 0, class: 0, .. }), "{error}");
    }

    #[test]
    fn hostile_offsets_views_and_labels_are_refused() {
        let path = Path::new("shard");
        let crop2: Augment = "crop2".parse().unwrap();
        let plan = Views::Plan { epochs: 3, seed: 0 };
        assert!(shard(Dtype::F16).validate(path, crop2, plan).is_ok());
        for offsets in [[0, 4, 3], [0, u64::MAX, 3], [1, 2, 3], [0, 1, 2], [0, 0, 3], [0, 3, 3]] {
            let mut shard = shard(Dtype::F16);
            shard.offsets_mut().copy_from_slice(&offsets);
            assert!(shard.validate(path, crop2, plan).is_err(), "{offsets:?}");
        }
        for views in [[25, 0, 3], [4, 3, 0], [4, 3, 3]] {
            let mut shard = shard(Dtype::F16);
            shard.views_mut().copy_from_slice(&views);
            assert!(shard.validate(path, crop2, plan).is_err(), "{views:?}");
        }
        for label in [-1, 2, i32::MIN] {
            let mut shard = shard(Dtype::F16);
            shard.labels_mut()[1] = label;
            assert!(shard.validate(path, crop2, plan).is_err(), "{label}");
        }
    }
}
