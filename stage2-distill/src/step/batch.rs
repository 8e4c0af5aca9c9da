//! What one step learns from: views of images, and what is known of them.

use candle_core::Tensor;
use engine::Images;
use method::objective::{Epoch, Marks};

/// One view of each image of a batch.
pub struct Seen {
    /// Its pixels `(N, C, H, W)`, in [0, 1].
    pub images: Images,
    /// The teacher's logits `(N, K)` on it, where the objective needs them.
    pub teacher: Option<Tensor>,
    /// A second teacher's, likewise.
    pub second: Option<Tensor>,
    /// The teacher's feature maps `(N, C, H, W)` of it, tap by tap, where they are known; a live teacher gives the others.
    pub maps: Option<Vec<Tensor>>,
}

impl Seen {
    /// Pixels of which no teacher has said anything.
    pub fn only(images: Images) -> Self {
        Self { images, teacher: None, second: None, maps: None }
    }
}

/// What one step learns from.
pub struct Batch {
    /// The view that is attacked.
    pub clean: Seen,
    /// Further views of the same images, for an objective that wants several.
    pub further: Vec<Seen>,
    /// Their strong view, for an objective that wants one.
    pub strong: Option<Images>,
    /// Hard labels `(N,)`, u32; [`UNLABELLED`](method::objective::UNLABELLED) of images without one.
    pub labels: Tensor,
    /// What else is known of each image.
    pub marks: Marks,
    /// Each image's index in the data set: keys its start.
    pub places: Vec<usize>,
    /// Where in the run it lies.
    pub epoch: Epoch,
}

impl Batch {
    /// Of labelled images in one view, nothing else being known of them.
    pub fn of(clean: Seen, labels: Tensor, places: Vec<usize>, epoch: Epoch) -> Self {
        Self { clean, further: Vec::new(), strong: None, labels, marks: Marks::new(), places, epoch }
    }
}
