//! Max pooling forwards.

use super::PoolShape;
use crate::cpu::vector::simd::{Isa, Kernel, Simd};

/// The largest value of each window, and through which tap it was seen where a backward will want to know.
///
/// The first of equals is chosen; what is not a number wins over numbers, as in PyTorch. Taps are counted row by row.
pub(crate) fn max_pool(
    isa: Isa,
    shape: &PoolShape,
    images: usize,
    from: &[f32],
    to: &mut [f32],
    taps: Option<&mut [u16]>,
) {
    assert!(from.len() == images * shape.input_len() && to.len() == images * shape.output_len());
    assert!(taps.as_ref().is_none_or(|taps| taps.len() == to.len()), "one tap per value");
    assert!(shape.kernel[0] * shape.kernel[1] <= 1 << 16, "a tap's number must fit into 16 bits");
    isa.run(Largest { shape, images, from, to, taps });
}

struct Largest<'a> {
    shape: &'a PoolShape,
    images: usize,
    from: &'a [f32],
    to: &'a mut [f32],
    taps: Option<&'a mut [u16]>,
}

impl Kernel for Largest<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { shape, images, from, to, mut taps } = self;
        let (pixel, [height, width]) = (shape.pixel(), shape.output);
        let mut offset = 0;
        for line in 0..images * height {
            let row = line / height * shape.input[1] + line % height * shape.stride[0];
            for x in 0..width {
                let first = (row * shape.input[2] + x * shape.stride[1]) * pixel;
                for channel in (0..pixel).step_by(S::LANES) {
                    let from = &from[first + channel..];
                    if let Some(taps) = &mut taps {
                        let (largest, chosen) = window::<S, true>(shape, from);
                        to[offset..offset + S::LANES].copy_from_slice(&S::lanes(largest)[..S::LANES]);
                        taps[offset..offset + S::LANES]
                            .copy_from_slice(&S::lanes(chosen).map(number)[..S::LANES]);
                    } else {
                        let (largest, _) = window::<S, false>(shape, from);
                        to[offset..offset + S::LANES].copy_from_slice(&S::lanes(largest)[..S::LANES]);
                    }
                    offset += S::LANES;
                }
            }
        }
    }
}

/// The largest of a window whose first vector is `from`'s and, where `TAPS` are wanted, its tap, lane by lane.
#[inline(always)]
fn window<S: Simd, const TAPS: bool>(shape: &PoolShape, from: &[f32]) -> (S::V, S::V) {
    let (least, most) = (S::splat(f32::NEG_INFINITY), S::splat(f32::INFINITY));
    let (mut largest, mut chosen) = (least, S::zero());
    let mut tap = 0.0;
    for i in 0..shape.kernel[0] {
        for j in 0..shape.kernel[1] {
            let values = S::at(from, (i * shape.input[2] + j) * shape.pixel());
            let numbers = S::less(least, values) | S::less(values, most);
            let take = S::less(largest, values) | !numbers;
            largest = choose::<S>(take, values, largest);
            if TAPS {
                chosen = choose::<S>(take, S::splat(tap), chosen);
                tap += 1.0;
            }
        }
    }
    (largest, chosen)
}

/// Lanes of one vector where a bit is set, of the other elsewhere.
#[inline(always)]
fn choose<S: Simd>(bits: u16, set: S::V, clear: S::V) -> S::V {
    S::add(S::keep(set, bits), S::keep(clear, !bits))
}

/// A tap's number: below 2^16, so that f32 holds it.
#[inline(always)]
#[allow(unsafe_code)]
fn number(tap: f32) -> u16 {
    // SAFETY: `max_pool` checked that it fits. A checked conversion would take longer than all of the window.
    unsafe { tap.to_int_unchecked::<i32>() as u16 }
}
