//! Engines in a process that is set up as the binaries set up theirs.

use std::sync::Once;

use engine::{Cpu, Reference};

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

/// Without this candle's own pool spins between the tests that run beside each other, and tests take four times as long.
///
/// Tests do run by now, against the letter of `configure`; but they are all Rust, which locks the environment.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| engine::process::configure(1));
}
