//! Decoding PNG and JPEG into a slice of known size, in parallel.
//!
//! A PNG has one decoding. JPEG decoders differ by a few levels, and the identity of an image is that of its
//! decoded pixels, so a label set over JPEGs belongs to this decoder.

use std::io::Cursor;
use std::path::Path;

use image::{ColorType, ImageDecoder, ImageReader, Limits};
use rayon::prelude::*;

use crate::{DataError, ImageShape};

/// Larger images are no input of the networks here, and a header must not decide how much memory is taken.
const LARGEST_SIDE: u32 = 4096;
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
        None => *shape.insert(shape_of(first, path, first_row)?),
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

fn shape_of(encoded: &[u8], path: &Path, row: usize) -> Result<ImageShape, DataError> {
    opened(encoded, path, row).map(|(shape, _)| shape)
}

fn decode(
    encoded: &[u8],
    wanted: ImageShape,
    out: &mut [u8],
    path: &Path,
    row: usize,
) -> Result<(), DataError> {
    let (found, decoder) = opened(encoded, path, row)?;
    if found != wanted {
        return Err(DataError::WrongShape { path: path.to_owned(), row, wanted, found });
    }
    decoder.read_image(out).map_err(|error| broken(path, row, &error))
}

fn opened<'a>(
    encoded: &'a [u8],
    path: &Path,
    row: usize,
) -> Result<(ImageShape, impl ImageDecoder + 'a), DataError> {
    let mut reader = ImageReader::new(Cursor::new(encoded));
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(|error| broken(path, row, &error))?;
    let decoder = reader.into_decoder().map_err(|error| broken(path, row, &error))?;
    let (width, height) = decoder.dimensions();
    let channels = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        other => return Err(broken(path, row, &format!("pixels of kind {other:?}"))),
    };
    if width == 0 || height == 0 || width > LARGEST_SIDE || height > LARGEST_SIDE {
        return Err(broken(path, row, &format!("{width}x{height} pixels")));
    }
    Ok((ImageShape::new(height as usize, width as usize, channels), decoder))
}

fn broken(path: &Path, row: usize, found: &impl ToString) -> DataError {
    DataError::BrokenImage { path: path.to_owned(), row, found: found.to_string() }
}
