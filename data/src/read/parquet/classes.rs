//! The classes that the files of a dataset name, or that occur in them.

use std::path::Path;

use crate::DataError;
use crate::dataset::MOST_CLASSES;

/// What is known of the classes so far.
#[derive(Default)]
pub(super) struct Classes {
    /// The names, and the file that they were read from.
    names: Option<(Vec<String>, String)>,
    /// The largest label seen.
    largest: i64,
}

impl Classes {
    /// Takes the names of another file, which must number the classes as those before it did.
    ///
    /// A list that goes on where another ends numbers them alike.
    pub(super) fn add(&mut self, names: Option<Vec<String>>, path: &Path) -> Result<(), DataError> {
        let Some(names) = names else { return Ok(()) };
        let file = || path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let Some((known, other)) = &self.names else {
            self.names = Some((names, file()));
            return Ok(());
        };
        if let Some(class) = known.iter().zip(&names).position(|(known, found)| known != found) {
            return Err(DataError::ClassesDiffer {
                path: path.to_owned(),
                other: other.clone(),
                class,
                wanted: known[class].clone(),
                found: names[class].clone(),
            });
        }
        if names.len() > known.len() {
            self.names = Some((names, file()));
        }
        Ok(())
    }

    /// How many are named.
    pub(super) fn count(&self) -> Option<usize> {
        self.names.as_ref().map(|(names, _)| names.len())
    }

    /// Takes labels that occur. Those that are no class index are for the reader of their part to refuse.
    pub(super) fn note(&mut self, labels: impl IntoIterator<Item = i64>) {
        let classes = labels.into_iter().filter(|&label| label < MOST_CLASSES as i64);
        self.largest = classes.fold(self.largest, i64::max);
    }

    /// The names, or where none are known, on request, a number for each class up to the largest label.
    pub(super) fn finish(self, counted: bool) -> Option<Vec<String>> {
        let numbers = || (0..=self.largest).map(|class| class.to_string()).collect();
        match self.names {
            Some((names, _)) => Some(names),
            None => counted.then(numbers),
        }
    }
}
