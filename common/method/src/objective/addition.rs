//! What can be added to any objective, and an objective with all that its user chose.

use std::collections::BTreeMap;

use names::{Table, Unknown};

use super::row::{Objective, Row};
use crate::options::{Choice, OptionError, Options, Tunable};

/// Every addition.
pub const ADDITIONS: &Table<Addition> = &[];

/// A term or a change that goes with any objective. It is there where its user chose a value for the option that has its
/// name, and is made around the objective: an [`Objective`] that asks the other one first.
pub struct Addition {
    /// Its name, and the key of its first option.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// The numbers that its user may choose. No objective has options of these names.
    pub options: &'static [Choice],
    /// Makes it around an objective.
    pub make: fn(&Options, Box<dyn Objective>) -> Box<dyn Objective>,
}

impl names::Row for Addition {
    const WHAT: &'static str = "addition";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

impl Tunable for Addition {
    fn options(&self) -> &'static [Choice] {
        self.options
    }
}

/// The objective of a row with these options, of its own and of additions, and with what is added to it, in the table's
/// order. Refuses options that nobody has, values out of range, options of an addition that was not chosen, and
/// `as_published` where nothing is known to have been published otherwise.
pub fn compose(
    row: &'static Row,
    given: &BTreeMap<String, f64>,
    as_published: bool,
) -> Result<Box<dyn Objective>, OptionError> {
    if as_published && row.as_published.is_none() {
        return Err(OptionError::NotPublishedOtherwise { name: row.name });
    }
    let of = |choices: &[Choice]| -> BTreeMap<String, f64> {
        let is_its = |key: &str| choices.iter().any(|choice| choice.key == key);
        given.iter().filter(|(key, _)| is_its(key)).map(|(key, &value)| (key.clone(), value)).collect()
    };
    let known = || row.options.iter().chain(ADDITIONS.iter().flat_map(|addition| addition.options));
    if let Some(key) = given.keys().find(|key| known().all(|choice| choice.key != key.as_str())) {
        let hint = Unknown::new("option", key, known().map(|choice| choice.key)).hint().into();
        return Err(OptionError::Unknown { what: "objective", name: row.name, key: key.clone(), hint });
    }
    let mut objective = (row.make)(&Options::of(row, &of(row.options))?.published(as_published));
    for addition in ADDITIONS {
        let chosen = of(addition.options);
        if chosen.contains_key(addition.name) {
            objective = (addition.make)(&Options::of(*addition, &chosen)?.published(as_published), objective);
        } else if let Some(key) = chosen.into_keys().next() {
            return Err(OptionError::NotAdded { key, addition: addition.name });
        }
    }
    Ok(objective)
}
