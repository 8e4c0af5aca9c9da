//! The identity of a dataset: what its images and labels hash to. Names only inform.

use crate::error::{Error, Result};
use crate::row::digest::Hex;

/// First 16 bytes of BLAKE3 over H, W, C (u32, little-endian) and the decoded pixels.
pub type ImageHash = [u8; 16];

/// Hash of one image: its shape, then its u8 pixels in (H, W, C) order.
///
/// Panics unless there are `height * width * channels` pixels.
pub fn image_hash(height: u32, width: u32, channels: u32, pixels: &[u8]) -> ImageHash {
    let wanted = u64::from(height) * u64::from(width) * u64::from(channels);
    assert_eq!(pixels.len() as u64, wanted, "an image has height * width * channels pixels");
    let mut hasher = blake3::Hasher::new();
    for side in [height, width, channels] {
        hasher.update(&side.to_le_bytes());
    }
    hasher.update(pixels);
    let mut hash = ImageHash::default();
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

/// The images of one split, by hash and label, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Name, like `cifar10`; informs only.
    pub name: String,
    /// Split, like `train`: letters, digits and `_`; it names the shards.
    pub split: String,
    /// Height, width and channels of every image.
    pub shape: [u32; 3],
    /// Name of each class, or none.
    pub class_names: Vec<String>,
    /// Number of classes K; labels are in `0..K`.
    pub classes: usize,
    /// Hash of each image, by [`image_hash`].
    pub hashes: Vec<ImageHash>,
    /// Label of each image.
    pub labels: Vec<i32>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The identity: BLAKE3 of `rslad-dataset-1`, the number of images (u64), then hash and label (i32) of each image, little-endian.
    pub fn hash(&self) -> Hex {
        let mut images = IdentityHasher::new(self.len() as u64);
        images.add(&self.hashes, &self.labels);
        images.finish()
    }

    /// The first `images` of this dataset, or all where there are fewer.
    #[must_use]
    pub fn prefix(&self, images: usize) -> Dataset {
        let images = images.min(self.len());
        Dataset {
            hashes: self.hashes[..images].to_vec(),
            labels: self.labels[..images].to_vec(),
            ..self.clone()
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let split = &self.split;
        if !is_split_name(split) {
            return Err(Error::unusable(
                "split name",
                "1 to 64 letters, digits or `_`",
                format!("`{split}`"),
            ));
        }
        if self.is_empty() {
            return Err(Error::unusable("dataset", "at least one image", "none"));
        }
        if self.labels.len() != self.len() {
            return Err(Error::unusable("labels", self.len(), self.labels.len()));
        }
        if !(1..=65536).contains(&self.classes) {
            return Err(Error::unusable("number of classes", "1 to 65536", self.classes));
        }
        if !self.class_names.is_empty() && self.class_names.len() != self.classes {
            return Err(Error::unusable("class names", self.classes, self.class_names.len()));
        }
        if let Some(image) = self.labels.iter().position(|&label| !is_label(label, self.classes)) {
            let wanted = format!("0 to {}", self.classes - 1);
            return Err(Error::unusable(format!("label of image {image}"), wanted, self.labels[image]));
        }
        Ok(())
    }
}

/// Hash over (image hash, label) pairs; their number must be known because it is hashed first.
#[derive(Clone)]
pub(crate) struct IdentityHasher(blake3::Hasher);

impl IdentityHasher {
    /// Of so many images.
    pub fn new(images: u64) -> IdentityHasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"rslad-dataset-1");
        hasher.update(&images.to_le_bytes());
        IdentityHasher(hasher)
    }

    /// Adds the next images.
    pub fn add(&mut self, hashes: &[ImageHash], labels: &[i32]) {
        self.add_bytes(&identity(hashes, labels));
    }

    /// Adds the next images by their [`identity`].
    pub fn add_bytes(&mut self, images: &[u8]) {
        self.0.update(images);
    }

    pub fn finish(self) -> Hex {
        Hex(self.0.finalize().into())
    }
}

/// What identifies some images: of each its hash and its label.
pub(crate) fn identity(hashes: &[ImageHash], labels: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * (size_of::<ImageHash>() + 4));
    for (hash, label) in hashes.iter().zip(labels) {
        bytes.extend_from_slice(hash);
        bytes.extend_from_slice(&label.to_le_bytes());
    }
    bytes
}

pub(crate) fn is_label(label: i32, classes: usize) -> bool {
    usize::try_from(label).is_ok_and(|label| label < classes)
}

/// Whether a split's name may appear in file names and in the card's front matter.
pub(crate) fn is_split_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_hash_covers_its_shape() {
        let pixels = [1, 2, 3, 4, 5, 6];
        // `printf '\1\0\0\0\2\0\0\0\3\0\0\0\1\2\3\4\5\6' | b3sum -l 16`
        let by_hand = blake3::hash(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(image_hash(1, 2, 3, &pixels), by_hand.as_bytes()[..16]);
        assert_ne!(image_hash(1, 2, 3, &pixels), image_hash(2, 1, 3, &pixels));
    }

    #[test]
    fn names_that_could_leave_the_folder_are_no_splits() {
        for name in ["", "..", "a/b", "a b", "train-1", "é", &"x".repeat(65)] {
            assert!(!is_split_name(name), "{name}");
        }
        assert!(is_split_name("train") && is_split_name("val_2"));
    }
}
