//! Attacks that judge one after the other under one name.

use names::Table;

use super::row::Attack;

/// Attacks that judge one after the other, each the images that the ones before it left.
#[derive(Debug)]
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Its attacks, in order, each with its options.
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
pub const SUITES: &Table<Suite> = &[
    &Suite {
        name: "autoattack",
        summary: "apgd-ce, apgd-t, fab-t and square, one after the other: the standard evaluation (arXiv:2003.01690)",
        members: &["apgd-ce", "apgd-t", "fab-t", "square"],
    },
    &Suite {
        name: "quick",
        summary: "an upper bound in a thirtieth of autoattack's work: apgd-ce and malt, shortened",
        members: &["apgd-ce:steps=20", "malt:targets=3:steps=30"],
    },
];

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
