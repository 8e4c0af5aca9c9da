//! Decoding PNG and JPEG into a slice of known size, in parallel.
//!
//! A PNG has one decoding. JPEG decoders differ by a few levels, and the identity of an image is that of its
//! decoded pixels, so a label set over JPEGs belongs to this decoder. Colour profiles and orientations are not applied:
//! the pixels are those that are stored.

use std::path::Path;

use rayon::prelude::*;

use super::{jpeg, png};
use crate::{DataError, ImageShape};

/// Larger images are no input of the networks here, and a header must not decide how much memory is taken.
const LARGEST_SIDE: usize = 4096;
/// Pixels decoded between two extensions of the buffer.
const STEP_BYTES: usize = 64 << 20;

/// Decodes `encoded` in order onto the end of `images`. The first image ever decoded sets `shape`; the others must agree.
///
/// `first_row` is the row of `encoded[0]` in the file. Of several broken images the first is reported.
pub(crate) fn append(
    images: &mut Vec<u8>,
    shape: &mut Option<ImageShape>,
    encoded: &[&[u8]],
    path: &Path,
    first_row: usize,
) -> Result<(), DataError> {
    let Some(first) = encoded.first() else { return Ok(()) };
    let shape = match *shape {
        Some(shape) => shape,
        None => *shape.insert(Opened::new(first).map_err(|found| broken(path, first_row, found))?.shape()),
    };
    let step = (STEP_BYTES / shape.values()).max(1);
    for (block, encoded) in encoded.chunks(step).enumerate() {
        let start = images.len();
        images.resize(start + encoded.len() * shape.values(), 0);
        let outcomes: Vec<Result<(), DataError>> = images[start..]
            .par_chunks_exact_mut(shape.values())
            .zip(encoded)
            .enumerate()
            .map(|(at, (out, encoded))| decode(encoded, shape, out, path, first_row + block * step + at))
            .collect();
        outcomes.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}

fn decode(
    encoded: &[u8],
    wanted: ImageShape,
    out: &mut [u8],
    path: &Path,
    row: usize,
) -> Result<(), DataError> {
    let opened = Opened::new(encoded).map_err(|found| broken(path, row, found))?;
    let found = opened.shape();
    if found != wanted {
        return Err(DataError::WrongShape { path: path.to_owned(), row, wanted, found });
    }
    opened.decode(out).map_err(|found| broken(path, row, found))
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
            return Err(format!("bytes that begin {:02x?}", &encoded[..encoded.len().min(8)]));
        };
        let ImageShape { height, width, .. } = opened.shape();
        if width == 0 || height == 0 {
            return Err(format!("{width}x{height} pixels"));
        }
        Ok(opened)
    }

    fn shape(&self) -> ImageShape {
        match self {
            Self::Png(image) => image.shape(),
            Self::Jpeg(image) => image.shape(),
        }
    }

    fn decode(self, out: &mut [u8]) -> Result<(), String> {
        match self {
            Self::Png(image) => image.decode(out),
            Self::Jpeg(image) => image.decode(out),
        }
    }
}

fn broken(path: &Path, row: usize, found: String) -> DataError {
    DataError::BrokenImage { path: path.to_owned(), row, found }
}
