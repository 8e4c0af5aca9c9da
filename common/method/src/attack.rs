//! Finding adversarial images, for training and for judging.
//!
//! In training, [`Pgd`] climbs a [`Field`] that the objective lays over images. In judging, an [`Attack`] begins a
//! [`Search`] on each image, and a [`Pool`] asks the network for many of them together. The evaluator alone projects what
//! comes out, checks it and counts. To add one: one file with its own row, and the row in [`ATTACKS`].

mod apgd;
mod fab;
mod field;
#[cfg(test)]
mod known;
mod lead;
mod margin;
mod pgd;
mod pool;
mod row;
mod search;
mod signed;
mod square;
mod start;
mod suite;
mod victim;
mod walk;
mod word;

pub use field::{Answers, At, Field};
pub use lead::Stand;
pub use pgd::{Pgd, Start};
pub use pool::{Asked, End, Pool, Saved};
pub use row::{Attack, Row};
pub use search::{Next, Search, Subject, Unreadable};
pub use start::Starts;
pub use suite::{Chain, PANELS, Panel, SUITES, Suite};
pub use victim::Victim;
pub use word::{NotAnAttack, Wanted};

use std::collections::BTreeMap;

use names::{Table, Unknown};

use crate::options::Options;

/// Every attack.
pub const ATTACKS: &Table<Row> = &[
    &signed::FGSM,
    &signed::PGD,
    &signed::PGD_SAT,
    &signed::PGD_TRADES,
    &signed::CW,
    &apgd::CROSS_ENTROPY,
    &apgd::DLR,
    &apgd::TARGETED,
    &apgd::NEAREST,
    &fab::ROW,
    &square::ROW,
];

/// The attack of this word: a name, and options that differ from the standard.
pub fn find(word: &str) -> Result<Box<dyn Attack>, NotAnAttack> {
    let (name, given) = word::split(word)?;
    let spelled = names::spelled::<Row>(name);
    for row in ATTACKS {
        let standard = Options::of(*row, &BTreeMap::new()).expect("defaults lie within their ranges");
        let answers = |name: &&str| (row.make)(&Wanted::new(name, &standard, row.options)).is_some();
        if let Some(name) = [name, &spelled].into_iter().find(answers) {
            let options = Options::of(*row, &given)?;
            let attack = (row.make)(&Wanted::new(name, &options, row.options));
            return Ok(attack.expect("whether a row answers depends on the name alone"));
        }
    }
    // Clean accuracy is asked for by a name beside the attacks', so the list of known names has it too.
    let known = std::iter::once("clean")
        .chain(ATTACKS.iter().map(|row| row.name))
        .chain(SUITES.iter().map(|suite| suite.name))
        .chain(PANELS.iter().map(|panel| panel.name));
    Err(Unknown::beside(ATTACKS, name, known).into())
}

/// The suite of this name, or the attack of this word alone.
pub fn chain(word: &str) -> Result<Chain, NotAnAttack> {
    let (name, given) = word::split(word)?;
    let spelled = names::spelled::<Row>(name);
    let Some(suite) = SUITES.iter().find(|suite| suite.name == spelled) else {
        let attack = find(word)?;
        return Ok(Chain { name: attack.name(), attacks: vec![attack] });
    };
    if !given.is_empty() {
        return Err(NotAnAttack::Suite { suite: suite.name, members: suite.members.join(",") });
    }
    let attacks = suite.members.iter().map(|member| find(member)).collect::<Result<_, _>>()?;
    Ok(Chain { name: suite.name.into(), attacks })
}

/// The attacks and suites of these names and of the panels among them, once each; `clean` is none.
pub fn chains(names: &[String]) -> Result<Vec<Chain>, NotAnAttack> {
    let mut found: Vec<Chain> = Vec::new();
    for name in names.iter().filter(|name| names::plain(name) != "clean") {
        let panel = PANELS.iter().find(|panel| panel.name == names::plain(name));
        let members = panel.map_or_else(|| vec![name.as_str()], |panel| panel.members.to_vec());
        for member in members {
            let chain = chain(member)?;
            if found.iter().all(|known| known.name != chain.name) {
                found.push(chain);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_stands_for_its_members_and_nothing_is_asked_for_twice() {
        let names = ["clean", "pgd20", "Paper", "cw30"].map(String::from);
        let found: Vec<String> = chains(&names).unwrap().into_iter().map(|chain| chain.name).collect();
        assert_eq!(found, ["pgd20", "fgsm", "pgd-sat", "pgd-trades", "cw30", "autoattack"]);
    }

    #[test]
    fn every_row_answers_to_its_example_and_reports_it() {
        for row in ATTACKS {
            assert_eq!(find(row.example).unwrap().name(), row.example);
        }
    }

    #[test]
    fn a_suite_is_its_attacks_in_order_under_one_name() {
        let names = |name: &str| {
            let chain = chain(name).unwrap();
            (chain.name, chain.attacks.iter().map(|attack| attack.name()).collect::<Vec<_>>())
        };
        let standard = ["apgd-ce", "apgd-t", "fab-t", "square"].map(String::from).to_vec();
        assert_eq!(names("autoattack"), ("autoattack".into(), standard.clone()));
        assert_eq!(names("AA"), ("autoattack".into(), standard));
        assert_eq!(names("FAB"), ("fab-t".into(), vec!["fab-t".into()]));
    }

    #[test]
    fn options_follow_the_name_and_only_what_differs_from_the_standard_is_reported_in_one_order() {
        for (word, reported) in [
            ("apgd-ce:steps=50", "apgd-ce:steps=50"),
            ("APGD:STEPS=100", "apgd-ce"),
            ("apgd-ce:rho=0.75:steps=1e1", "apgd-ce:steps=10"),
            ("apgd-t:steps=20:targets=3", "apgd-t:targets=3:steps=20"),
            ("fab:targets=9:steps=50", "fab-t:steps=50"),
            ("square:p=0.5:queries=1000", "square:queries=1000:p=0.5"),
            ("malt:candidates=9", "malt:candidates=9"),
        ] {
            let attack = find(word).unwrap();
            assert_eq!(attack.name(), reported, "{word}");
            assert_eq!(find(&attack.name()).unwrap().name(), reported);
            assert_eq!(chain(word).unwrap().name, reported);
        }
    }

    #[test]
    fn options_that_are_none_are_refused_with_those_that_are() {
        let refused = |word: &str| chain(word).err().unwrap().to_string();
        assert_eq!(
            refused("apgd-t:step=20"),
            "attack apgd-t has no option `step`\nhint: did you mean `steps`? known: targets, steps, rho"
        );
        assert_eq!(refused("fgsm:steps=20"), "attack fgsm has no option `steps`\nhint: it has none");
        assert_eq!(
            refused("apgd-ce:steps=2.5"),
            "attack apgd-ce: steps = 2.5; wanted a whole number from 1 to 100000\nhint: it is steps of an ascent and by default 100"
        );
        assert!(refused("square:p=2").contains("wanted a number from "));
        let way = "\nhint: options follow the name as KEY=NUMBER, as in apgd-t:targets=3:steps=20";
        for (word, complaint) in [
            ("apgd-ce:50", "`50` has no value"),
            ("apgd-ce:", "`` has no value"),
            ("apgd-ce:steps=", "`` is not a number"),
            ("apgd-ce:steps=many", "`many` is not a number"),
            ("apgd-ce:steps=nan", "`nan` is not a number"),
            ("apgd-ce:steps=5:Steps=6", "`steps` is given twice"),
        ] {
            assert_eq!(refused(word), format!("attack `{word}`: {complaint}{way}"));
        }
        assert_eq!(
            refused("autoattack:steps=5"),
            "`autoattack` is a suite and has no options\nhint: give its attacks with theirs: apgd-ce,apgd-t,fab-t,square"
        );
        assert!(refused("apgd-x:steps=5").starts_with("unknown attack `apgd-x`\nhint: did you mean `apgd-"));
    }

    #[test]
    fn the_line_of_every_suite_but_the_standard_says_that_it_is_an_upper_bound() {
        for suite in SUITES.iter().filter(|suite| suite.name != "autoattack") {
            assert!(suite.summary.starts_with("an upper bound"), "{}", suite.name);
        }
    }

    #[test]
    fn what_few_classes_leave_out_is_said() {
        let said = |word: &str, classes: usize| find(word).unwrap().remark(classes);
        for word in ["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "malt", "pgd20"] {
            assert_eq!(said(word, 10), None, "{word}");
        }
        assert_eq!(said("fab-t", 5).unwrap(), "fab-t aims at 9 other classes: of 5 classes that is all 4");
        assert_eq!(said("fab-t:targets=4", 5), None);
        assert_eq!(
            said("apgd-t", 3).unwrap(),
            "apgd-t aims at 9 other classes: of 3 classes that is all 2\napgd-t climbs a ratio of 4 logits: of 3 classes the plain difference of logits stands in for it"
        );
        assert_eq!(
            said("apgd-dlr", 2).unwrap(),
            "apgd-dlr climbs a ratio of 3 logits: of 2 classes the plain difference of logits stands in for it"
        );
        assert_eq!(said("apgd-dlr", 3), None);
        assert_eq!(said("apgd-ce", 2), None);
    }

    #[test]
    fn a_number_of_steps_is_part_of_the_name_and_written_one_way() {
        assert_eq!(find("pgd20").unwrap().name(), "pgd20");
        assert_eq!(find("PGD20").unwrap().name(), "pgd20");
        for bad in ["pgd", "pgd0", "pgd020", "pgd+1", "pgd1.5"] {
            assert!(find(bad).is_err(), "{bad}");
        }
        let error = find("fgms").err().unwrap().to_string();
        let wanted = "unknown attack `fgms`\nhint: did you mean `fgsm`? known: clean, fgsm, pgdN, pgd-sat, pgd-trades, cwN, apgd-ce, apgd-dlr, apgd-t, malt, fab-t, square, autoattack, quick, paper";
        assert_eq!(error, wanted);
    }
}
