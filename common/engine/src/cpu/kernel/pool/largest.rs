//! Max pooling forwards.

use super::PoolShape;
use crate::cpu::vector::simd::{Isa, Kernel, LANES, Simd};

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
        for place in 0..images * height * width {
            let (image, y, x) = (place / (height * width), place / width % height, place % width);
            let row = image * shape.input[1] + y * shape.stride[0];
            let first = (row * shape.input[2] + x * shape.stride[1]) * pixel;
            for channel in (0..pixel).step_by(LANES) {
                let (largest, chosen) = window(shape, &from[first + channel..]);
                let offset = place * pixel + channel;
                to[offset..offset + LANES].copy_from_slice(&largest);
                if let Some(taps) = &mut taps {
                    taps[offset..offset + LANES].copy_from_slice(&chosen.map(|tap| tap as u16));
                }
            }
        }
    }
}

/// The largest of a window whose first vector is `from`'s, and its tap, lane by lane.
#[inline(always)]
fn window(shape: &PoolShape, from: &[f32]) -> ([f32; LANES], [u32; LANES]) {
    let (mut largest, mut chosen) = ([f32::NEG_INFINITY; LANES], [0; LANES]);
    let mut tap = 0;
    for i in 0..shape.kernel[0] {
        for j in 0..shape.kernel[1] {
            let at = (i * shape.input[2] + j) * shape.pixel();
            let values = &from[at..at + LANES];
            for lane in 0..LANES {
                let take = values[lane] > largest[lane] || values[lane].is_nan();
                largest[lane] = if take { values[lane] } else { largest[lane] };
                chosen[lane] = if take { tap } else { chosen[lane] };
            }
            tap += 1;
        }
    }
    (largest, chosen)
}
