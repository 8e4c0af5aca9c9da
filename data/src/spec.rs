//! Naming a dataset on the command line: one table from the name to the readers.
//!
//! A new dataset is a row here, and a reader if none of the forms fits. `--help`, the error that lists known names and
//! the default augmentation all read the table.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::dataset::Rows;
use crate::forms;
use crate::{DataError, Dataset, ImageShape, Split};

/// What stands after the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No colon: the data is built in.
    BuiltIn,
    /// A folder.
    Folder,
    /// A single file.
    File,
}

/// One known dataset.
#[derive(Debug)]
pub struct DatasetRow {
    /// The name before the colon.
    pub name: &'static str,
    /// What stands after the colon.
    pub place: Place,
    /// The form as written in help: `cifar10:FOLDER`.
    pub form: &'static str,
    /// The forms on disk, in a line.
    pub about: &'static str,
    /// Name of the augmentation for runs that name none.
    pub augment: &'static str,
    /// The size of every image, where the dataset has one by definition.
    pub shape: Option<ImageShape>,
    /// The classes, where the dataset has them by definition; names in the files win over these.
    pub class_names: &'static [&'static str],
    pub(crate) read: fn(&'static DatasetRow, &Path, Split) -> Result<Rows, DataError>,
}

/// Every known dataset, in the order that help shows them.
pub static DATASETS: [DatasetRow; 6] = [
    DatasetRow {
        name: "sample",
        place: Place::BuiltIn,
        form: "sample",
        about: "10,000 MNIST digits that are built in: 9,000 train, 1,000 test",
        augment: "crop2",
        shape: Some(ImageShape::new(28, 28, 1)),
        class_names: &crate::class_names::DIGITS,
        read: forms::sample,
    },
    DatasetRow {
        name: "cifar10",
        place: Place::Folder,
        form: "cifar10:FOLDER",
        about: "binary or python batches, or Hugging Face Parquet",
        augment: "crop4+flip",
        shape: Some(ImageShape::new(32, 32, 3)),
        class_names: &crate::class_names::CIFAR10,
        read: forms::cifar10,
    },
    DatasetRow {
        name: "cifar100",
        place: Place::Folder,
        form: "cifar100:FOLDER",
        about: "the same forms, with fine labels",
        augment: "crop4+flip",
        shape: Some(ImageShape::new(32, 32, 3)),
        class_names: &crate::class_names::CIFAR100,
        read: forms::cifar100,
    },
    DatasetRow {
        name: "mnist",
        place: Place::Folder,
        form: "mnist:FOLDER",
        about: "idx or idx.gz files, or Hugging Face Parquet",
        augment: "crop2",
        shape: Some(ImageShape::new(28, 28, 1)),
        class_names: &crate::class_names::DIGITS,
        read: forms::mnist,
    },
    DatasetRow {
        name: "parquet",
        place: Place::Folder,
        form: "parquet:FOLDER",
        about: "train-*.parquet and test-*.parquet with `img` or `image`, and `label`",
        augment: "none",
        shape: None,
        class_names: &[],
        read: forms::parquet,
    },
    DatasetRow {
        name: "npz",
        place: Place::File,
        form: "npz:FILE",
        about: "x_train, y_train, x_test, y_test as keras saves them; or images, labels",
        augment: "none",
        shape: None,
        class_names: &[],
        read: forms::npz,
    },
];

/// A dataset by name and place, as `cifar10:FOLDER`. Parsing it touches no file.
#[derive(Clone, Debug)]
pub struct DatasetSpec {
    row: &'static DatasetRow,
    path: PathBuf,
}

impl DatasetSpec {
    /// The embedded sample.
    pub fn sample() -> Self {
        Self { row: &DATASETS[0], path: PathBuf::new() }
    }

    /// The dataset's row in the table.
    pub fn row(&self) -> &'static DatasetRow {
        self.row
    }

    /// The folder or file; empty for the sample.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the augmentation for runs that name none: `crop4+flip`, `crop2` or `none`.
    pub fn default_augment(&self) -> &'static str {
        self.row.augment
    }

    /// Reads and decodes a split.
    ///
    /// Errors name the file and the row; every image and label is checked, so a dataset that loads is whole.
    pub fn load(&self, split: Split) -> Result<Dataset, DataError> {
        let rows = (self.row.read)(self.row, &self.path, split)?;
        self.check(&rows, split)?;
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let class_names = match rows.class_names {
            Some(class_names) => class_names,
            None if !self.row.class_names.is_empty() => names(self.row.class_names),
            // Without names the classes are those that occur.
            None => {
                (0..=rows.labels.iter().copied().max().unwrap_or(0)).map(|class| class.to_string()).collect()
            }
        };
        Dataset::new(self.row.name, split, rows.shape, rows.images, rows.labels, class_names)
    }

    /// What the dataset's name promises.
    fn check(&self, rows: &Rows, split: Split) -> Result<(), DataError> {
        let path = rows.origin.clone();
        if rows.labels.is_empty() || rows.images.is_empty() {
            return Err(DataError::EmptySplit { path, split });
        }
        if let Some(wanted) = self.row.shape.filter(|&wanted| wanted != rows.shape) {
            return Err(DataError::WrongShape { path, row: 0, wanted, found: rows.shape });
        }
        let (wanted, found) = (self.row.class_names.len(), rows.class_names.as_ref().map_or(0, Vec::len));
        if wanted > 0 && found > 0 && wanted != found {
            return Err(DataError::WrongClasses { path, dataset: self.row.name, wanted, found });
        }
        Ok(())
    }
}

impl FromStr for DatasetSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (name, place) = text.split_once(':').map_or((text, None), |(name, place)| (name, Some(place)));
        let Some(row) = DATASETS.iter().find(|row| row.name == name) else {
            return Err(DataError::UnknownDataset {
                name: name.to_owned(),
                known: known(),
                hint: suggestion(name),
            });
        };
        let bad =
            |found, hint| Err(DataError::BadSpec { text: text.to_owned(), wanted: row.form, found, hint });
        match (row.place, place) {
            (Place::BuiltIn, None) => Ok(Self { row, path: PathBuf::new() }),
            (Place::BuiltIn, Some(_)) => {
                bad("something after the name", "the sample is built in; give its name alone")
            }
            (_, None | Some("")) => bad("no place after a colon", "say where the files are"),
            (_, Some(place)) => Ok(Self { row, path: PathBuf::from(place) }),
        }
    }
}

impl fmt::Display for DatasetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row.place {
            Place::BuiltIn => f.write_str(self.row.name),
            Place::Folder | Place::File => write!(f, "{}:{}", self.row.name, self.path.display()),
        }
    }
}

/// Every form, separated by commas: for a usage line or an error.
pub fn known() -> String {
    DATASETS.iter().map(|row| row.form).collect::<Vec<_>>().join(", ")
}

/// A line per dataset with its forms on disk and its default augmentation: for `--help`.
pub fn help() -> String {
    let line = |row: &DatasetRow| format!("{:<16} {} (augmentation {})\n", row.form, row.about, row.augment);
    DATASETS.iter().map(line).collect()
}

fn suggestion(name: &str) -> String {
    let nearest = DATASETS
        .iter()
        .map(|row| (strsim::osa_distance(&name.to_lowercase(), row.name), row))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, row)) if distance <= 2 => format!("did you mean `{}`?", row.form),
        _ => "a folder of Parquet files is read with `parquet:FOLDER`".to_owned(),
    }
}
