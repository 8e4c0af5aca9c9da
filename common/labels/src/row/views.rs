//! Which views of each image a label set holds: all of them, those of a planned run, or a random few.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The choice of rows, written `all`, `plan:EPOCHS@SEED`, `plan:EPOCHS@FIRST-LAST` or `random:K@SEED`.
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
    /// The views that runs of so many epochs with these seeds visit: exact for each of them, and for shorter ones.
    Plans {
        /// Epochs of each run, at least 1.
        epochs: u32,
        /// The first seed.
        first: u64,
        /// The last one, larger than the first.
        last: u64,
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
            Views::Plans { epochs: planned, first, last } => {
                (first..=last).contains(&seed) && epochs <= planned
            }
        }
    }

    /// The most rows that an image of an augmentation with so many views can have.
    pub fn most_rows(self, all: u32) -> u64 {
        let most = match self {
            Views::All => u64::MAX,
            Views::Plan { epochs: most, .. } | Views::Random { k: most, .. } => most.into(),
            Views::Plans { epochs, first, last } => {
                u64::from(epochs).saturating_mul((last - first).saturating_add(1))
            }
        };
        most.min(all.into())
    }

    /// The choice that has the rows of both and no others, where one has a name: of plans those of the same seeds, or of
    /// as many epochs and seeds that follow on each other, of random views those of the same seed.
    #[must_use]
    pub fn union(self, other: Views) -> Option<Views> {
        match (self.plans(), other.plans()) {
            _ if self == Views::All || other == Views::All => Some(Views::All),
            (Some((epochs, seeds)), Some((other_epochs, other_seeds))) => {
                if seeds == other_seeds {
                    return Some(Views::of_plans(epochs.max(other_epochs), seeds));
                }
                let holds = |[first, last]: [u64; 2], inner: [u64; 2]| first <= inner[0] && inner[1] <= last;
                if epochs >= other_epochs && holds(seeds, other_seeds) {
                    return Some(self);
                }
                if other_epochs >= epochs && holds(other_seeds, seeds) {
                    return Some(other);
                }
                let meet = |one: [u64; 2], next: [u64; 2]| next[0] <= one[1].saturating_add(1);
                let all = [seeds[0].min(other_seeds[0]), seeds[1].max(other_seeds[1])];
                let is_one = epochs == other_epochs && meet(seeds, other_seeds) && meet(other_seeds, seeds);
                is_one.then(|| Views::of_plans(epochs, all))
            }
            _ => match (self, other) {
                (Views::Random { k, seed }, Views::Random { k: other, seed: same }) if seed == same => {
                    Some(Views::Random { k: k.max(other), seed })
                }
                _ => None,
            },
        }
    }

    /// Epochs, first and last seed of planned runs.
    fn plans(self) -> Option<(u32, [u64; 2])> {
        match self {
            Views::Plan { epochs, seed } => Some((epochs, [seed, seed])),
            Views::Plans { epochs, first, last } => Some((epochs, [first, last])),
            Views::All | Views::Random { .. } => None,
        }
    }

    fn of_plans(epochs: u32, [first, last]: [u64; 2]) -> Views {
        if first == last { Views::Plan { epochs, seed: first } } else { Views::Plans { epochs, first, last } }
    }
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Views::All => f.write_str("all"),
            Views::Plan { epochs, seed } => write!(f, "plan:{epochs}@{seed}"),
            Views::Plans { epochs, first, last } => write!(f, "plan:{epochs}@{first}-{last}"),
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
        let number = |seed: &str| seed.parse::<u64>().map_err(|_| unknown());
        let views = match (kind, seed.split_once('-')) {
            ("plan", None) => Views::Plan { epochs: count, seed: number(seed)? },
            ("plan", Some((first, last))) => {
                let (first, last) = (number(first)?, number(last)?);
                if first >= last {
                    return Err(unknown());
                }
                Views::Plans { epochs: count, first, last }
            }
            ("random", None) => Views::Random { k: count, seed: number(seed)? },
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
            ("plan:300@7-9", Views::Plans { epochs: 300, first: 7, last: 9 }),
            ("plan:1@0-18446744073709551615", Views::Plans { epochs: 1, first: 0, last: u64::MAX }),
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
            "plan:3@1-1",
            "plan:3@2-1",
            "plan:3@0-01",
            "plan:3@-1",
            "plan:3@0-1-2",
            "random:2@0-1",
        ] {
            assert!(text.parse::<Views>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_plan_serves_its_own_run_and_shorter_ones() {
        let plan = Views::Plan { epochs: 10, seed: 3 };
        assert!(plan.serves(10, 3) && plan.serves(1, 3));
        assert!(!plan.serves(11, 3) && !plan.serves(10, 4));
        let plans = Views::Plans { epochs: 10, first: 3, last: 5 };
        assert!(plans.serves(10, 3) && plans.serves(10, 5) && plans.serves(2, 4));
        assert!(!plans.serves(11, 4) && !plans.serves(10, 2) && !plans.serves(10, 6));
        assert!(Views::All.serves(1000, 9));
    }

    #[test]
    fn a_union_has_a_name_or_none() {
        let cases = [
            ("plan:3@0", "plan:6@0", Some("plan:6@0")),
            ("plan:3@0", "plan:3@1", Some("plan:3@0-1")),
            ("plan:3@0-1", "plan:3@2-4", Some("plan:3@0-4")),
            ("plan:3@0-3", "plan:3@2-4", Some("plan:3@0-4")),
            ("plan:6@0-3", "plan:3@1-2", Some("plan:6@0-3")),
            ("plan:6@0-3", "plan:9@0-3", Some("plan:9@0-3")),
            (
                "plan:3@18446744073709551614",
                "plan:3@18446744073709551615",
                Some("plan:3@18446744073709551614-18446744073709551615"),
            ),
            ("plan:3@0", "plan:3@2", None),
            ("plan:3@0", "plan:6@1", None),
            ("plan:3@0-3", "plan:6@1-2", None),
            ("random:2@5", "random:4@5", Some("random:4@5")),
            ("random:2@5", "random:4@6", None),
            ("random:2@0", "plan:3@0", None),
            ("random:2@0", "all", Some("all")),
        ];
        for (one, other, wanted) in cases {
            let [one, other]: [Views; 2] = [one, other].map(|text| text.parse().unwrap());
            let wanted: Option<Views> = wanted.map(|text| text.parse().unwrap());
            assert_eq!((one.union(other), other.union(one)), (wanted, wanted), "{one} and {other}");
            assert_eq!(one.union(one), Some(one));
        }
    }
}
