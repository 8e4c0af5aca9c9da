//! An attack in one word: its name, then what is to differ from the standard, as in `apgd-t:targets=3:steps=20`.

use std::collections::BTreeMap;
use std::fmt::Write;

use names::Unknown;

use crate::options::{Choice, OptionError, Options};

/// A word that names no attack.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotAnAttack {
    /// No attack has that name.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The attack has no such option, or not with that value.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// What follows the name is no option.
    #[error(
        "attack `{word}`: {complaint}\nhint: options follow the name as KEY=NUMBER, as in apgd-t:targets=3:steps=20"
    )]
    Form {
        /// The whole word.
        word: String,
        /// What is wrong with it.
        complaint: String,
    },
    /// A suite's attacks are as they are.
    #[error("`{suite}` is a suite and has no options\nhint: give its attacks with theirs: {members}")]
    Suite {
        /// Its name.
        suite: &'static str,
        /// Its attacks.
        members: String,
    },
}

/// An attack as it was asked for.
pub struct Wanted<'a> {
    /// Its name alone.
    pub name: &'a str,
    /// A value for every option of its row.
    pub options: &'a Options,
    /// The name under which it is reported: with the options that differ from the standard, in the row's order.
    pub reported: String,
}

impl<'a> Wanted<'a> {
    /// As asked for by a name of a row with these options.
    pub(super) fn new(name: &'a str, options: &'a Options, choices: &[Choice]) -> Self {
        let mut reported = name.to_string();
        for Choice { key, default, .. } in choices {
            let value = options.get(key);
            if value.to_bits() != default.to_bits() {
                write!(reported, ":{key}={value}").expect("a string takes text");
            }
        }
        Self { name, options, reported }
    }

    /// A whole number of the row's options.
    pub(super) fn count(&self, key: &str) -> usize {
        self.options.get(key) as usize
    }
}

/// The name in a word, and what is given with it.
pub(super) fn split(word: &str) -> Result<(&str, BTreeMap<String, f64>), NotAnAttack> {
    let mut parts = word.split(':');
    let name = parts.next().unwrap_or_default().trim();
    let mut given = BTreeMap::new();
    for part in parts {
        let bad = |complaint: String| NotAnAttack::Form { word: word.into(), complaint };
        let (key, text) = part.split_once('=').ok_or_else(|| bad(format!("`{part}` has no value")))?;
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| bad(format!("`{text}` is not a number")))?;
        let key = names::plain(key);
        if given.insert(key.clone(), number).is_some() {
            return Err(bad(format!("`{key}` is given twice")));
        }
    }
    Ok((name, given))
}
