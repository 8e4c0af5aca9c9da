//! Naming a dataset on the command line: from the words to a row of the table, and from the row to a dataset.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::dataset::Rows;
use crate::form::DATASETS;
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Dataset, Split, kept};

/// What a size may be.
const OF_SIDES: &str =
    "a size is one whole number from 1 to 1024, the height and the width: images become squares";

/// So few images may well be alike.
const FEW: usize = 8;

/// A dataset by name and place, as `cifar10:FOLDER`. Parsing it touches no file.
#[derive(Clone, Debug)]
pub struct DatasetSpec {
    row: &'static DatasetRow,
    path: PathBuf,
    /// Behind an `@`: a size, or a severity.
    number: Option<usize>,
}

impl DatasetSpec {
    /// The embedded sample.
    pub fn sample() -> Self {
        Self { row: DATASETS[0], path: PathBuf::new(), number: None }
    }

    /// The dataset's row in the table.
    pub fn row(&self) -> &'static DatasetRow {
        self.row
    }

    /// The folder or file; empty for the sample, and for a name alone whose place is looked for.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same with every image brought to a square of this side, as `@N` behind its place says.
    ///
    /// Errors: the dataset's images have a size of their own, or another was given.
    pub fn sized(mut self, side: Option<u32>) -> Result<Self, DataError> {
        let Some(side) = side.map(|side| side as usize) else { return Ok(self) };
        let bad =
            |found, hint| DataError::BadSpec { text: self.to_string(), wanted: self.row.form, found, hint };
        if self.row.number != Number::Side {
            return Err(bad("a size beside it", "its images are taken as they are: drop the size"));
        }
        if self.number.is_some_and(|number| number != side) {
            return Err(bad("another size beside it", "give the size once: behind the @, or as --size N"));
        }
        if !(1..=self.row.number.most()).contains(&side) {
            return Err(bad("a size beside it that is none", OF_SIDES));
        }
        self.number = Some(side);
        Ok(self)
    }

    /// Name of the augmentation for runs that name none: `crop4+flip`, `crop2` or `none`.
    pub fn default_augment(&self) -> &'static str {
        self.row.augment
    }

    /// Reads and decodes a split.
    ///
    /// Errors name the file and the row; every image and label is checked, so a dataset that loads is whole.
    pub fn load(&self, split: Split) -> Result<Dataset, DataError> {
        let alone = self.row.kept.filter(|_| self.path.as_os_str().is_empty());
        let mut rows = match alone {
            Some(kept) => kept::find(self.row, kept, split)?,
            None => (self.row.read)(Asked { path: &self.path, split, number: self.number })?,
        };
        self.check(&rows, split)?;
        let mut notes = std::mem::take(&mut rows.notes);
        notes.extend(self.row.published.and_then(|published| published.note(&rows, split)));
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let class_names = match rows.class_names {
            Some(class_names) => class_names,
            None if !self.row.class_names.is_empty() => names(self.row.class_names),
            // Without names the classes are those that occur.
            None => {
                (0..=rows.labels.iter().copied().max().unwrap_or(0)).map(|class| class.to_string()).collect()
            }
        };
        let name = match self.number {
            Some(number) => format!("{}@{number}", self.row.name),
            None => self.row.name.to_owned(),
        };
        let dataset = Dataset::new(&name, split, rows.shape, rows.images, rows.labels, class_names)?;
        Ok(dataset.with_notes(notes))
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
        if let Some(names) = &rows.class_names {
            self.check_order(names, &path)?;
        }
        let (labels, images) = (&rows.labels, &rows.images);
        let half = labels.len() / 2;
        if half > FEW
            && labels.len().is_multiple_of(2)
            && labels[..half] == labels[half..]
            && images[..images.len() / 2] == images[images.len() / 2..]
        {
            return Err(DataError::Doubled { path, half });
        }
        Ok(())
    }

    /// Refuses the dataset's own class names in another order: its labels would mean other classes.
    fn check_order(&self, names: &[String], path: &Path) -> Result<(), DataError> {
        let plain = |name: &str| name.replace(['_', '-', ' '], "").to_lowercase();
        let known: Vec<String> = self.row.class_names.iter().map(|name| plain(name)).collect();
        let found: Vec<String> = names.iter().map(|name| plain(name)).collect();
        if !found.iter().all(|name| known.contains(name)) {
            return Ok(());
        }
        match known.iter().zip(&found).position(|(known, found)| known != found) {
            None => Ok(()),
            Some(class) => Err(DataError::ClassesDiffer {
                path: path.to_owned(),
                other: format!("the published {}", self.row.name),
                class,
                wanted: self.row.class_names[class].to_owned(),
                found: names[class].clone(),
            }),
        }
    }
}

impl FromStr for DatasetSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (name, place) = text.split_once(':').map_or((text, None), |(name, place)| (name, Some(place)));
        let row = names::find(DATASETS, name).map_err(|unknown| {
            // A path alone: the names are there to say what form it has.
            if name.starts_with(['/', '.', '~']) || (place.is_none() && Path::new(name).exists()) {
                DataError::Nameless { text: text.to_owned(), known: known() }
            } else {
                unknown.into()
            }
        })?;
        let bad =
            |found, hint| Err(DataError::BadSpec { text: text.to_owned(), wanted: row.form, found, hint });
        match (row.place, place) {
            (Place::BuiltIn, None) => Ok(Self { row, path: PathBuf::new(), number: None }),
            (Place::BuiltIn, Some(_)) => {
                bad("something after the name", "the sample is built in; give its name alone")
            }
            (_, None) if row.kept.is_some() => Ok(Self { row, path: PathBuf::new(), number: None }),
            (_, None | Some("")) => bad(
                "no place after a colon",
                "say where the files are, after a colon, as in parquet:data/cifar10",
            ),
            (_, Some(place)) => {
                let (place, number) = numbered(row.number, place);
                match number.map(str::parse::<usize>) {
                    None => Ok(Self { row, path: PathBuf::from(place), number: None }),
                    Some(Ok(number)) if (1..=row.number.most()).contains(&number) => {
                        Ok(Self { row, path: PathBuf::from(place), number: Some(number) })
                    }
                    Some(_) if row.number == Number::Side => bad("a size that is none", OF_SIDES),
                    Some(_) => bad("a severity that is none", "severities are 1 to 5; all without one"),
                }
            }
        }
    }
}

impl fmt::Display for DatasetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row.place {
            Place::Folder | Place::File if !self.path.as_os_str().is_empty() => {
                write!(f, "{}:{}", self.row.name, self.path.display())
            }
            _ => f.write_str(self.row.name),
        }?;
        self.number.map_or(Ok(()), |number| write!(f, "@{number}"))
    }
}

/// A place without the number behind its last `@`, and that number's text, where the dataset takes one and the text is
/// meant as one. A folder whose own name ends so is named with a `/` behind it.
fn numbered(number: Number, place: &str) -> (&str, Option<&str>) {
    let meant = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_digit())
            && text.chars().all(|letter| letter.is_ascii_digit() || letter == 'x')
    };
    match place.rsplit_once('@') {
        Some((place, text)) if number != Number::None && !place.is_empty() && meant(text) => {
            (place, Some(text))
        }
        _ => (place, None),
    }
}

/// Every form, separated by commas: for a usage line or an error.
pub fn known() -> String {
    DATASETS.iter().map(|row| row.form).collect::<Vec<_>>().join(", ")
}

/// A line per dataset with its forms on disk and its default augmentation: for `--help`.
pub fn help() -> String {
    let line = |row: &&DatasetRow| format!("{:<16} {} (augmentation {})\n", row.form, row.about, row.augment);
    DATASETS.iter().map(line).collect()
}
