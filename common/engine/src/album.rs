//! Images of 8 bits that an engine may keep where it computes, and views to be cut out of them there.

use std::any::Any;
use std::sync::OnceLock;

use crate::error::EngineError;

/// An engine's copy of an album; empty until one was asked, and then with none where it keeps none.
#[derive(Default)]
pub struct Shelf(pub(crate) OnceLock<Option<Box<dyn Any + Send + Sync>>>);

/// Images of 8 bits, `(N, H, W, C)`. What lies on its shelf is a copy of these pixels and no others.
#[derive(Clone, Copy)]
pub struct Album<'a> {
    /// All pixels, one image after the other.
    pub pixels: &'a [u8],
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// Where an engine's copy is kept from call to call.
    pub shelf: &'a Shelf,
}

/// A view of one image: pixel / 255, moved, zeros where it has nothing, then mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutting {
    /// The image's number in the album.
    pub image: usize,
    /// How far below the view's first row lies of the image's.
    pub down: i16,
    /// How far right of it the first column.
    pub right: i16,
    /// Whether it is mirrored left to right in the end.
    pub mirrored: bool,
}

impl Album<'_> {
    /// How many images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.iter().product::<usize>().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Refuses views of images that are not there.
    pub(crate) fn check(&self, views: &[Cutting]) -> Result<(), EngineError> {
        let Some(stray) = views.iter().find(|view| view.image >= self.len()) else { return Ok(()) };
        let [channels, height, width] = self.shape;
        let found = vec![self.len(), height, width, channels];
        Err(EngineError::Row { row: stray.image, wanted: self.shape.to_vec(), found })
    }
}
