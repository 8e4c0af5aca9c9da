//! Which files of a folder hold a part: all of one set, none of another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::folder;
use crate::{DataError, Split};

/// The split's shards in a folder, in the order of their names: `train-*.parquet`, `train.parquet` or `train/*.parquet`.
///
/// Errors: one of `train-00000-of-00003.parquet` and so on is missing, with or without a fingerprint behind its number;
/// or files of two generations stand side by side.
pub(crate) fn shards(root: &Path, split: Split) -> Result<Option<Vec<PathBuf>>, DataError> {
    let ours = |name: &str| {
        let rest = name.strip_prefix(split.name()).and_then(|rest| rest.strip_suffix(".parquet"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    };
    let mut found: Vec<String> = folder::names(root)?.into_iter().filter(|name| ours(name)).collect();
    let mut home = root.to_owned();
    if root.join(split.name()).is_dir() {
        let inside = root.join(split.name());
        let parquet = |name: &String| Path::new(name).extension().is_some_and(|end| end == "parquet");
        let names: Vec<String> = folder::names(&inside)?.into_iter().filter(parquet).collect();
        match (found.first(), names.first()) {
            (Some(found), Some(other)) => {
                let other = format!("{split}/{other}");
                return Err(DataError::TwoSets { folder: home, split, found: found.clone(), other });
            }
            (None, Some(_)) => (home, found) = (inside, names),
            _ => {}
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    check(&home, split, &found)?;
    Ok(Some(found.into_iter().map(|name| home.join(name)).collect()))
}

/// The files that [`shards`] looks for, for an error.
pub(crate) fn file_names(split: Split) -> String {
    format!("{split}-*.parquet, {split}.parquet, {split}/*.parquet")
}

/// A shard's place in its set: 1 of 3 from `train-00001-of-00003.parquet`.
struct Number<'a> {
    /// What stands before the number, and the number as it is written.
    stem: &'a str,
    digits: &'a str,
    /// The number of shards as it is written.
    count: &'a str,
    /// Whether something of the shard's own, a fingerprint, stands behind.
    marked: bool,
}

impl<'a> Number<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let (before, after) = name.strip_suffix(".parquet")?.split_once("-of-")?;
        let (count, mark) = after.split_once('-').unwrap_or((after, ""));
        let at = before.rfind(|letter: char| !letter.is_ascii_digit()).map_or(0, |at| at + 1);
        let (stem, digits) = before.split_at(at);
        let plain =
            |text: &str| !text.is_empty() && text.len() < 10 && text.bytes().all(|b| b.is_ascii_digit());
        let fits = plain(digits) && plain(count) && mark.bytes().all(|letter| letter.is_ascii_alphanumeric());
        fits.then_some(Self { stem, digits, count, marked: !mark.is_empty() })
    }

    fn index(&self) -> usize {
        self.digits.parse().expect("nine digits are a number")
    }

    /// The name of another shard of the same set.
    fn sibling(&self, index: usize) -> String {
        let Self { stem, digits, count, marked } = self;
        let mark = if *marked { "-*" } else { "" };
        format!("{stem}{index:0width$}-of-{count}{mark}.parquet", width = digits.len())
    }
}

/// Refuses names that are not one whole set.
fn check(home: &Path, split: Split, names: &[String]) -> Result<(), DataError> {
    let two = |found: &str, other: &str| {
        let (found, other) = (found.to_owned(), other.to_owned());
        Err(DataError::TwoSets { folder: home.to_owned(), split, found, other })
    };
    let numbered: Vec<(&str, Number)> =
        names.iter().filter_map(|name| Some((name.as_str(), Number::of(name)?))).collect();
    let Some((first_name, first)) = numbered.first() else {
        let whole = format!("{split}.parquet");
        // One name beside the whole part: read together they would hold images twice.
        return match names.iter().find(|name| **name != whole) {
            Some(other) if names.contains(&whole) => two(&whole, other),
            _ => counted_from_zero(home, names),
        };
    };
    if let Some(other) = names.iter().find(|name| Number::of(name).is_none()) {
        return two(first_name, other);
    }
    let mut seen = BTreeSet::new();
    for (name, number) in &numbered {
        if number.count != first.count || number.stem != first.stem || !seen.insert(number.index()) {
            let same = |(_, other): &&(&str, Number)| other.index() == number.index();
            let twin = numbered.iter().filter(|(other, _)| other != name).find(same);
            return two(twin.map_or(first_name, |(twin, _)| twin), name);
        }
    }
    let count: usize = first.count.parse().expect("nine digits are a number");
    let missing = (0..count).find(|index| !seen.contains(index));
    missing.map_or(Ok(()), |index| Err(missing_part(home, first.sibling(index), first_name)))
}

/// Names that are nothing but numbers, as `0000.parquet`, count from 0 without a gap.
fn counted_from_zero(home: &Path, names: &[String]) -> Result<(), DataError> {
    let stem = |name: &String| name.strip_suffix(".parquet").map(str::to_owned);
    let numbers = names.iter().map(|name| stem(name)?.parse::<usize>().ok()).collect::<Option<BTreeSet<_>>>();
    let width = stem(&names[0]).map_or(0, |stem| stem.len());
    let missing = numbers.and_then(|numbers| (0..names.len()).find(|index| !numbers.contains(index)));
    missing.map_or(Ok(()), |index| Err(missing_part(home, format!("{index:0width$}.parquet"), &names[0])))
}

fn missing_part(folder: &Path, missing: String, found: &str) -> DataError {
    DataError::MissingPart { folder: folder.to_owned(), missing, found: found.to_owned() }
}
