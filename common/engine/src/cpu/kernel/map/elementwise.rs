//! Functions of each value: SiLU and the logistic sigmoid. One more is a function here and a row of [`elementwise`].
//!
//! Their backward is a product of the gradient with the slope that the forward keeps ([`multiply`](super::multiply)).

use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};
use crate::graph::Elementwise;

/// A function of each value, and its slope where a backward will want it.
pub(crate) fn elementwise(
    isa: Isa,
    function: Elementwise,
    from: &[f32],
    to: &mut [f32],
    slope: Option<&mut [f32]>,
) {
    match function {
        Elementwise::Silu => isa.run(Each { of: silu, from, to, slope }),
        Elementwise::Sigmoid => isa.run(Each { of: sigmoid, from, to, slope }),
    }
}

/// Value and slope.
#[inline(always)]
fn silu(x: f32) -> [f32; 2] {
    let [s, slope] = sigmoid(x);
    [x * s, s + x * slope]
}

/// Value and slope.
#[inline(always)]
fn sigmoid(x: f32) -> [f32; 2] {
    // From the side where the exponential is below 1, so that 1 - sigmoid(x) keeps its digits.
    let e = exp(-x.abs());
    let large = 1.0 / (1.0 + e);
    let small = e * large;
    [if x < 0.0 { small } else { large }, large * small]
}

/// `exp(x)` for x up to 0, within two units in the last place; branch-free, so that loops over it are vectorised.
/// Cephes' polynomial on [-ln 2 / 2, ln 2 / 2], times a power of two; nothing below the smallest normal number.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits().wrapping_add(127)) << 23);
    (p * (r * r) + r + 1.0) * power
}

struct Each<'a, F> {
    of: F,
    from: &'a [f32],
    to: &'a mut [f32],
    slope: Option<&'a mut [f32]>,
}

impl<F: Fn(f32) -> [f32; 2]> Kernel for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { of, from, to, slope } = self;
        assert!(from.len() == to.len() && from.len().is_multiple_of(BLOCK), "maps differ in length");
        assert!(slope.as_ref().is_none_or(|slope| slope.len() == to.len()), "one slope per value");
        let from = from.chunks_exact(BLOCK);
        if let Some(slope) = slope {
            for ((from, to), slope) in from.zip(to.chunks_exact_mut(BLOCK)).zip(slope.chunks_exact_mut(BLOCK))
            {
                for lane in 0..BLOCK {
                    [to[lane], slope[lane]] = of(from[lane]);
                }
            }
        } else {
            for (from, to) in from.zip(to.chunks_exact_mut(BLOCK)) {
                for lane in 0..BLOCK {
                    to[lane] = of(from[lane])[0];
                }
            }
        }
    }
}
