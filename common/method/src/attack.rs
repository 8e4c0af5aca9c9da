//! Finding adversarial images, for training and for judging.
//!
//! In training, [`Pgd`] climbs a [`Field`] that the objective lays over images. In judging, an [`Attack`] begins a
//! [`Search`] on each image, and a [`Pool`] asks the network for many of them together. The evaluator alone projects what
//! comes out, checks it and counts. To add one: one file with its own row, and the row in [`ATTACKS`].

mod apgd;
mod ascent;
mod fab;
mod field;
mod margin;
mod pgd;
mod pool;
mod row;
mod search;
mod signed;
mod square;
mod start;
mod victim;

pub use field::{Answers, At, Field};
pub use pgd::{Pgd, Start};
pub use pool::{Asked, End, Pool, Saved};
pub use row::{Attack, Row};
pub use search::{Next, Search, Subject, Unreadable};
pub use start::Starts;
pub use victim::Victim;

use names::{Table, Unknown};

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
    &fab::ROW,
    &square::ROW,
];

/// Attacks that judge one after the other, each the images that the ones before it left.
#[derive(Debug)]
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Its attacks, in order.
    pub members: &'static [&'static str],
}

impl names::Row for Suite {
    const WHAT: &'static str = "suite of attacks";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// Every suite.
pub const SUITES: &Table<Suite> = &[&Suite {
    name: "autoattack",
    summary: "apgd-ce, apgd-t, fab-t and square, one after the other: the standard evaluation (arXiv:2003.01690)",
    members: &["apgd-ce", "apgd-t", "fab-t", "square"],
}];

/// Attacks and suites that are asked for by one name, and judge each by itself.
#[derive(Debug)]
pub struct Panel {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Its attacks and suites, in order.
    pub members: &'static [&'static str],
}

impl names::Row for Panel {
    const WHAT: &'static str = "panel of attacks";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// Every panel.
pub const PANELS: &Table<Panel> = &[&Panel {
    name: "paper",
    summary: "fgsm, pgd-sat, pgd-trades, cw30 and autoattack: a row of RSLAD's tables (arXiv:2108.07969)",
    members: &["fgsm", "pgd-sat", "pgd-trades", "cw30", "autoattack"],
}];

/// Attacks that judge under one name, one after the other, each the images that the ones before it left.
pub struct Chain {
    /// The name under which they are reported.
    pub name: String,
    /// The attacks, in order.
    pub attacks: Vec<Box<dyn Attack>>,
}

/// The attack called `name`.
pub fn find(name: &str) -> Result<Box<dyn Attack>, Unknown> {
    // Clean accuracy is asked for by a name beside the attacks', so the list of known names has it too.
    let known = std::iter::once("clean")
        .chain(ATTACKS.iter().map(|row| row.name))
        .chain(SUITES.iter().map(|suite| suite.name))
        .chain(PANELS.iter().map(|panel| panel.name));
    let spelled = names::spelled::<Row>(name);
    let found = ATTACKS.iter().find_map(|row| (row.make)(name).or_else(|| (row.make)(&spelled)));
    found.ok_or_else(|| Unknown::beside(ATTACKS, name, known))
}

/// The suite called `name`, or the attack alone.
pub fn chain(name: &str) -> Result<Chain, Unknown> {
    let spelled = names::spelled::<Row>(name);
    if let Some(suite) = SUITES.iter().find(|suite| suite.name == spelled) {
        let attacks = suite.members.iter().map(|member| find(member)).collect::<Result<_, _>>()?;
        return Ok(Chain { name: suite.name.into(), attacks });
    }
    let attack = find(name)?;
    Ok(Chain { name: attack.name(), attacks: vec![attack] })
}

/// The attacks and suites of these names and of the panels among them, once each; `clean` is none.
pub fn chains(names: &[String]) -> Result<Vec<Chain>, Unknown> {
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
    fn a_number_of_steps_is_part_of_the_name_and_written_one_way() {
        assert_eq!(find("pgd20").unwrap().name(), "pgd20");
        assert_eq!(find("PGD20").unwrap().name(), "pgd20");
        for bad in ["pgd", "pgd0", "pgd020", "pgd+1", "pgd1.5"] {
            assert!(find(bad).is_err(), "{bad}");
        }
        let error = find("fgms").err().unwrap().to_string();
        let wanted = "unknown attack `fgms`\nhint: did you mean `fgsm`? known: clean, fgsm, pgdN, pgd-sat, pgd-trades, cwN, apgd-ce, apgd-dlr, apgd-t, fab-t, square, autoattack, paper";
        assert_eq!(error, wanted);
    }
}
