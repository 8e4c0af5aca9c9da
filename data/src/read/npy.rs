//! NumPy's arrays as images and labels, held against what they say of themselves.
//!
//! Images are u8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3. In four dimensions the axis of size 1
//! or 3 is the channel; if both the second and the last could be, the array is refused. Labels are (N,) or (N, 1).

use std::path::{Path, PathBuf};

use weights::npy::{Element, Header, NpyError};

use super::interleave;
use crate::dataset::{MOST_CLASSES, Rows, checked_label};
use crate::{DataError, ImageShape};

const SAVE: &str = "save the array with numpy.save";

/// Decoded pixels of `count` images, HWC.
pub(crate) struct Images {
    count: usize,
    shape: ImageShape,
    values: Vec<u8>,
}

/// The images in the bytes of an array file; `place` is for errors.
pub(crate) fn images(file: &[u8], place: &Path) -> Result<Images, DataError> {
    let (header, pixels) = parsed(file, place)?;
    if header.element() != Element::named("|u1") {
        return Err(DataError::WrongContent {
            path: place.to_owned(),
            wanted: "u8 images ('|u1')".to_owned(),
            found: format!("'{}'", header.descr),
            hint: "store pixels as numpy.uint8 in 0..=255",
        });
    }
    let (shape, planar) = layout(&header.shape, place)?;
    let values = if planar { interleave(pixels, shape) } else { pixels.to_vec() };
    Ok(Images { count: header.shape[0], shape, values })
}

/// The integers in the bytes of an array file of labels.
pub(crate) fn labels(file: &[u8], place: &Path) -> Result<Vec<i64>, DataError> {
    let (header, values) = parsed(file, place)?;
    let element = header.element().filter(|_| matches!(*header.shape, [_] | [_, 1]));
    element.and_then(|element| element.integers(values)).ok_or_else(|| DataError::WrongContent {
        path: place.to_owned(),
        wanted: "integer labels of shape (N,) or (N, 1)".to_owned(),
        found: format!("'{}' {:?}", header.descr, header.shape),
        hint: "store class indices, not one-hot rows or probabilities",
    })
}

/// Images with their labels. The classes are those that occur here or in `others`, the labels of the other split.
pub(crate) fn rows(
    images: Images,
    labels: &[i64],
    others: &[i64],
    place: &Path,
    origin: PathBuf,
) -> Result<Rows, DataError> {
    // What is no class index is refused below, or by who reads the other part.
    let seen = labels.iter().chain(others).filter(|&&label| label < MOST_CLASSES as i64);
    let largest = seen.copied().max().unwrap_or(0);
    let classes = usize::try_from(largest).unwrap_or(0) + 1;
    let Images { count, shape, values } = images;
    if labels.len() != count {
        return Err(DataError::CountsDiffer { path: place.to_owned(), images: count, labels: labels.len() });
    }
    let checked = labels.iter().enumerate().map(|(row, &label)| checked_label(place, row, label, classes));
    let labels = checked.collect::<Result<_, _>>()?;
    let class_names = Some((0..classes).map(|class| class.to_string()).collect());
    Ok(Rows { shape, images: values, labels, class_names, origin, notes: Vec::new() })
}

/// The size of each image, and whether its channels are planes.
fn layout(shape: &[usize], place: &Path) -> Result<(ImageShape, bool), DataError> {
    if shape.iter().skip(1).any(|&side| side == 0) {
        return Err(DataError::WrongContent {
            path: place.to_owned(),
            wanted: "images with pixels".to_owned(),
            found: format!("{shape:?}: a side is 0"),
            hint: "save the array again: its images were lost",
        });
    }
    let channels = |size: usize| size == 1 || size == 3;
    match *shape {
        [_, height, width] => Ok((ImageShape::new(height, width, 1), false)),
        [_, height, width, last] if channels(last) && !channels(height) => {
            Ok((ImageShape::new(height, width, last), false))
        }
        [_, second, height, width] if channels(second) && !channels(width) => {
            Ok((ImageShape::new(height, width, second), true))
        }
        _ => Err(DataError::WrongContent {
            path: place.to_owned(),
            wanted: "images of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3".to_owned(),
            found: format!("{shape:?}"),
            hint: "if both the second and the last size are 1 or 3 the order cannot be told; transpose to (N, H, W) or another size",
        }),
    }
}

/// The head of an array file and its elements, exactly as many bytes as the head says where they are numbers.
fn parsed<'a>(file: &'a [u8], place: &Path) -> Result<(Header, &'a [u8]), DataError> {
    let mut elements = file;
    let header = Header::read(&mut elements).map_err(|error| match error {
        NpyError::Head(what) => DataError::WrongContent {
            path: place.to_owned(),
            wanted: "a plain array".to_owned(),
            found: format!("another: {what}"),
            hint: "save one array of numbers with numpy.save, without named fields",
        },
        NpyError::Magic { found } => DataError::other_form(place, "a NumPy array (.npy)", &found, SAVE),
        error => DataError::damaged(place, "npy", &error),
    })?;
    if header.descr.ends_with('O') {
        return Err(DataError::WrongContent {
            path: place.to_owned(),
            wanted: "an array of numbers".to_owned(),
            found: "an object array: pickled Python objects".to_owned(),
            hint: "convert it before it is saved: numpy.stack(images).astype(\"uint8\"), labels.astype(\"int64\")",
        });
    }
    if header.fortran {
        return Err(DataError::WrongContent {
            path: place.to_owned(),
            wanted: "an array in C order".to_owned(),
            found: "Fortran order".to_owned(),
            hint: "save numpy.ascontiguousarray(array)",
        });
    }
    let wanted = header.data_length();
    if header.element().is_some() && wanted != Some(elements.len() as u64) {
        let wanted = wanted.map_or("more than there can be".to_owned(), |wanted| wanted.to_string());
        let found = elements.len().to_string();
        return Err(DataError::WrongLength { path: place.to_owned(), wanted, found });
    }
    Ok((header, elements))
}
