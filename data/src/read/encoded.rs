//! Decoding PNG and JPEG into one buffer, in parallel.
//!
//! A PNG has one decoding. JPEG decoders differ by a few levels, and the identity of an image is that of its
//! decoded pixels, so a label set over JPEGs belongs to this decoder. Images are turned as their EXIF says; colour
//! profiles are not applied.

use std::path::Path;

use rayon::prelude::*;

use super::{jpeg, orientation::Orientation, png};
use crate::{DataError, ImageShape};

/// Larger images are no input of the networks here, and a header must not decide how much memory is taken.
const LARGEST_SIDE: usize = 4096;
/// Pixels decoded between two extensions of the buffer.
const STEP_BYTES: usize = 64 << 20;

/// Decoded images, one after the other, each (H, W, C).
#[derive(Default)]
pub(crate) struct Pixels {
    /// That of the first image; with three channels from the first image in colour on.
    shape: Option<ImageShape>,
    values: Vec<u8>,
    images: usize,
    /// How many are grey.
    grey: usize,
}

/// What became of one image.
enum Drawn {
    Same,
    /// Grey, in three equal channels.
    Grey,
    /// Not drawn: it is the first in colour, among grey ones.
    Colour,
}

impl Pixels {
    /// Decodes `encoded` in order onto the end. All images have one size; grey ones among colour get three equal channels.
    ///
    /// `first_row` is the row of `encoded[0]` in the file. Of several broken images the first is reported.
    pub(crate) fn append(
        &mut self,
        encoded: &[&[u8]],
        path: &Path,
        first_row: usize,
    ) -> Result<(), DataError> {
        let Some(first) = encoded.first() else { return Ok(()) };
        let mut shape = match self.shape {
            Some(shape) => shape,
            None => Opened::new(first).map_err(|found| broken(path, first_row, found))?.shape(),
        };
        let mut done = 0;
        while done < encoded.len() {
            let step = (STEP_BYTES / shape.values()).max(1).min(encoded.len() - done);
            let drawn = self.draw(&encoded[done..][..step], shape, path, first_row + done)?;
            if drawn.iter().any(|drawn| matches!(drawn, Drawn::Colour)) {
                self.spread(shape, path)?;
                shape.channels = 3;
                continue;
            }
            let grey = |drawn: &&Drawn| shape.channels == 1 || matches!(drawn, Drawn::Grey);
            self.grey += drawn.iter().filter(grey).count();
            self.images += step;
            done += step;
        }
        self.shape = Some(shape);
        Ok(())
    }

    /// The shape of all and their values; nothing was decoded where there are none.
    pub(crate) fn finish(self) -> (ImageShape, Vec<u8>) {
        (self.shape.unwrap_or(ImageShape::new(0, 0, 0)), self.values)
    }

    /// What is to be said of the images: that some are grey among colour.
    pub(crate) fn note(&self) -> Option<String> {
        let (grey, images) = (self.grey, self.images);
        let mixed = grey > 0 && self.shape.is_some_and(|shape| shape.channels == 3);
        mixed.then(|| {
            format!("{grey} of {images} images are grey among colour; each got three equal channels")
        })
    }

    /// Decodes some images onto the end, or leaves the buffer as it was where one is in colour among grey.
    fn draw(
        &mut self,
        encoded: &[&[u8]],
        shape: ImageShape,
        path: &Path,
        first_row: usize,
    ) -> Result<Vec<Drawn>, DataError> {
        let start = self.values.len();
        self.reserve(encoded.len() * shape.values(), path)?;
        self.values.resize(start + encoded.len() * shape.values(), 0);
        let outcomes: Vec<Result<Drawn, DataError>> = self.values[start..]
            .par_chunks_exact_mut(shape.values())
            .zip(encoded)
            .enumerate()
            .map(|(at, (out, encoded))| decode(encoded, shape, out, path, first_row + at))
            .collect();
        let drawn = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        if drawn.iter().any(|drawn| matches!(drawn, Drawn::Colour)) {
            self.values.truncate(start);
        }
        Ok(drawn)
    }

    /// Makes three equal channels of one, in all images so far.
    fn spread(&mut self, grey: ImageShape, path: &Path) -> Result<(), DataError> {
        debug_assert_eq!(grey.channels, 1);
        self.reserve(2 * self.values.len(), path)?;
        self.values = self.values.par_iter().flat_map_iter(|&value| [value; 3]).collect();
        Ok(())
    }

    /// What the headers ask for may be more than there is.
    fn reserve(&mut self, more: usize, path: &Path) -> Result<(), DataError> {
        self.values.try_reserve(more).map_err(|_| DataError::TooLarge {
            path: path.to_owned(),
            bytes: self.values.len() as u64 + more as u64,
        })
    }
}

fn decode(
    encoded: &[u8],
    wanted: ImageShape,
    out: &mut [u8],
    path: &Path,
    row: usize,
) -> Result<Drawn, DataError> {
    let failed = |found| broken(path, row, found);
    let opened = Opened::new(encoded).map_err(failed)?;
    let found = opened.shape();
    if (found.height, found.width) != (wanted.height, wanted.width) {
        return Err(DataError::WrongShape { path: path.to_owned(), row, wanted, found });
    }
    match (found.channels, wanted.channels) {
        (3, 1) => Ok(Drawn::Colour),
        (1, 3) => {
            let mut grey = vec![0; found.values()];
            opened.decode(&mut grey).map_err(failed)?;
            out.chunks_exact_mut(3).zip(grey).for_each(|(pixel, value)| pixel.fill(value));
            Ok(Drawn::Grey)
        }
        _ => opened.decode(out).map(|()| Drawn::Same).map_err(failed),
    }
}

/// An image whose header was read and found to be one of ours.
enum Opened<'a> {
    Png(Box<png::Png<'a>>),
    Jpeg(jpeg::Jpeg<'a>),
}

impl<'a> Opened<'a> {
    /// The error says what was found instead.
    fn new(encoded: &'a [u8]) -> Result<Self, String> {
        let opened = if encoded.starts_with(png::MAGIC) {
            Self::Png(Box::new(png::Png::open(encoded, LARGEST_SIDE)?))
        } else if encoded.starts_with(jpeg::MAGIC) {
            Self::Jpeg(jpeg::Jpeg::open(encoded, LARGEST_SIDE)?)
        } else {
            return Err(match weights::kind_of(encoded) {
                Some(kind) => kind.name.to_owned(),
                None => format!("bytes that begin {:02x?}", &encoded[..encoded.len().min(8)]),
            });
        };
        let ImageShape { height, width, .. } = opened.stored();
        if width == 0 || height == 0 {
            return Err(format!("{width}x{height} pixels"));
        }
        Ok(opened)
    }

    fn stored(&self) -> ImageShape {
        match self {
            Self::Png(image) => image.shape(),
            Self::Jpeg(image) => image.shape(),
        }
    }

    fn orientation(&self) -> Orientation {
        match self {
            Self::Png(image) => image.orientation(),
            Self::Jpeg(image) => image.orientation(),
        }
    }

    /// The size of the image as it is shown.
    fn shape(&self) -> ImageShape {
        self.orientation().turned(self.stored())
    }

    /// Writes the image as it is shown.
    fn decode(self, out: &mut [u8]) -> Result<(), String> {
        let (orientation, stored) = (self.orientation(), self.stored());
        if orientation == Orientation::AS_STORED {
            return self.draw(out);
        }
        let mut pixels = vec![0; stored.values()];
        self.draw(&mut pixels)?;
        orientation.turn(&pixels, stored, out);
        Ok(())
    }

    fn draw(self, out: &mut [u8]) -> Result<(), String> {
        match self {
            Self::Png(image) => image.decode(out),
            Self::Jpeg(image) => image.decode(out),
        }
    }
}

fn broken(path: &Path, row: usize, found: String) -> DataError {
    DataError::BrokenImage { path: path.to_owned(), row, found }
}
