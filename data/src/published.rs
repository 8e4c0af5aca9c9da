//! What is known of a dataset that was published: how many images each part has, and which.
//!
//! A reader takes any images in the right form: part of the published ones, other images in their order, a person's own.
//! What it read is held against this, and a difference is said; results on other images are not results on these.

use labels::image_hash;

use crate::Split;
use crate::dataset::Rows;

/// A published dataset.
#[derive(Debug)]
pub(crate) struct Published {
    /// Its name as papers write it.
    pub name: &'static str,
    /// Images of the training and of the test part.
    pub images: [usize; 2],
    /// What [`print`] gives for each, where somebody has computed it.
    pub prints: Option<[u128; 2]>,
}

impl Published {
    /// What is to be said of rows that go by this name, if they are others.
    pub(crate) fn note(&self, rows: &Rows, split: Split) -> Option<String> {
        let Self { name, images, prints } = self;
        let part = match split {
            Split::Train => 0,
            Split::Test => 1,
        };
        let (found, wanted) = (rows.labels.len(), images[part]);
        let place = rows.origin.display();
        if found != wanted {
            let what = if found < wanted {
                "a part of it, or other images"
            } else {
                "other images, or some of them twice"
            };
            return Some(format!("{place}: {found} images in the {split} part, {name} has {wanted}: {what}"));
        }
        let differs = prints.is_some_and(|prints| prints[part] != print(rows));
        differs.then(|| {
            format!(
                "{place}: {found} images as {name} has, but not {name}'s pixels and labels in their order"
            )
        })
    }
}

/// Identifies pixels, labels and their order: 16 bytes of BLAKE3 over the hash of all images as one, and a byte per label.
fn print(rows: &Rows) -> u128 {
    let (shape, count) = (rows.shape, rows.labels.len());
    let pixels =
        image_hash((count * shape.height) as u32, shape.width as u32, shape.channels as u32, &rows.images);
    let labels = rows.labels.iter().map(|&label| label as u8);
    let all: Vec<u8> = pixels.into_iter().chain(labels).collect();
    u128::from_be_bytes(image_hash(1, all.len() as u32, 1, &all))
}
