//! Maps passed on, multiplied, summed over positions.

use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::pointwise::{At, Pointwise, Sizes, fill, fill_at};
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};

/// A copy of a map, finished: a sum of two with the epilogue's residual, added to the destination with its
/// accumulation, an activation, a gate.
pub(crate) fn store(isa: Isa, from: &[f32], pixel: usize, to: &mut [f32], epilogue: &Epilogue<'_>) {
    assert_eq!(from.len(), to.len(), "maps differ in length");
    fill(isa, Held { from: from.as_ptr() }, Sizes::of(to.len(), pixel), to, epilogue);
}

/// The same in place: an activation, or a gradient gated. The epilogue must not accumulate.
pub(crate) fn rework(isa: Isa, map: &mut [f32], pixel: usize, epilogue: &Epilogue<'_>) {
    let (to, len) = (map.as_mut_ptr(), map.len());
    // SAFETY: the map is borrowed alone, and each vector is read before it is written.
    #[allow(unsafe_code)]
    unsafe {
        fill_at(isa, Held { from: to }, Sizes::of(len, pixel), (to, len), epilogue);
    }
}

#[derive(Clone, Copy)]
struct Held {
    /// As long as the destination, which it may be.
    from: *const f32,
}

impl Pointwise for Held {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        // SAFETY: the lengths are equal.
        unsafe { S::load(self.from.add(at.offset)) }
    }
}

/// The product of two maps. Also the gradient of one from the gradient of the product and the other, and of a smooth
/// activation from its slope.
pub(crate) fn multiply(
    isa: Isa,
    a: &[f32],
    b: &[f32],
    pixel: usize,
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(a.len() == to.len() && b.len() == to.len(), "maps differ in length");
    fill(isa, Product { a, b }, Sizes::of(to.len(), pixel), to, epilogue);
}

#[derive(Clone, Copy)]
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Pointwise for Product<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        // SAFETY: the lengths are equal.
        unsafe { S::mul(S::load(self.a.as_ptr().add(at.offset)), S::load(self.b.as_ptr().add(at.offset))) }
    }
}

/// The product of a map, images of `positions` pixels, and one value per image and channel, `[image][pixel]`. Also the
/// gradient of the map; that of the values is [`channel_products`].
pub(crate) fn multiply_channels(
    isa: Isa,
    map: &[f32],
    values: &[f32],
    [positions, pixel]: [usize; 2],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(map.len() == to.len() && values.len() * positions == to.len(), "maps differ in length");
    fill(isa, Scaled { map, values, pixel }, Sizes { pixel, image: positions * pixel }, to, epilogue);
}

#[derive(Clone, Copy)]
struct Scaled<'a> {
    map: &'a [f32],
    values: &'a [f32],
    pixel: usize,
}

impl Pointwise for Scaled<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        // SAFETY: the lengths were checked.
        unsafe {
            let value = S::load(self.values.as_ptr().add(at.image * self.pixel + at.channel));
            S::mul(S::load(self.map.as_ptr().add(at.offset)), value)
        }
    }
}

/// The sum over positions of a map, or of its product with `other`, times `factor`: `[image][pixel]`, finished.
pub(crate) fn channel_products(
    isa: Isa,
    map: &[f32],
    other: Option<&[f32]>,
    factor: f32,
    [positions, pixel]: [usize; 2],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(pixel.is_multiple_of(BLOCK) && to.len() * positions == map.len(), "maps differ in length");
    assert!(to.len().is_multiple_of(pixel) && other.is_none_or(|other| other.len() == map.len()));
    epilogue.check(to.len(), pixel);
    isa.run(ChannelProducts { map, other, factor, positions, pixel, to, epilogue });
}

struct ChannelProducts<'a> {
    map: &'a [f32],
    other: Option<&'a [f32]>,
    factor: f32,
    positions: usize,
    pixel: usize,
    to: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
}

impl Kernel for ChannelProducts<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        /// Terms of the innermost sum: sums of sums lose fewer digits.
        const TERMS: usize = 32;
        let Self { map, other, factor, positions, pixel, to, epilogue } = self;
        for offset in (0..to.len()).step_by(S::LANES) {
            let (image, channel) = (offset / pixel, offset % pixel);
            let at = |position: usize| (image * positions + position) * pixel + channel;
            // SAFETY: the lengths were checked.
            unsafe {
                let mut total = S::zero();
                for first in (0..positions).step_by(TERMS) {
                    let mut sum = S::zero();
                    for position in first..positions.min(first + TERMS) {
                        let x = S::load(map.as_ptr().add(at(position)));
                        sum = match other {
                            Some(other) => S::fma(x, S::load(other.as_ptr().add(at(position))), sum),
                            None => S::add(sum, x),
                        };
                    }
                    total = S::add(total, sum);
                }
                let value = S::mul(total, S::splat(factor));
                epilogue.finish::<S>(value, channel, to.as_mut_ptr(), offset);
            }
        }
    }
}
