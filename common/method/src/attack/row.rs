//! What an attack is: what it is told, what it gives, and its row in the table.

use super::search::{Search, Subject};
use super::word::Wanted;
use crate::options::{Choice, Tunable};

/// An attack that judges: how it begins on an image.
pub trait Attack: Send + Sync {
    /// The name under which it is reported.
    fn name(&self) -> String;

    /// Whether its searches want gradients; else logits are all they are told.
    fn climbs(&self) -> bool;

    /// Whether it goes its whole way even where the network is wrong: only then do its images say something of another
    /// network.
    fn transfers(&self) -> bool {
        false
    }

    /// Whether another run of it may find what the first did not.
    fn is_random(&self) -> bool {
        true
    }

    /// The search on one image.
    fn begin(&self, subject: Subject) -> Box<dyn Search>;

    /// What is different with so few classes, where anything is: to be said beside the figure.
    fn remark(&self, classes: usize) -> Option<String> {
        let _ = classes;
        None
    }
}

/// An attack that the command line knows.
pub struct Row {
    /// Its name; `N` stands for a number.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// One name that it answers to.
    pub example: &'static str,
    /// What a user may choose, in the order in which reported names list it.
    pub options: &'static [Choice],
    /// Makes it where the name is one of its own, whatever the options are.
    pub make: fn(&Wanted) -> Option<Box<dyn Attack>>,
}

impl Tunable for Row {
    fn options(&self) -> &'static [Choice] {
        self.options
    }
}

impl names::Row for Row {
    const WHAT: &'static str = "attack";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn example(&self) -> &'static str {
        self.example
    }

    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("aa", "autoattack"),
        ("auto-attack", "autoattack"),
        ("autoattack-standard", "autoattack"),
        ("apgd", "apgd-ce"),
        ("fab", "fab-t"),
        ("fabt", "fab-t"),
        ("apgdt", "apgd-t"),
        ("apgd-dlr-t", "apgd-t"),
        ("square-attack", "square"),
    ];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("cw", "`cwN` has its number of steps in its name, as in `cw30`"),
        ("pgd", "`pgdN` has its number of steps in its name, as in `pgd20`"),
        ("pgd-20", "written in one word: `pgd20`"),
        ("pgd-10", "written in one word: `pgd10`"),
        ("bim", "`pgdN` starts at random within eps; `fgsm` is one step from the image"),
        ("none", "`clean` is the accuracy without an attack"),
    ];
}
