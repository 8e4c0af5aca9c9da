//! Lists of images and their classes in text files.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use crate::DataError;

/// A list of more bytes is none.
const MOST_BYTES: u64 = 256 << 20;

/// The text of a list.
pub(crate) fn text(path: &Path) -> Result<String, DataError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| DataError::io(path, source))?;
    String::from_utf8(bytes).map_err(|error| {
        DataError::other_form(path, "a list as text", error.as_bytes(), "unpack the dataset again")
    })
}

/// The cells of two columns by their names in the first line, with `;` or `,` between cells.
pub(crate) fn columns(path: &Path, wanted: [&str; 2]) -> Result<Vec<[String; 2]>, DataError> {
    let text = text(path)?;
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let head = lines.next().unwrap_or_default();
    let between = if head.contains(';') { ';' } else { ',' };
    let place = |name: &str| head.split(between).position(|cell| cell.trim() == name);
    let [Some(first), Some(second)] = wanted.map(place) else {
        return Err(DataError::WrongContent {
            path: path.to_owned(),
            wanted: format!("columns {}", wanted.join(" and ")),
            found: format!("`{}`", head.chars().take(80).collect::<String>()),
            hint: "a list without classes is that of the competition; the one with them is an archive of its own",
        });
    };
    let cells = |line: &str| {
        let cell = |at: usize| line.split(between).nth(at).unwrap_or_default().to_owned();
        [cell(first), cell(second)]
    };
    Ok(lines.filter(|line| !line.trim().is_empty()).map(cells).collect())
}

/// A name in a list as that of a file in its folder. Errors: it leads out of it, or to none.
pub(crate) fn file_name<'a>(name: &'a str, list: &Path, row: usize) -> Result<&'a str, DataError> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(DataError::WrongContent {
            path: list.to_owned(),
            wanted: format!("the name of a file in line {}", row + 1),
            found: format!("`{}`", name.escape_debug().take(80).collect::<String>()),
            hint: "images lie in one folder, and a list names no others; unpack the dataset again",
        }),
    }
}
