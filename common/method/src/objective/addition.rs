//! What can be added to any objective, and an objective with all that its user chose.

use std::collections::BTreeMap;

use names::{Table, Unknown};

use super::row::{Objective, Row};
use super::{dpk, igdm};
use crate::options::{Choice, OptionError, Options, Tunable};

/// Every addition.
pub const ADDITIONS: &Table<Addition> = &[&igdm::ROW, &dpk::ROW];

/// A term or a change that goes with any objective. It is there where its user chose a value for the option that has its
/// name, and is made around the objective: an [`Objective`] that asks the other one first.
pub struct Addition {
    /// Its name, and the key of its first option.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// The numbers that its user may choose. No objective has options of these names.
    pub options: &'static [Choice],
    /// Whether it only goes with an objective that attacks.
    pub needs_attack: bool,
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
/// order. Refuses options that nobody has, values out of range, options of an addition that was not chosen, an
/// addition to an attack that there is not, and `as_published` where nothing is known to have been published otherwise.
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
            if addition.needs_attack && objective.inner().is_none() {
                return Err(OptionError::NoAttack { addition: addition.name, name: row.name });
            }
            objective = (addition.make)(&Options::of(*addition, &chosen)?.published(as_published), objective);
        } else if let Some(key) = chosen.into_keys().next() {
            return Err(OptionError::NotAdded { key, addition: addition.name });
        }
    }
    Ok(objective)
}

#[cfg(test)]
mod tests {
    use super::super::{Forward, find};
    use super::*;
    use crate::objective::Epoch;
    use crate::schedule::Schedule;

    fn composed(
        name: &str,
        given: &[(&str, f64)],
        as_published: bool,
    ) -> Result<Box<dyn Objective>, OptionError> {
        let given = given.iter().map(|&(key, value)| (key.to_string(), value)).collect();
        compose(find(name).unwrap(), &given, as_published)
    }

    fn refused(name: &str, given: &[(&str, f64)], as_published: bool) -> String {
        composed(name, given, as_published).err().expect("refused").to_string()
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_a_way_out() {
        let text = refused("rslad", &[("igmd", 0.9)], false);
        assert!(text.contains("no option `igmd`") && text.contains("did you mean `igdm`?"), "{text}");
        let text = refused("rslad", &[("beta", 1.0)], false);
        assert!(text.contains("objective rslad has no option `beta`"), "{text}");
        let text = refused("rslad", &[("igdm", -1.0)], false);
        assert!(text.contains("addition igdm: igdm = -1; wanted a number from 0"), "{text}");
        let text = refused("natural", &[("igdm", 1.0)], false);
        assert!(text.contains("objective natural does not attack\nhint: drop igdm"), "{text}");
        let text = refused("rslad", &[], true);
        assert!(text.contains("objective rslad is as published already"), "{text}");
    }

    #[test]
    fn an_addition_is_there_where_it_was_chosen_and_its_bases_option_reaches_the_base() {
        let epoch = Epoch { number: 0, of: 9, schedule: Schedule::Cosine };
        let bare = composed("adaad", &[("alpha", 0.5)], false).unwrap();
        assert!(!bare.forwards(epoch).contains(&Forward::Opposite) && !bare.needs().is_cached());
        let added = composed("adaad", &[("alpha", 0.5), ("igdm", 2.0)], false).unwrap();
        // adaad_IGDM_cifar100.py of Xavaitron/VLM_Distillation: plus, clean, minus, and the adversarial images once more.
        let released = [Forward::Adversarial, Forward::Clean, Forward::Opposite, Forward::Adversarial];
        assert_eq!(added.forwards(epoch), released);
        assert!(added.needs().teacher.climbed && added.needs().teacher.wants_clean());
        // rslad_IGDM_cifar100.py there: the inner loss's own adversarial forward, then plus, clean, minus.
        let added = composed("rslad", &[("igdm", 0.9)], false).unwrap();
        let released = [Forward::Adversarial, Forward::Adversarial, Forward::Clean, Forward::Opposite];
        assert_eq!(added.forwards(epoch), released);
        assert!(added.needs().teacher.is_live() && !added.needs().teacher.climbed);
        assert!(added.needs().teacher.wants_clean(), "rslad's labels stay cached");
    }

    #[test]
    fn the_lost_drop_is_there_where_it_was_asked_for() {
        let twice = Schedule::After("100,150".parse().unwrap());
        for name in ["iad", "iad-ii"] {
            let factor = |as_published| {
                let schedule = composed(name, &[("igdm", 1.0)], as_published).unwrap().schedule(twice, 200);
                [99, 100, 150].map(|epoch| schedule.factor(epoch, 200))
            };
            let near = |found: [f64; 3], wanted: [f64; 3]| {
                found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12)
            };
            // ZFancy/IAD IAD-I.py, IAD-II.py: 0.1, then 0.01 to the end.
            assert!(near(factor(true), [1.0, 0.1, 0.1]), "{name}: {:?}", factor(true));
            assert!(near(factor(false), [1.0, 0.1, 0.01]), "{name}: {:?}", factor(false));
        }
    }
}
