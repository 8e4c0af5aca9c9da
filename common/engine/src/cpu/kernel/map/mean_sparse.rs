//! Values near their channel's mean become it.

use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};

/// Replaces each value within the half width of its channel's mean by that mean; writes the slope, 0 where it did and 1
/// elsewhere, where a backward will want it ([`multiply`](super::multiply)).
pub(crate) fn mean_sparse(
    isa: Isa,
    from: &[f32],
    [mean, width]: &[Vec<f32>; 2],
    pixel: usize,
    to: &mut [f32],
    slope: Option<&mut [f32]>,
) {
    assert!(mean.len() == pixel && width.len() == pixel, "a mean and a width per channel");
    assert!(from.len() == to.len() && from.len().is_multiple_of(pixel), "maps differ in length");
    assert!(slope.as_ref().is_none_or(|slope| slope.len() == to.len()), "one slope per value");
    assert!(pixel.is_multiple_of(BLOCK), "a pixel of {pixel} values is not whole vectors");
    isa.run(Band { from, mean, width, to, slope });
}

struct Band<'a> {
    from: &'a [f32],
    mean: &'a [f32],
    width: &'a [f32],
    to: &'a mut [f32],
    slope: Option<&'a mut [f32]>,
}

impl Kernel for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { from, mean, width, to, slope } = self;
        let pixel = mean.len();
        for (from, to) in from.chunks_exact(pixel).zip(to.chunks_exact_mut(pixel)) {
            for c in 0..pixel {
                to[c] = if (from[c] - mean[c]).abs() < width[c] { mean[c] } else { from[c] };
            }
        }
        let Some(slope) = slope else { return };
        for (from, slope) in from.chunks_exact(pixel).zip(slope.chunks_exact_mut(pixel)) {
            for c in 0..pixel {
                slope[c] = if (from[c] - mean[c]).abs() < width[c] { 0.0 } else { 1.0 };
            }
        }
    }
}
