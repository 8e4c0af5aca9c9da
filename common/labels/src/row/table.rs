//! Which rows exist: for each image, its view ids in ascending order.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::row::digest::Hex;
use crate::row::views::Views;

/// The rows of a label set, image by image, views ascending and distinct within an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTable {
    /// Row at which each image begins, and the number of rows: `images + 1` values.
    offsets: Vec<u64>,
    views: Vec<u16>,
}

impl RowTable {
    /// Every view of every image.
    pub fn all(images: usize, augment: Augment) -> RowTable {
        let views = augment.views() as usize;
        let one: Vec<u16> = (0..views).map(|id| id as u16).collect();
        RowTable {
            offsets: (0..=images).map(|image| (image * views) as u64).collect(),
            views: one.repeat(images),
        }
    }

    /// The given views of each image; an unsorted list or one with repetitions is refused.
    pub fn from_views<I>(images: I, augment: Augment) -> Result<RowTable>
    where
        I: IntoIterator,
        I::Item: AsRef<[u16]>,
    {
        let mut table = RowTable { offsets: vec![0], views: Vec::new() };
        for (image, views) in images.into_iter().enumerate() {
            let views = views.as_ref();
            if let Some(problem) = problem_with(views, augment) {
                return Err(Error::unusable(
                    format!("views of image {image}"),
                    problem.wanted,
                    problem.found,
                ));
            }
            table.views.extend_from_slice(views);
            table.offsets.push(table.views.len() as u64);
        }
        Ok(table)
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The view ids of one image.
    pub fn views_of(&self, image: usize) -> &[u16] {
        &self.views[self.rows_of(image..image + 1)]
    }

    /// The rows of a range of images.
    pub fn rows_of(&self, images: Range<usize>) -> Range<usize> {
        self.offsets[images.start] as usize..self.offsets[images.end] as usize
    }

    /// The view ids of a range of images, one per row.
    pub(crate) fn views_in(&self, images: Range<usize>) -> &[u16] {
        &self.views[self.rows_of(images)]
    }

    /// Where each image of a range begins, counted from the range's first row, and the number of rows.
    pub(crate) fn offsets_in(&self, images: Range<usize>) -> impl Iterator<Item = u64> + '_ {
        let first = self.offsets[images.start];
        self.offsets[images.start..=images.end].iter().map(move |offset| offset - first)
    }

    /// Mean number of rows per image, rounded up, at least 1.
    pub fn rows_per_image(&self) -> usize {
        self.len().div_ceil(self.images().max(1)).max(1)
    }

    /// Tells two tables apart.
    pub(crate) fn hash(&self) -> Hex {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytemuck::cast_slice(&self.offsets));
        hasher.update(bytemuck::cast_slice(&self.views));
        Hex(hasher.finalize().into())
    }

    /// Refuses rows that are not what the views' spec says.
    pub(crate) fn validate(&self, augment: Augment, views: Views) -> Result<()> {
        for image in 0..self.images() {
            let rows = self.views_of(image).len() as u64;
            let allowed = rows_allowed(augment, views);
            if !allowed.contains(&rows) {
                let wanted = format!("{} to {} for {views}", allowed.start(), allowed.end());
                return Err(Error::unusable(format!("number of views of image {image}"), wanted, rows));
            }
        }
        Ok(())
    }
}

/// How many rows an image may have under a spec.
pub(crate) fn rows_allowed(augment: Augment, views: Views) -> std::ops::RangeInclusive<u64> {
    let all = u64::from(augment.views());
    match views {
        Views::All => all..=all,
        Views::Plan { .. } | Views::Plans { .. } => 1..=views.most_rows(augment.views()),
        Views::Random { k, .. } => {
            let k = all.min(u64::from(k));
            k..=k
        }
    }
}

pub(crate) struct Problem {
    pub wanted: String,
    pub found: String,
}

/// What is wrong with one image's list of views, if anything.
pub(crate) fn problem_with(views: &[u16], augment: Augment) -> Option<Problem> {
    let ids = augment.views();
    if let Some(&id) = views.iter().find(|&&id| u32::from(id) >= ids) {
        return Some(Problem { wanted: format!("ids below {ids} for {augment}"), found: id.to_string() });
    }
    let pair = views.windows(2).find(|pair| pair[0] >= pair[1])?;
    Some(Problem { wanted: "ascending ids".into(), found: format!("{} before {}", pair[0], pair[1]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_views_are_the_lists_written_out() {
        let flip: Augment = "flip".parse().unwrap();
        let lists = [[0u16, 1], [0, 1], [0, 1]];
        assert_eq!(RowTable::all(3, flip), RowTable::from_views(lists, flip).unwrap());
    }

    #[test]
    fn offsets_count_from_the_range() {
        let crop2: Augment = "crop2".parse().unwrap();
        let table = RowTable::from_views([vec![1, 7], vec![0], vec![2, 3, 24]], crop2).unwrap();
        assert_eq!(table.offsets_in(1..3).collect::<Vec<_>>(), [0, 1, 4]);
        assert_eq!(table.views_in(1..3), [0, 2, 3, 24]);
        assert_eq!((table.images(), table.len(), table.rows_per_image()), (3, 6, 2));
    }

    #[test]
    fn repeated_unsorted_and_foreign_views_are_refused() {
        let crop2: Augment = "crop2".parse().unwrap();
        for views in [vec![1u16, 1], vec![2, 1], vec![25]] {
            assert!(RowTable::from_views([views], crop2).is_err());
        }
    }

    #[test]
    fn a_table_must_have_the_rows_its_spec_promises() {
        let crop2: Augment = "crop2".parse().unwrap();
        let two = RowTable::from_views([[0u16, 1]], crop2).unwrap();
        assert!(two.validate(crop2, Views::Random { k: 2, seed: 0 }).is_ok());
        assert!(two.validate(crop2, Views::Random { k: 3, seed: 0 }).is_err());
        assert!(two.validate(crop2, Views::All).is_err());
        assert!(two.validate(crop2, Views::Plan { epochs: 2, seed: 0 }).is_ok());
        assert!(two.validate(crop2, Views::Plan { epochs: 1, seed: 0 }).is_err());
        assert!(RowTable::all(2, crop2).validate(crop2, Views::Random { k: 99, seed: 0 }).is_ok());
    }
}
