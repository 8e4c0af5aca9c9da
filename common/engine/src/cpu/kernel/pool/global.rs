//! The mean of each channel over all positions of an image, and its gradient.

use crate::cpu::kernel::map::channel_products;
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::pointwise::{At, Pointwise, Sizes, fill};
use crate::cpu::vector::simd::{Isa, Simd};

/// The mean of each channel: from images of `positions` pixels to a vector `[image][pixel]`.
pub(crate) fn global_average(
    isa: Isa,
    from: &[f32],
    positions: usize,
    pixel: usize,
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    channel_products(isa, from, None, 1.0 / positions as f32, [positions, pixel], to, epilogue);
}

/// Its gradient: each position takes an equal share.
pub(crate) fn global_average_gradient(
    isa: Isa,
    gradient: &[f32],
    positions: usize,
    pixel: usize,
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let sizes = Sizes { pixel, image: positions * pixel };
    assert_eq!(gradient.len() * positions, to.len(), "maps differ in length");
    fill(isa, Spread { gradient, pixel, share: 1.0 / positions as f32 }, sizes, to, epilogue);
}

#[derive(Clone, Copy)]
struct Spread<'a> {
    gradient: &'a [f32],
    pixel: usize,
    share: f32,
}

impl Pointwise for Spread<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        // SAFETY: one vector per image, whose number was checked.
        unsafe {
            let gradient = S::load(self.gradient.as_ptr().add(at.image * self.pixel + at.channel));
            S::mul(gradient, S::splat(self.share))
        }
    }
}
