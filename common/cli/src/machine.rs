//! Where networks run: the flags that every command has, and the engine that they start.

use std::num::NonZeroUsize;

use clap::Args;
use engine::{Engine, EngineError, Kind};

use crate::whole;

/// Reads a whole number from 1 to MOST: for flags whose number is memory or threads, so that a slip of the finger is
/// refused in words rather than by the system.
pub fn one_to<const MOST: u32>(text: &str) -> Result<NonZeroUsize, String> {
    let number = whole::<1, MOST>(text)?;
    Ok(NonZeroUsize::new(number as usize).expect("the number is at least 1"))
}

/// What a command runs on. No result depends on the threads.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct MachineArgs {
    /// Threads; no result depends on them [default: all processors]
    #[arg(long, global = true, display_order = 900, value_name = "N", value_parser = one_to::<1024>)]
    pub threads: Option<NonZeroUsize>,
    /// What runs the networks [default: cpu]
    #[arg(long, global = true, display_order = 901, value_name = "NAME", alias = "device")]
    pub engine: Option<Kind>,
}

impl MachineArgs {
    /// Prepares the whole process. The first thing in `main`: it sets the environment, which no other thread may be
    /// reading.
    pub fn configure(&self) {
        engine::process::configure(self.threads());
    }

    /// As many as were asked for, or as there are processors.
    fn threads(&self) -> usize {
        let given = self.threads.or_else(|| std::thread::available_parallelism().ok());
        given.map_or(1, NonZeroUsize::get)
    }

    /// The machine, with the usual engine where none was asked for.
    pub fn machine(&self) -> Machine {
        Machine { engine: self.engine.unwrap_or_default(), threads: self.threads() }
    }
}

/// An engine that is not started yet, and its threads.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Which engine.
    pub engine: Kind,
    /// Its threads; no result depends on them.
    pub threads: usize,
}

impl Machine {
    /// Starts the engine. `exact_conv` keeps it from convolutions that round more than a plain sum does.
    pub fn start(self, exact_conv: bool) -> Result<Box<dyn Engine>, EngineError> {
        self.engine.start(self.threads, exact_conv)
    }
}
