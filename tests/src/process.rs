//! Engines in a process that is set up as the binaries set up theirs.

use std::sync::Once;

use engine::{Cpu, EngineError, InstructionSet, Reference};

/// An engine on this many threads.
pub fn reference(threads: usize) -> Reference {
    prepare();
    Reference::new(threads).expect("threads can be started")
}

/// An engine on one thread whose micro-batches are of so many images, which spares a test of a few images the padding.
pub fn reference_of(images: usize) -> Reference {
    prepare();
    Reference::with_micro_batch(1, images).expect("a thread can be started")
}

/// The fast engine on this many threads.
pub fn cpu(threads: usize) -> Cpu {
    prepare();
    Cpu::new(threads).expect("threads can be started")
}

/// The fast engine on this many threads with the kernels of each instruction set that the machine has, the best first.
pub fn cpus(threads: usize) -> Vec<Cpu> {
    prepare();
    let of = |set| match Cpu::of(set, threads) {
        Err(EngineError::InstructionSet { .. }) => None,
        engine => Some(engine.expect("threads can be started")),
    };
    InstructionSet::ALL.into_iter().filter_map(of).collect()
}

/// What the binaries do first. Tests run beside each other by now, so candle's number of threads stays what
/// `.cargo/config.toml` says: one, lest its own pools spin between them, and tests take four times as long.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| engine::process::configure(1));
}
