//! Looking into the folders that people keep datasets in.

mod walk;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use walk::{Passed, folders, images};

use crate::{DataError, Split};

/// The folder itself and those of `inside` that exist under it, in that order.
pub(crate) fn roots(folder: &Path, inside: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    if !folder.is_dir() {
        let found = if folder.exists() { "a file" } else { "nothing" };
        return Err(DataError::WrongPlace { path: folder.to_owned(), wanted: "folder", found });
    }
    let inside = inside.iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
    Ok(std::iter::once(folder.to_owned()).chain(inside).collect())
}

/// The names in a folder, sorted. Those that begin with a dot are nobody's business: systems and tools leave them.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = fs::read_dir(folder).map_err(|source| DataError::io(folder, source))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| DataError::io(folder, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The first few names in a folder, for a hint.
fn glimpse(folder: &Path) -> String {
    const SHOWN: usize = 8;
    match names(folder) {
        Err(_) => "files that cannot be listed".to_owned(),
        Ok(names) if names.is_empty() => "nothing".to_owned(),
        Ok(names) if names.len() <= SHOWN => names.join(", "),
        Ok(names) => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

/// All files of a form in a folder, none if it holds none of them, an error if it holds only some.
pub(crate) fn all_or_none(folder: &Path, wanted: &[String]) -> Result<Option<Vec<PathBuf>>, DataError> {
    let paths: Vec<PathBuf> = wanted.iter().map(|name| folder.join(name)).collect();
    let Some(found) = paths.iter().position(|path| path.is_file()) else {
        return Ok(None);
    };
    if let Some(missing) = paths.iter().position(|path| !path.is_file()) {
        let (missing, found) = (wanted[missing].clone(), wanted[found].clone());
        return Err(DataError::MissingPart { folder: folder.to_owned(), missing, found });
    }
    Ok(Some(paths))
}

/// The error of a folder that holds none of the forms; `inside` are the folders in it that were searched too.
pub(crate) fn nothing(
    folder: &Path,
    dataset: &'static str,
    split: Split,
    looked_for: &str,
    inside: &[&str],
) -> DataError {
    let inside =
        if inside.is_empty() { String::new() } else { format!("; also inside {}", inside.join(", ")) };
    DataError::NothingFound {
        folder: folder.to_owned(),
        dataset,
        split,
        looked_for: format!("{looked_for}{inside}"),
        found: glimpse(folder),
    }
}
