//! What becomes of an image under attacks.

use serde::{Deserialize, Serialize};

/// What became of an image under a suite of attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "i32", from = "i32")]
pub enum Fate {
    /// Classified wrong without any attack.
    Wrong,
    /// Right clean, and wrong under the attack at this place of the suite.
    Broken {
        /// The place.
        by: usize,
    },
    /// Right clean and under every attack.
    Standing,
    /// The same, and every run of every attack met a gradient that vanished there: nothing was tried, and counting it as
    /// right flatters.
    Blind,
}

impl Fate {
    /// Of an image that nothing attacked yet.
    pub fn without_attack(right: bool) -> Self {
        if right { Self::Standing } else { Self::Wrong }
    }

    /// Whether it counts as right.
    pub fn stands(self) -> bool {
        matches!(self, Self::Standing | Self::Blind)
    }

    /// Whether it counted as right when the attack at this place of the suite was done.
    pub fn stands_after(self, place: usize) -> bool {
        self.stands() || matches!(self, Self::Broken { by } if by > place)
    }
}

/// As reports write it: the attack's place, or a negative number.
impl From<Fate> for i32 {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Broken { by } => by as Self,
            Fate::Wrong => -1,
            Fate::Standing => -2,
            Fate::Blind => -3,
        }
    }
}

impl From<i32> for Fate {
    fn from(number: i32) -> Self {
        match number {
            -1 => Self::Wrong,
            -2 => Self::Standing,
            by => usize::try_from(by).map_or(Self::Blind, |by| Self::Broken { by }),
        }
    }
}
