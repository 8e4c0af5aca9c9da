//! A split of a dataset in memory: decoded pixels, labels, and what identifies them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::DataError;

/// Labels beyond this are no class index, and class names must not take memory on a label's word.
pub(crate) const MOST_CLASSES: usize = 1 << 16;

/// The part of a dataset: what is trained on, or what is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The training part.
    Train,
    /// The test part.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    /// The other of the two.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Train => Self::Test,
            Self::Test => Self::Train,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "train" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            other => Err(DataError::UnknownSplit(other.to_owned())),
        }
    }
}

/// Size of one image, in pixels and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// 1 for grey, 3 for RGB.
    pub channels: usize,
}

impl ImageShape {
    /// A shape from its height, width and channels.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// Channels, height and width: what networks take.
    pub const fn input(self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Values in one image: height x width x channels.
    pub const fn values(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { height, width, channels } = self;
        write!(f, "{height}x{width}x{channels} (height x width x channels)")
    }
}

/// Rows of one or more files of the same form, checked one by one by their reader.
#[derive(Debug)]
pub(crate) struct Rows {
    pub shape: ImageShape,
    pub images: Vec<u8>,
    pub labels: Vec<i32>,
    /// Where the file says them.
    pub class_names: Option<Vec<String>>,
    /// The file or folder that later errors name.
    pub origin: PathBuf,
    /// What a reader of these rows should hear.
    pub notes: Vec<String>,
}

/// One split in memory: u8 pixels in NHWC order, a label per image, class names.
///
/// Every label is in `0..classes()`. Image `i` is the `i`-th in file order, the files in the order of their names.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    split: Split,
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<i32>,
    class_names: Vec<String>,
    hashes: OnceLock<Vec<[u8; 16]>>,
    notes: Vec<String>,
}

impl Dataset {
    /// A dataset from pixels that are already decoded, for data that no reader knows.
    ///
    /// `images` holds `labels.len()` images of `shape` one after the other, each HWC; every label is below
    /// `class_names.len()`. Errors: no images, counts that differ, a label out of range; `name` stands where a file would.
    pub fn new(
        name: &str,
        split: Split,
        shape: ImageShape,
        images: Vec<u8>,
        labels: Vec<i32>,
        class_names: Vec<String>,
    ) -> Result<Self, DataError> {
        let path = || PathBuf::from(name);
        if images.is_empty() || shape.values() == 0 {
            return Err(DataError::EmptySplit { path: path(), split });
        }
        if !images.len().is_multiple_of(shape.values()) {
            let wanted = format!("a multiple of {}", shape.values());
            return Err(DataError::WrongLength { path: path(), wanted, found: images.len().to_string() });
        }
        let count = images.len() / shape.values();
        if count != labels.len() {
            return Err(DataError::CountsDiffer { path: path(), images: count, labels: labels.len() });
        }
        for (row, &label) in labels.iter().enumerate() {
            checked_label(Path::new(name), row, i64::from(label), class_names.len())?;
        }
        let name = name.to_owned();
        Ok(Self {
            name,
            split,
            shape,
            images,
            labels,
            class_names,
            hashes: OnceLock::new(),
            notes: Vec::new(),
        })
    }

    /// The same dataset with something to be said of it.
    #[must_use]
    pub(crate) fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// What is to be said of this dataset before it is used, a line each: where it is not quite what its name promises.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The dataset's name, as `cifar10`, without its place. It informs; identity is in the hashes and labels.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which part this is.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Size of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image, which only `limit(0)` brings about.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// All pixels, (N, H, W, C) u8.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The pixels of image `index`, (H, W, C) u8. Panics if `index` is not below `len()`.
    pub fn pixels(&self, index: usize) -> &[u8] {
        let values = self.shape.values();
        &self.images[index * values..(index + 1) * values]
    }

    /// One label per image, each in `0..classes()`.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// Number of classes K.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// A name per class, in the order of the labels; numbers where the files name none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The first `count` images in file order, or all if there are fewer. The classes stay those of the whole split.
    #[must_use]
    pub fn limit(mut self, count: usize) -> Self {
        let count = count.min(self.len());
        self.images.truncate(count * self.shape.values());
        self.labels.truncate(count);
        if let Some(hashes) = self.hashes.get_mut() {
            hashes.truncate(count);
        }
        self
    }

    /// What identifies each image: the first 16 bytes of BLAKE3 over H, W, C as u32 LE and the pixels, HWC.
    ///
    /// Computed in parallel at the first call and kept.
    pub fn image_hashes(&self) -> &[[u8; 16]] {
        self.hashes.get_or_init(|| {
            let ImageShape { height, width, channels } = self.shape;
            let hash = |pixels| labels::image_hash(height as u32, width as u32, channels as u32, pixels);
            self.images.par_chunks_exact(self.shape.values()).map(hash).collect()
        })
    }

    /// The dataset as a label set records it: hashes and labels identify it, names only inform.
    pub fn record(&self) -> labels::Dataset {
        let ImageShape { height, width, channels } = self.shape;
        labels::Dataset {
            name: self.name.clone(),
            split: self.split.name().to_owned(),
            shape: [height, width, channels].map(|side| side as u32),
            class_names: self.class_names.clone(),
            classes: self.classes(),
            hashes: self.image_hashes().to_vec(),
            labels: self.labels.clone(),
        }
    }
}

/// `label` as stored, if it is in `0..classes`.
pub(crate) fn checked_label(path: &Path, row: usize, label: i64, classes: usize) -> Result<i32, DataError> {
    usize::try_from(label)
        .ok()
        .filter(|&label| label < classes)
        .and_then(|label| i32::try_from(label).ok())
        .ok_or_else(|| DataError::WrongLabel { path: path.to_owned(), row, label, classes })
}
