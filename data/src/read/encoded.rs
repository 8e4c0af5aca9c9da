//! Decoding PNG, JPEG and Netpbm into one buffer, in parallel.
//!
//! A PNG has one decoding. JPEG decoders differ by a few levels, and the identity of an image is that of its
//! decoded pixels, so a label set over JPEGs belongs to this decoder. Images are turned as their EXIF says; colour
//! profiles are not applied. Where a size is asked for, the whole image is squeezed to it; nothing is cut off.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{jpeg, netpbm, orientation::Orientation, png, resize};
use crate::{DataError, ImageShape, Spot};

/// Larger images are no input of the networks here, and a header must not decide how much memory is taken.
const LARGEST_SIDE: usize = 4096;
/// The same of images that are made smaller: photographs.
const LARGEST_PHOTOGRAPH: usize = 8192;
/// Pixels decoded between two extensions of the buffer.
const STEP_BYTES: usize = 64 << 20;

/// Where encoded images lie, for errors.
#[derive(Clone, Copy)]
pub(crate) enum Places<'a> {
    /// In rows of a file, the first of them this one.
    Rows(&'a Path, usize),
    /// In files of their own.
    Files(&'a [PathBuf]),
}

impl Places<'_> {
    /// The place of an image by its number among them.
    fn spot(self, at: usize) -> Spot {
        match self {
            Self::Rows(path, first) => Spot { path: path.to_owned(), row: Some(first + at) },
            Self::Files(paths) => Spot { path: paths[at].clone(), row: None },
        }
    }

    /// Those from this number on.
    fn from(self, at: usize) -> Self {
        match self {
            Self::Rows(path, first) => Self::Rows(path, first + at),
            Self::Files(paths) => Self::Files(&paths[at..]),
        }
    }
}

/// Decoded images, one after the other, each (H, W, C).
#[derive(Default)]
pub(crate) struct Pixels {
    /// Height and width to bring every image to; images as they are where it is not given.
    side: Option<usize>,
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
    /// No images yet; all will be squares of this side, or have one size of their own where there is none.
    pub(crate) fn of_side(side: Option<usize>) -> Self {
        Self { side, ..Self::default() }
    }

    /// Decodes `encoded` in order onto the end. Grey images among colour get three equal channels.
    ///
    /// Of several broken images the first is reported.
    pub(crate) fn append(&mut self, encoded: &[&[u8]], places: Places) -> Result<(), DataError> {
        let Some(first) = encoded.first() else { return Ok(()) };
        let mut shape = match self.shape {
            Some(shape) => shape,
            None => self.wanted(Opened::new(first, self.largest()).map_err(broken(places, 0))?.shape()),
        };
        let mut done = 0;
        while done < encoded.len() {
            let step = (STEP_BYTES / shape.values()).max(1).min(encoded.len() - done);
            let drawn = self.draw(&encoded[done..][..step], shape, places.from(done))?;
            if drawn.iter().any(|drawn| matches!(drawn, Drawn::Colour)) {
                self.spread(shape, places)?;
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

    /// The shape of all images, by the first one's.
    fn wanted(&self, first: ImageShape) -> ImageShape {
        self.side.map_or(first, |side| ImageShape::new(side, side, first.channels))
    }

    fn largest(&self) -> usize {
        if self.side.is_some() { LARGEST_PHOTOGRAPH } else { LARGEST_SIDE }
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
        places: Places,
    ) -> Result<Vec<Drawn>, DataError> {
        let start = self.values.len();
        self.reserve(encoded.len() * shape.values(), places)?;
        self.values.resize(start + encoded.len() * shape.values(), 0);
        let (largest, resized) = (self.largest(), self.side.is_some());
        let outcomes: Vec<Result<Drawn, DataError>> = self.values[start..]
            .par_chunks_exact_mut(shape.values())
            .zip(encoded)
            .enumerate()
            .map(|(at, (out, encoded))| {
                let opened = Opened::new(encoded, largest).map_err(broken(places, at))?;
                let found = opened.shape();
                if !resized && (found.height, found.width) != (shape.height, shape.width) {
                    return Err(DataError::MixedSizes { spot: places.spot(at), wanted: shape, found });
                }
                opened.onto(shape, out).map_err(broken(places, at))
            })
            .collect();
        let drawn = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        if drawn.iter().any(|drawn| matches!(drawn, Drawn::Colour)) {
            self.values.truncate(start);
        }
        Ok(drawn)
    }

    /// Makes three equal channels of one, in all images so far.
    fn spread(&mut self, grey: ImageShape, places: Places) -> Result<(), DataError> {
        debug_assert_eq!(grey.channels, 1);
        self.reserve(2 * self.values.len(), places)?;
        self.values = self.values.par_iter().flat_map_iter(|&value| [value; 3]).collect();
        Ok(())
    }

    /// What the headers ask for may be more than there is.
    fn reserve(&mut self, more: usize, places: Places) -> Result<(), DataError> {
        self.values.try_reserve(more).map_err(|_| DataError::TooLarge {
            path: places.spot(0).path,
            bytes: self.values.len() as u64 + more as u64,
        })
    }
}

/// An image whose header was read and found to be one of ours.
enum Opened<'a> {
    Png(Box<png::Png<'a>>),
    Jpeg(jpeg::Jpeg<'a>),
    Netpbm(netpbm::Netpbm<'a>),
}

impl<'a> Opened<'a> {
    /// The error says what was found instead of an image with sides up to `largest`.
    fn new(encoded: &'a [u8], largest: usize) -> Result<Self, String> {
        let opened = if encoded.starts_with(png::MAGIC) {
            Self::Png(Box::new(png::Png::open(encoded, largest)?))
        } else if encoded.starts_with(jpeg::MAGIC) {
            Self::Jpeg(jpeg::Jpeg::open(encoded, largest)?)
        } else if netpbm::begins(encoded) {
            Self::Netpbm(netpbm::Netpbm::open(encoded, largest)?)
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
            Self::Netpbm(image) => image.shape(),
        }
    }

    fn orientation(&self) -> Orientation {
        match self {
            Self::Png(image) => image.orientation(),
            Self::Jpeg(image) => image.orientation(),
            Self::Netpbm(_) => Orientation::AS_STORED,
        }
    }

    /// The size of the image as it is shown.
    fn shape(&self) -> ImageShape {
        self.orientation().turned(self.stored())
    }

    /// Writes the image as it is shown, in the size and channels that are wanted; not where it is in colour and they are
    /// not.
    fn onto(self, wanted: ImageShape, out: &mut [u8]) -> Result<Drawn, String> {
        let found = self.shape();
        let own = ImageShape { channels: found.channels, ..wanted };
        match (found.channels, wanted.channels) {
            (3, 1) => Ok(Drawn::Colour),
            (1, 3) => {
                let mut grey = vec![0; own.values()];
                self.sized(own, &mut grey)?;
                out.chunks_exact_mut(3).zip(grey).for_each(|(pixel, value)| pixel.fill(value));
                Ok(Drawn::Grey)
            }
            _ => self.sized(own, out).map(|()| Drawn::Same),
        }
    }

    /// Writes the image as it is shown, in another height and width.
    fn sized(self, wanted: ImageShape, out: &mut [u8]) -> Result<(), String> {
        let found = self.shape();
        if found == wanted {
            return self.decode(out);
        }
        let mut pixels = vec![0; found.values()];
        self.decode(&mut pixels)?;
        resize::bilinear(&pixels, found, wanted, out);
        Ok(())
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
            Self::Netpbm(image) => {
                image.decode(out);
                Ok(())
            }
        }
    }
}

/// What to make of an image that is not one, by its number among these places.
fn broken(places: Places<'_>, at: usize) -> impl FnOnce(String) -> DataError {
    move |found| DataError::BrokenImage { spot: places.spot(at), found }
}
