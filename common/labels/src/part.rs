//! A machine's share of work that several machines do.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Part `index` of `of`, counted from 0 as schedulers count; written `0/3`, `1/3`, `2/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, below `of`.
    pub index: usize,
    /// Of how many, 1 to a million.
    pub of: usize,
}

impl Part {
    /// The most parts that work may be cut into.
    pub const MOST: usize = 1_000_000;

    /// What falls to this part of so many things: parts are contiguous, and differ by one at most.
    pub fn range(self, things: usize) -> Range<usize> {
        things * self.index / self.of..things * (self.index + 1) / self.of
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
        let whole = |number: &str| number.parse::<usize>().ok().filter(|_| digits(number));
        let parts = text.split_once('/').and_then(|(index, of)| Some((whole(index)?, whole(of)?)));
        match parts {
            Some((index, of @ 1..=Self::MOST)) if index < of => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is no part such as 0/3, 1/3 or 2/3")),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_in_order_and_differ_by_one() {
        for things in [0, 1, 2, 7, 10, 64, 1000] {
            for of in [1, 2, 3, 8, 13] {
                let ranges: Vec<_> = (0..of).map(|index| Part { index, of }.range(things)).collect();
                let all: Vec<usize> = ranges.iter().cloned().flatten().collect();
                assert_eq!(all, (0..things).collect::<Vec<_>>());
                let sizes = ranges.iter().map(ExactSizeIterator::len);
                assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1, "{things} in {of}");
            }
        }
    }

    #[test]
    fn a_part_is_counted_from_0_and_nothing_else_is_one() {
        for text in ["0/1", "0/3", "2/3", "999999/1000000"] {
            assert_eq!(text.parse::<Part>().unwrap().to_string(), text);
        }
        for text in ["", "3", "3/3", "1/0", "0/0", "-1/3", "0/1000001", "0/3/1", "a/b", "0.5/3"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
