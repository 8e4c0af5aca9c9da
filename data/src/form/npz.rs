//! `npz:FILE`: NumPy archives, u8 images and integer labels per split, under the names that people use.
//!
//! | train | test |
//! |---|---|
//! | `x_train`, `y_train` | `x_test`, `y_test` |
//! | `train_images`, `train_labels` | `test_images`, `test_labels` |
//! | `images`, `labels` | `images`, `labels`: the whole file is the split that is asked for |
//!
//! Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3. In four dimensions the axis of size 1 or 3 is the
//! channel; if both the second and the last could be, the file is refused. Labels are (N,) or (N, 1).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use weights::npy::Element;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::dataset::{MOST_CLASSES, Rows, checked_label};
use crate::read::{interleave, npy};
use crate::row::{DatasetRow, Place};
use crate::{DataError, ImageShape, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "npz",
    place: Place::File,
    form: "npz:FILE",
    about: "x_train, y_train, x_test, y_test as keras saves them; or images, labels",
    augment: "none",
    shape: None,
    class_names: &[],
    read,
};

type Archive = ZipArchive<BufReader<File>>;

/// The pairs of names for a split, in the order they are looked for.
fn pairs(split: Split) -> [(String, String); 3] {
    [
        (format!("x_{split}"), format!("y_{split}")),
        (format!("{split}_images"), format!("{split}_labels")),
        ("images".to_owned(), "labels".to_owned()),
    ]
}

/// Reads the split's images and labels. The classes are counted over both splits of the file.
fn read(path: &Path, split: Split) -> Result<Rows, DataError> {
    if !path.is_file() {
        let found = if path.exists() { "a folder" } else { "nothing" };
        return Err(DataError::WrongPlace { path: path.to_owned(), wanted: "file", found });
    }
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| failed(path, error))?;

    let pair = pairs(split).into_iter().find(|(images, _)| zip.index_for_name(&entry(images)).is_some());
    let Some((images_name, labels_name)) = pair else {
        let wanted = pairs(split).map(|(images, labels)| format!("{images} + {labels}")).join(", or ");
        let mut found =
            (0..zip.len()).filter_map(|at| zip.name_for_index(at)?.ok().map(String::from)).take(8);
        let found = found.by_ref().collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "no arrays".to_owned() } else { found };
        return Err(DataError::WrongContent {
            path: path.to_owned(),
            wanted,
            found,
            hint: "save the arrays with numpy.savez under one of these pairs of names",
        });
    };

    let bytes = inflate(&mut zip, &images_name, path)?;
    let place = path.join(entry(&images_name));
    let (header, pixels) = npy::parsed(&bytes, &place)?;
    if header.element() != Element::named("|u1") {
        return Err(DataError::WrongContent {
            path: place,
            wanted: "u8 images ('|u1')".to_owned(),
            found: format!("'{}'", header.descr),
            hint: "store pixels as numpy.uint8 in 0..=255",
        });
    }
    let (shape, planar) = layout(&header.shape, &place)?;
    let images = if planar { interleave(pixels, shape) } else { pixels.to_vec() };

    let raw = integers(&mut zip, &labels_name, path)?;
    let mut classes = 1 + raw.iter().copied().max().unwrap_or(0);
    let other = pairs(if split == Split::Train { Split::Test } else { Split::Train });
    if let Some((_, name)) = other
        .iter()
        .find(|(_, labels)| *labels != labels_name && zip.index_for_name(&entry(labels)).is_some())
    {
        classes = classes.max(1 + integers(&mut zip, name, path)?.into_iter().max().unwrap_or(0));
    }
    let classes = usize::try_from(classes).unwrap_or(0).clamp(1, MOST_CLASSES);
    let place = path.join(entry(&labels_name));
    let count = header.shape[0];
    if raw.len() != count {
        return Err(DataError::CountsDiffer { path: place, images: count, labels: raw.len() });
    }
    let labels = raw.into_iter().enumerate().map(|(row, label)| checked_label(&place, row, label, classes));
    let labels = labels.collect::<Result<_, _>>()?;
    let class_names = Some((0..classes).map(|class| class.to_string()).collect());
    Ok(Rows { shape, images, labels, class_names, origin: path.to_owned() })
}

/// The size of each image, and whether its channels are planes.
fn layout(shape: &[usize], place: &Path) -> Result<(ImageShape, bool), DataError> {
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

fn integers(zip: &mut Archive, name: &str, path: &Path) -> Result<Vec<i64>, DataError> {
    let bytes = inflate(zip, name, path)?;
    let place = path.join(entry(name));
    let (header, values) = npy::parsed(&bytes, &place)?;
    let element = header.element().filter(|_| matches!(*header.shape, [_] | [_, 1]));
    element.and_then(|element| element.integers(values)).ok_or_else(|| DataError::WrongContent {
        path: place,
        wanted: "integer labels of shape (N,) or (N, 1)".to_owned(),
        found: format!("'{}' {:?}", header.descr, header.shape),
        hint: "store class indices, not one-hot rows or probabilities",
    })
}

/// The bytes of an array file in the archive. Memory follows what is really there, never the archive's directory.
fn inflate(zip: &mut Archive, name: &str, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut file = match zip.by_name(&entry(name)) {
        Ok(file) => file,
        Err(ZipError::FileNotFound) => {
            return Err(DataError::WrongContent {
                path: path.to_owned(),
                wanted: format!("the labels `{name}`"),
                found: "only their images".to_owned(),
                hint: "save images and labels in one file",
            });
        }
        Err(error) => return Err(failed(path, error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|error| DataError::damaged(path, "zip", &format!("{name}: {error}")))?;
    Ok(bytes)
}

fn entry(name: &str) -> String {
    format!("{name}.npy")
}

fn failed(path: &Path, error: ZipError) -> DataError {
    match error {
        ZipError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            DataError::io(path, source)
        }
        other => DataError::damaged(path, "zip", &other),
    }
}
