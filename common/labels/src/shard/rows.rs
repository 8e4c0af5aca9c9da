//! One shard in memory or mapped: a contiguous range of images and their rows. Its bytes are those of the safetensors file.

use std::ops::Range;
use std::path::Path;

use bytemuck::{AnyBitPattern, Pod};
use half::f16;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::column::{Column, IMAGE_HASH, LABEL, LOGITS, OFFSET, TENSORS, VIEW};
use crate::row::dataset::{ImageHash, is_label};
use crate::row::dtype::{Dtype, Logits};
use crate::row::table::{problem_with, rows_allowed};
use crate::row::views::Views;
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

    /// The same for writing. Only the Parquet form is decoded entry by entry.
    #[cfg(feature = "parquet")]
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

    /// The logits of some rows, in their stored type.
    #[inline]
    pub fn logits(&self, rows: Range<usize>) -> Logits<'_> {
        let size = self.sizes[const { LOGITS.place() }];
        let bytes = &self.tensor(const { LOGITS.place() })[rows.start * size..rows.end * size];
        match self.layout.dtype {
            Dtype::F16 => Logits::F16(bytemuck::cast_slice(bytes)),
            Dtype::F32 => Logits::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// Stores f32 logits, rounding to f16 where that is the stored type; refuses NaN, infinities and what f16 cannot hold.
    pub fn fill_logits(&mut self, logits: &[f32]) -> Result<()> {
        let bad = match self.layout.dtype {
            Dtype::F32 => {
                let stored: &mut [f32] = self.values_mut(const { LOGITS.place() });
                stored.copy_from_slice(logits);
                logits.iter().position(|logit| !logit.is_finite())
            }
            Dtype::F16 => {
                let stored: &mut [f16] = self.values_mut(const { LOGITS.place() });
                for (stored, &logit) in stored.iter_mut().zip(logits) {
                    *stored = f16::from_f32(logit);
                }
                stored.iter().position(|logit| !logit.is_finite())
            }
        };
        let Some(index) = bad else { return Ok(()) };
        let (row, class, value) = (index / self.layout.classes, index % self.layout.classes, logits[index]);
        let (image, view) = (self.image_of(row), self.views()[row]);
        Err(if value.is_finite() {
            Error::TooLargeForF16 { image, view, class, value }
        } else {
            Error::TeacherNotFinite { image, view, class, value }
        })
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
        let Layout { rows, classes, .. } = self.layout;
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

    /// Refuses NaN and infinite logits. Call [`Shard::validate`] before.
    pub fn check_finite(&self, path: &Path) -> Result<()> {
        let logits = self.logits(0..self.layout.rows);
        let Some(index) = logits.first_non_finite() else {
            return Ok(());
        };
        let (row, class) = (index / self.layout.classes, index % self.layout.classes);
        Err(Error::NotFinite {
            path: path.into(),
            image: self.image_of(row),
            view: self.views()[row],
            class,
            found: self.logits(row..row + 1).to_vec()[class],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(dtype: Dtype) -> Shard {
        let layout = Layout { images: 2, rows: 3, classes: 2, dtype };
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
        shard.fill_logits(&logits).unwrap();
        assert_eq!(
            shard.logits(0..3).to_vec(),
            [1.0, 1.0 + 1.0 / 512.0, 65504.0, 65504.0, 5.960_464_5e-8, -0.0]
        );
    }

    #[test]
    fn logits_that_cannot_be_stored_name_their_row() {
        let mut halves = shard(Dtype::F16);
        let error = halves.fill_logits(&[0.0, 0.0, 0.0, 0.0, 0.0, 65520.0]).unwrap_err();
        assert!(matches!(error, Error::TooLargeForF16 { image: 11, view: 3, class: 1, .. }), "{error}");
        let error = shard(Dtype::F32).fill_logits(&[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0]).unwrap_err();
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
