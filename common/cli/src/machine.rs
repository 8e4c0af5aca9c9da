//! Where networks run: the flags that every command has, and the engine that they start.

use std::num::NonZeroUsize;

use clap::Args;
use engine::{Engine, EngineError, InstructionSet, Kind, Network, Purpose, Start, Storage, Work};

use crate::{note, warn, whole};

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
    /// What runs the networks: cpu, cuda (an NVIDIA GPU; cuda:1 is the second), auto [default: cpu]
    #[arg(long = "device", global = true, display_order = 901, value_name = "NAME", alias = "engine")]
    pub engine: Option<Kind>,
    /// The processor's instruction set, for tests and comparisons: avx512, avx2, neon or portable
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub isa: Option<InstructionSet>,
    /// How a GPU labels and judges (default f32), or trains (default bf16): f32, tf32, bf16, f16
    #[arg(long, global = true, display_order = 902, value_name = "NAME")]
    pub precision: Option<Storage>,
}

impl MachineArgs {
    /// Prepares the whole process. The first thing in `main`: it sets the environment, which no other thread may be
    /// reading.
    pub fn configure(&self) {
        engine::process::configure(self.threads());
    }

    /// As many as were asked for, or as there are processors.
    pub fn threads(&self) -> usize {
        let given = self.threads.or_else(|| std::thread::available_parallelism().ok());
        given.map_or(1, NonZeroUsize::get)
    }

    /// The flag that says what runs networks, where one was given: of no use to a command that runs none.
    pub fn given(&self) -> Option<&'static str> {
        self.engine.map(|_| "--device").or_else(|| self.precision.map(|_| "--precision"))
    }

    /// The machine, with the usual engine where none was asked for.
    pub fn machine(&self) -> Machine {
        let engine = self.engine.unwrap_or_default();
        Machine { engine, threads: self.threads(), isa: self.isa, precision: self.precision, recompute: true }
    }
}

/// What verdicts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdicts {
    /// Images as they are: answers, which a lesser precision than f32 is never chosen for.
    Clean,
    /// Images that attacks have changed.
    Attacked,
}

/// An engine that is not started yet, and its threads.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Which engine.
    pub engine: Kind,
    /// Its threads; no result depends on them.
    pub threads: usize,
    /// The processor's instruction set, where somebody chose.
    pub isa: Option<InstructionSet>,
    /// How a GPU computes, where somebody chose.
    pub precision: Option<Storage>,
    /// Whether a training forms maps again rather than keep them.
    pub recompute: bool,
}

impl Machine {
    /// Starts the engine, and says what `auto` stands for. `exact_conv` keeps it from convolutions that round more than a
    /// plain sum does.
    pub fn start(self, exact_conv: bool) -> Result<Box<dyn Engine>, EngineError> {
        self.started(exact_conv, Purpose::Training)
    }

    /// Starts it for verdicts that are quoted; likewise.
    pub fn start_for_judging(
        self,
        exact_conv: bool,
        verdicts: Verdicts,
    ) -> Result<Box<dyn Engine>, EngineError> {
        let engine = self.started(exact_conv, Purpose::Judging)?;
        let attacks_in = self.precision.filter(|_| verdicts == Verdicts::Attacked);
        if let Some(precision) = attacks_in.filter(|&one| one != Storage::F32) {
            warn(format_args!(
                "attacks in {precision} find less than in f32, so what is left is an upper bound\nhint: leave --precision out for a figure to quote"
            ));
        }
        Ok(engine)
    }

    /// Starts it for labels, in the precision that was asked for.
    pub fn start_for_labels(self) -> Result<Box<dyn Engine>, EngineError> {
        self.started(true, Purpose::Labels)
    }

    fn started(self, exact_conv: bool, purpose: Purpose) -> Result<Box<dyn Engine>, EngineError> {
        let Self { threads, isa, precision, recompute, .. } = self;
        let (engine, why) = self.engine.choose();
        if let Some(why) = why {
            note(format_args!("--device auto is {why}"));
        }
        let engine =
            engine.start(&Start { threads, exact_conv, recompute, purpose, isa, precision, ordinal: 0 })?;
        let hardware = engine.hardware();
        if precision.is_none() && hardware.precision != Storage::F32.name() {
            warn(format_args!(
                "{} computes in {} at best, labels and judging included: --device cpu computes in f32",
                hardware.device, hardware.precision
            ));
        }
        Ok(engine)
    }
}

/// What runs the networks, as it is announced: the engine with its card, or with its threads.
pub fn whereabouts(engine: &dyn Engine, threads: usize) -> String {
    let hardware = engine.hardware();
    match hardware.room {
        Some(_) => format!("{} ({})", engine.name(), hardware.device),
        None => format!("{}, {threads} threads", engine.name()),
    }
}

/// Rows or images that run together where nobody says: what a processor's caches hold, or, on a GPU, what keeps it busy
/// and its memory holds.
pub fn usual_batch(
    engine: &dyn Engine,
    networks: &[(&Network, Work)],
    on_processor: usize,
) -> Result<usize, EngineError> {
    let Some(room) = engine.hardware().room else { return Ok(on_processor) };
    match room.batch(networks, BATCH_ON_GPU) {
        Some(batch) => Ok(batch),
        None => room.check(networks, 1).map_err(EngineError::from).map(|()| 1),
    }
}

/// Refuses work that the engine's memory has no room for, before anything runs.
pub fn refuse_too_large(
    engine: &dyn Engine,
    networks: &[(&Network, Work)],
    batch: usize,
) -> Result<(), EngineError> {
    match engine.hardware().room {
        Some(room) => Ok(room.check(networks, batch)?),
        None => Ok(()),
    }
}

/// Images that keep a large GPU busy.
pub const BATCH_ON_GPU: usize = 512;
