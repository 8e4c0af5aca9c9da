//! Places in a file where a network may lie: a part, and the prefix of the names in it.

use std::collections::{HashMap, HashSet};

use super::fit::Wanted;
use super::part::Part;

/// Names of more modules within modules are not looked into.
const DEEPEST: usize = 32;
/// Places that are tried for an architecture, at most.
const MOST: usize = 64;

/// A part of a file and a prefix of the names in it, which is empty or ends in a dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spot {
    pub(super) part: usize,
    pub(super) prefix: String,
}

/// Every spot at which some wanted tensor lies, those with most of them first, then in the order of the file.
pub(super) fn spots(parts: &[Part], wanted: &[Wanted]) -> Vec<Spot> {
    let names: HashSet<&str> =
        wanted.iter().filter(|one| !one.may_be_missing()).map(|one| one.name.as_str()).collect();
    counted(parts, |suffix| names.contains(suffix))
}

impl Spot {
    /// Whether everything at the other spot lies here, too.
    pub fn contains(&self, other: &Self) -> bool {
        self.part == other.part && other.prefix.starts_with(&self.prefix)
    }

    /// Every spot of these parts, those with most tensors first.
    pub(super) fn every(parts: &[Part]) -> Vec<Spot> {
        let mut all = counted(parts, |_| true);
        all.truncate(MOST);
        all
    }
}

fn counted(parts: &[Part], counts: impl Fn(&str) -> bool) -> Vec<Spot> {
    let mut found: Vec<(usize, Spot)> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let mut votes: HashMap<&str, (usize, usize)> = HashMap::new();
        for (place, one) in part.tensors.iter().enumerate() {
            let starts = one.bare.match_indices('.').map(|(dot, _)| dot + 1);
            for start in std::iter::once(0).chain(starts).take(DEEPEST) {
                let (prefix, suffix) = one.bare.split_at(start);
                if counts(suffix) {
                    votes.entry(prefix).or_insert((0, place)).0 += 1;
                }
            }
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_by_key(|&(prefix, (_, place))| (place, prefix.len()));
        let spot = |(prefix, (count, _)): (&str, (usize, usize))| {
            (count, Spot { part: index, prefix: prefix.to_owned() })
        };
        found.extend(votes.into_iter().map(spot));
    }
    // Stable: parts and prefixes of equal count stay in the order of the file.
    found.sort_by_key(|(count, _)| usize::MAX - count);
    found.into_iter().map(|(_, spot)| spot).collect()
}
