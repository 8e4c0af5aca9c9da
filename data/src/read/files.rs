//! Encoded images in files of their own: read and decoded in steps, so that a million of them are never held encoded.

use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;

use super::encoded::{Pixels, Places};
use crate::DataError;

/// Encoded bytes, and files, that are held at a time.
const STEP_BYTES: u64 = 64 << 20;
const STEP_FILES: usize = 4096;
/// A larger file is no image that is decoded here.
const MOST_BYTES: u64 = 256 << 20;

/// The images of these files in their order, each brought to a square of this side where one is asked for.
pub(crate) fn decode(files: &[PathBuf], side: Option<usize>) -> Result<Pixels, DataError> {
    let mut pixels = Pixels::of_side(side);
    let mut rest = files;
    while !rest.is_empty() {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len().min(STEP_FILES) && bytes < STEP_BYTES {
            bytes += length(&rest[count])?;
            count += 1;
        }
        let (step, after) = rest.split_at(count);
        let read = |path: &PathBuf| fs::read(path).map_err(|source| DataError::io(path, source));
        let encoded = step.par_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let encoded: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
        pixels.append(&encoded, Places::Files(step))?;
        rest = after;
    }
    Ok(pixels)
}

/// How long a file is. Pipes and devices, which have no end, are none.
fn length(path: &PathBuf) -> Result<u64, DataError> {
    let found = fs::metadata(path).map_err(|source| DataError::io(path, source))?;
    if !found.is_file() {
        let found = if found.is_dir() { "a folder" } else { "a pipe or device" };
        return Err(DataError::WrongPlace { path: path.clone(), wanted: "file", found });
    }
    if found.len() > MOST_BYTES {
        return Err(DataError::WrongContent {
            path: path.clone(),
            wanted: format!("an image file of at most {MOST_BYTES} bytes"),
            found: found.len().to_string(),
            hint: "convert or leave out this image",
        });
    }
    Ok(found.len())
}
