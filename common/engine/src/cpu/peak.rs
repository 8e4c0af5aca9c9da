//! What the machine's multiply-adds can do at most, to compare with.

use std::time::Instant;

use rayon::prelude::*;

use super::vector::simd::{InstructionSet, Isa, Kernel, Simd};

/// GFLOP/s (two per multiply-add) that this many threads reach together on registers alone, measured now, with the best
/// instruction set there is or the one that somebody chose and the machine has.
pub fn peak_gflops(threads: usize, set: Option<InstructionSet>) -> f64 {
    let isa = set.and_then(Isa::of).unwrap_or_else(Isa::detect);
    let each = |_| isa.run(Chains);
    match crate::process::pool(threads) {
        // Two rounds: the first wakes the cores.
        Ok(pool) => {
            pool.install(|| (0..2).map(|_| (0..threads).into_par_iter().map(each).sum()).fold(0.0, f64::max))
        }
        Err(_) => each(0),
    }
}

/// Independent chains of multiply-adds: enough to hide their latency, few enough for the registers.
struct Chains;

impl Kernel for Chains {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        gflops::<S, 12>()
    }
}

#[inline(always)]
fn gflops<S: Simd, const CHAINS: usize>() -> f64 {
    const ROUNDS: usize = 3_000_000;
    let (factor, term) = (S::splat(std::hint::black_box(1.000_000_1)), S::splat(1e-9));
    let mut sums = [S::splat(1.0); CHAINS];
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = S::fma(*sum, factor, term);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    std::hint::black_box(&mut sums);
    (ROUNDS * CHAINS * S::LANES * 2) as f64 / seconds / 1e9
}
