//! `npz:FILE`: NumPy archives, u8 images and integer labels per split, under the names that people use.
//!
//! | train | test |
//! |---|---|
//! | `x_train`, `y_train` | `x_test`, `y_test` |
//! | `train_images`, `train_labels` | `test_images`, `test_labels` |
//! | `images`, `labels` | `images`, `labels`: the whole file is the split that is asked for |
//!
//! A single array, as the corruptions of CIFAR-10-C are stored, is read with the `labels.npy` beside it.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::dataset::Rows;
use crate::read::npy;
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "npz",
    place: Place::File,
    form: "npz:FILE",
    about: "x_train, y_train, x_test, y_test as keras saves them; or images, labels; or FILE.npy beside labels.npy",
    augment: "none",
    shape: None,
    class_names: &[],
    number: Number::None,
    published: None,
    kept: None,
    read,
};

const SAVE: &str = "save images and labels in one file with numpy.savez(FILE, images=.., labels=..)";

/// SVHN's form: (H, W, C, N), and 10 for the digit 0.
const OF_MATLAB: &str = "in Python: m = scipy.io.loadmat(FILE); numpy.savez(\"svhn-train.npz\", images=m[\"X\"].transpose(3, 0, 1, 2), labels=m[\"y\"][:, 0] % 10)";

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
fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path, split, .. } = asked;
    if !path.is_file() {
        let found = if path.exists() { "a folder" } else { "nothing" };
        return Err(DataError::WrongPlace { path: path.to_owned(), wanted: "file", found });
    }
    let mut file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let mut head = Vec::new();
    file.by_ref().take(1024).read_to_end(&mut head).map_err(|source| DataError::io(path, source))?;
    if head.starts_with(b"\x93NUMPY") {
        return single(path);
    }
    if !head.starts_with(b"PK") {
        let hint = if head.starts_with(b"MATLAB") { OF_MATLAB } else { SAVE };
        return Err(DataError::other_form(path, "an .npz archive", &head, hint));
    }
    file.rewind().map_err(|source| DataError::io(path, source))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| failed(path, error))?;

    let pair = pairs(split).into_iter().find(|(images, _)| zip.index_for_name(&entry(images)).is_some());
    let Some((images_name, labels_name)) = pair else {
        let wanted = pairs(split).map(|(images, labels)| format!("{images} + {labels}")).join(", or ");
        let mut found =
            (0..zip.len()).filter_map(|at| zip.name_for_index(at)?.ok().map(String::from)).take(8);
        let found = found.by_ref().collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "no arrays".to_owned() } else { found };
        return Err(DataError::WrongContent { path: path.to_owned(), wanted, found, hint: SAVE });
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

/// Images in an array of their own, with the labels in `labels.npy` beside it: they are whichever split is asked for.
fn single(path: &Path) -> Result<Rows, DataError> {
    let beside = path.with_file_name("labels.npy");
    if !beside.is_file() {
        return Err(DataError::WrongContent {
            path: path.to_owned(),
            wanted: "an .npz archive, or labels.npy beside this array".to_owned(),
            found: "a NumPy array (.npy) alone".to_owned(),
            hint: SAVE,
        });
    }
    let bytes = |path: &Path| fs::read(path).map_err(|source| DataError::io(path, source));
    let images = npy::images(&bytes(path)?, path)?;
    let labels = npy::labels(&bytes(&beside)?, &beside)?;
    npy::rows(images, &labels, &[], &beside, path.to_owned())
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
        ZipError::UnsupportedArchive(what) => DataError::WrongContent {
            path: path.to_owned(),
            wanted: "arrays that are stored or deflated, as NumPy stores them".to_owned(),
            found: what.to_owned(),
            hint: SAVE,
        },
        other => DataError::damaged(path, "zip", &other),
    }
}
