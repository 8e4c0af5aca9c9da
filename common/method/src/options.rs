//! Numbers that a method lets its user choose: declared by the method's row, checked against it, read by its maker.

use std::collections::BTreeMap;

use names::{Row, Unknown};

/// A number that a method lets its user choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its name in settings.
    pub key: &'static str,
    /// Its value where nobody chooses.
    pub default: f64,
    /// The smallest value that makes sense.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Whether only whole numbers make sense.
    pub is_whole: bool,
    /// What it means, in a line.
    pub help: &'static str,
}

/// A row whose thing has options of its own.
pub trait Tunable: Row {
    /// Its options, in the order in which help shows them.
    fn options(&self) -> &'static [Choice];
}

/// Options that do not fit the thing they were given to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionError {
    /// The row declares no such option.
    #[error("{what} {name} has no option `{key}`\n{hint}")]
    Unknown {
        /// What the row is.
        what: &'static str,
        /// Its name.
        name: &'static str,
        /// The key given.
        key: String,
        /// The near ones, or that there are none.
        hint: String,
    },
    /// An option of an addition that was not chosen.
    #[error(
        "{key} belongs to {addition}, which was not chosen\nhint: add --set {addition}=.., or drop {key}"
    )]
    NotAdded {
        /// The option.
        key: String,
        /// Its addition.
        addition: &'static str,
    },
    /// An addition that changes what is learned under attack, and an objective that does not attack.
    #[error(
        "{addition} is about images that an attack makes, and objective {name} does not attack\nhint: drop {addition}, or choose another --objective"
    )]
    NoAttack {
        /// The addition.
        addition: &'static str,
        /// The objective.
        name: &'static str,
    },
    /// A method whose released code is not known to do otherwise than its authors say.
    #[error(
        "objective {name} is as published already: nothing is known to differ in its authors' code\nhint: drop as-published"
    )]
    NotPublishedOtherwise {
        /// The method.
        name: &'static str,
    },
    /// A value outside the option's range, or not a number.
    #[error(
        "{what} {name}: {} = {value}; wanted a {}number from {} to {}\nhint: it is {} and by default {}",
        .choice.key, if .choice.is_whole { "whole " } else { "" }, .choice.least, .choice.most, .choice.help, .choice.default
    )]
    OutOfRange {
        /// What the row is.
        what: &'static str,
        /// Its name.
        name: &'static str,
        /// The option.
        choice: Choice,
        /// The value given.
        value: f64,
    },
}

/// A value for every option of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    values: BTreeMap<&'static str, f64>,
    as_published: bool,
}

impl Options {
    /// The row's defaults with `given` laid over; refuses what the row does not declare or allow.
    pub fn of<R: Tunable>(row: &R, given: &BTreeMap<String, f64>) -> Result<Self, OptionError> {
        let (what, name, choices) = (R::WHAT, row.name(), row.options());
        let mut values: BTreeMap<_, _> = choices.iter().map(|choice| (choice.key, choice.default)).collect();
        for (key, &value) in given {
            let Some(&choice) = choices.iter().find(|choice| choice.key == key) else {
                let hint = if choices.is_empty() {
                    "hint: it has none".into()
                } else {
                    Unknown::new("option", key, choices.iter().map(|choice| choice.key)).hint().into()
                };
                return Err(OptionError::Unknown { what, name, key: key.clone(), hint });
            };
            let is_fit = !choice.is_whole || value.fract() == 0.0;
            if !is_fit || !(choice.least..=choice.most).contains(&value) {
                return Err(OptionError::OutOfRange { what, name, choice, value });
            }
            values.insert(choice.key, value);
        }
        Ok(Self { values, as_published: false })
    }

    /// With what the authors' released code does against their own words, or without.
    #[must_use]
    pub fn published(self, as_published: bool) -> Self {
        Self { as_published, ..self }
    }

    /// Whether the method is to do what its authors' released code does.
    pub fn as_published(&self) -> bool {
        self.as_published
    }

    /// The value of an option that the row declares.
    pub fn get(&self, key: &str) -> f64 {
        *self.values.get(key).expect("a row's maker reads the options that the row declares")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tea(&'static [Choice]);

    impl Row for Tea {
        const WHAT: &'static str = "tea";

        fn name(&self) -> &'static str {
            "green"
        }

        fn summary(&self) -> &'static str {
            "not fermented"
        }
    }

    impl Tunable for Tea {
        fn options(&self) -> &'static [Choice] {
            self.0
        }
    }

    const CHOICES: &[Choice] = &[
        Choice {
            key: "minutes",
            default: 3.0,
            least: 1.0,
            most: 10.0,
            is_whole: false,
            help: "how long it draws",
        },
        Choice {
            key: "degrees",
            default: 80.0,
            least: 0.0,
            most: 100.0,
            is_whole: true,
            help: "how hot the water is",
        },
    ];

    fn given(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|&(key, value)| (key.to_string(), value)).collect()
    }

    #[test]
    fn what_nobody_chose_has_its_default() {
        let options = Options::of(&Tea(CHOICES), &given(&[("degrees", 70.0)])).unwrap();
        assert_eq!(
            [options.get("minutes"), options.get("degrees")].map(f64::to_bits),
            [3f64.to_bits(), 70f64.to_bits()]
        );
    }

    #[test]
    fn an_unknown_option_is_answered_with_a_near_one() {
        let error = Options::of(&Tea(CHOICES), &given(&[("minute", 2.0)])).unwrap_err().to_string();
        assert_eq!(
            error,
            "tea green has no option `minute`\nhint: did you mean `minutes`? known: minutes, degrees"
        );
        let error = Options::of(&Tea(&[]), &given(&[("minutes", 2.0)])).unwrap_err().to_string();
        assert_eq!(error, "tea green has no option `minutes`\nhint: it has none");
    }

    #[test]
    fn a_value_outside_its_range_is_refused_with_the_range() {
        for value in [0.5, 11.0, f64::NAN, f64::INFINITY] {
            let error = Options::of(&Tea(CHOICES), &given(&[("minutes", value)])).unwrap_err().to_string();
            assert!(
                error.contains("wanted a number from 1 to 10") && error.contains("by default 3"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_option_of_whole_numbers_takes_no_others() {
        let error = Options::of(&Tea(CHOICES), &given(&[("degrees", 70.5)])).unwrap_err().to_string();
        assert!(error.contains("degrees = 70.5; wanted a whole number from 0 to 100"), "{error}");
    }
}
