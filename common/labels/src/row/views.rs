//! Which views of each image a label set holds: all of them, those of a planned run, or a random few.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The choice of rows, written `all`, `plan:EPOCHS@SEED` or `random:K@SEED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Views {
    /// Every view of every image: exact for every run.
    All,
    /// The views that a run of so many epochs with that seed visits: exact for that run, or a shorter one with that seed.
    Plan {
        /// Epochs of the planned run, at least 1.
        epochs: u32,
        /// Seed of the planned run.
        seed: u64,
    },
    /// A few distinct views of each image; a run draws among them.
    Random {
        /// Views of each image, at least 1.
        k: u32,
        /// Seed of the draw.
        seed: u64,
    },
}

impl Views {
    /// Whether a run of `epochs` with `seed` finds every row it will ask for.
    ///
    /// `random` always serves, because the run draws among the rows that exist.
    pub fn serves(self, epochs: u32, seed: u64) -> bool {
        match self {
            Views::All | Views::Random { .. } => true,
            Views::Plan { epochs: planned, seed: plan_seed } => seed == plan_seed && epochs <= planned,
        }
    }
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Views::All => f.write_str("all"),
            Views::Plan { epochs, seed } => write!(f, "plan:{epochs}@{seed}"),
            Views::Random { k, seed } => write!(f, "random:{k}@{seed}"),
        }
    }
}

impl FromStr for Views {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownViews { text: text.into() };
        if text == "all" {
            return Ok(Views::All);
        }
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (count, seed) = rest.split_once('@').ok_or_else(unknown)?;
        let count: u32 = count.parse().map_err(|_| unknown())?;
        let seed: u64 = seed.parse().map_err(|_| unknown())?;
        let views = match kind {
            "plan" => Views::Plan { epochs: count, seed },
            "random" => Views::Random { k: count, seed },
            _ => return Err(unknown()),
        };
        // One choice, one spelling: the text goes into manifests and is compared there.
        if count == 0 || views.to_string() != text {
            return Err(unknown());
        }
        Ok(views)
    }
}

crate::row::dtype::serde_as_name!(Views);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_read_back_as_they_are_written() {
        let specs = [
            ("all", Views::All),
            ("plan:300@7", Views::Plan { epochs: 300, seed: 7 }),
            ("random:8@18446744073709551615", Views::Random { k: 8, seed: u64::MAX }),
        ];
        for (text, views) in specs {
            assert_eq!(text.parse::<Views>().unwrap(), views);
            assert_eq!(views.to_string(), text);
        }
    }

    #[test]
    fn malformed_specs_are_refused() {
        for text in [
            "",
            "All",
            "plan",
            "plan:3",
            "plan:0@1",
            "plan:3@",
            "plan:03@1",
            "plan:+3@1",
            "random:2@-1",
            "all:1@2",
            "random:0@0",
        ] {
            assert!(text.parse::<Views>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_plan_serves_its_own_run_and_shorter_ones() {
        let plan = Views::Plan { epochs: 10, seed: 3 };
        assert!(plan.serves(10, 3) && plan.serves(1, 3));
        assert!(!plan.serves(11, 3) && !plan.serves(10, 4));
        assert!(Views::All.serves(1000, 9));
    }
}
