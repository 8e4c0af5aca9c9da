//! `npz:FILE`: NumPy archives, u8 images and integer labels per split, under the names that people use.
//!
//! | train | test |
//! |---|---|
//! | `x_train`, `y_train` | `x_test`, `y_test` |
//! | `train_images`, `train_labels` | `test_images`, `test_labels` |
//! | `images`, `labels` | `images`, `labels`: the whole file is the split that is asked for |

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::dataset::Rows;
use crate::read::npy;
use crate::row::{DatasetRow, Place};
use crate::{DataError, Split};

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

    let images = npy::images(&inflate(&mut zip, &images_name, path)?, &path.join(entry(&images_name)))?;
    let labels = labels_in(&mut zip, &labels_name, path)?;
    let other = pairs(if split == Split::Train { Split::Test } else { Split::Train });
    let other = other
        .iter()
        .find(|(_, labels)| *labels != labels_name && zip.index_for_name(&entry(labels)).is_some())
        .map(|(_, name)| labels_in(&mut zip, name, path))
        .transpose()?;
    npy::rows(images, &labels, &other.unwrap_or_default(), &path.join(entry(&labels_name)), path.to_owned())
}

fn labels_in(zip: &mut Archive, name: &str, path: &Path) -> Result<Vec<i64>, DataError> {
    npy::labels(&inflate(zip, name, path)?, &path.join(entry(name)))
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
