//! Which engine runs: a table of them, and the names that command lines take.

use std::fmt;
use std::str::FromStr;

use names::{Table, Unknown};

use crate::engine::{Engine, EngineRow};
use crate::error::EngineError;
use crate::{cpu, reference};

/// Every engine, the usual one first.
pub static ENGINES: &Table<EngineRow> = &[&cpu::ROW, &reference::ROW];

/// An engine by its name.
#[derive(Clone, Copy, Debug)]
pub struct Kind(&'static EngineRow);

impl Kind {
    /// Every engine, the usual one first.
    pub fn all() -> impl Iterator<Item = Self> {
        ENGINES.iter().copied().map(Self)
    }

    /// `cpu` or `reference`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Starts it on this many threads. `exact_conv` as in [`Cpu::exact_conv`](crate::Cpu::exact_conv); the reference is
    /// always exact.
    pub fn start(self, threads: usize, exact_conv: bool) -> Result<Box<dyn Engine>, EngineError> {
        (self.0.start)(threads, exact_conv)
    }
}

impl Default for Kind {
    fn default() -> Self {
        Self(ENGINES[0])
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Kind {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        names::find(ENGINES, name).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_found_by_its_name_and_starts() {
        for row in ENGINES {
            let kind: Kind = row.name.parse().unwrap();
            let engine = kind.start(1, false).unwrap();
            assert!(engine.name().starts_with(kind.name()), "{kind} starts {}", engine.name());
        }
        let error = "fpga".parse::<Kind>().unwrap_err().to_string();
        assert_eq!(error, "unknown engine `fpga`\nhint: known: cpu, reference");
        let error = "cuda".parse::<Kind>().unwrap_err().to_string();
        assert!(error.starts_with("unknown engine `cuda`\nhint: no engine runs on a GPU yet"), "{error}");
    }
}
