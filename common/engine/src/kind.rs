//! Which engine runs: the names that command lines take.

use std::fmt;
use std::str::FromStr;

use crate::{Cpu, Engine, EngineError, Reference};

/// An engine by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The fast one.
    #[default]
    Cpu,
    /// The oracle: plain candle operations, several times slower.
    Reference,
}

impl Kind {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Reference];

    /// `cpu` or `reference`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Reference => "reference",
        }
    }

    /// Starts it on this many threads. `exact_conv` as in [`Cpu::exact_conv`]; the reference is always exact.
    pub fn start(self, threads: usize, exact_conv: bool) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match self {
            Self::Cpu => Box::new(Cpu::new(threads)?.exact_conv(exact_conv)),
            Self::Reference => Box::new(Reference::new(threads)?),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no engine has.
#[derive(Debug, thiserror::Error)]
#[error("unknown engine `{0}`: wanted cpu or reference")]
pub struct UnknownEngine(String);

impl FromStr for Kind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownEngine(name.into()))
    }
}
