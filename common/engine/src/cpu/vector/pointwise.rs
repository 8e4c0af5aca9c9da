//! Maps whose every value comes from values at the same place: one walk over the destination for all of them.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

use super::epilogue::Epilogue;
use super::simd::{BLOCK, Isa, Kernel, Simd};

/// The place of one vector.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) image: usize,
    /// The first lane's channel.
    pub(crate) channel: usize,
    /// The first lane's place in the map.
    pub(crate) offset: usize,
}

/// What is computed for each vector.
pub(crate) trait Pointwise: Copy {
    /// The vector at a place.
    ///
    /// # Safety
    ///
    /// The place is inside the destination, whose sizes the constructor's caller has checked against the sources'.
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V;
}

/// The sizes of a map: f32 per pixel, and per image.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) pixel: usize,
    pub(crate) image: usize,
}

impl Sizes {
    /// A map whose images need not be told apart.
    pub(crate) fn of(len: usize, pixel: usize) -> Self {
        Self { pixel, image: len.max(pixel) }
    }
}

/// Fills `to`, whole images, and finishes each value.
pub(crate) fn fill(isa: Isa, of: impl Pointwise, sizes: Sizes, to: &mut [f32], epilogue: &Epilogue<'_>) {
    // SAFETY: the destination is borrowed alone.
    #[allow(unsafe_code)]
    unsafe {
        fill_at(isa, of, sizes, (to.as_mut_ptr(), to.len()), epilogue);
    }
}

/// The same at a pointer, for what also reads there.
///
/// # Safety
///
/// The pointer is valid for so many f32, and nothing else uses them but `of`.
#[allow(unsafe_code)]
pub(crate) unsafe fn fill_at(
    isa: Isa,
    of: impl Pointwise,
    sizes: Sizes,
    to: (*mut f32, usize),
    epilogue: &Epilogue<'_>,
) {
    let Sizes { pixel, image } = sizes;
    assert!(pixel.is_multiple_of(BLOCK) && pixel > 0, "a pixel of {pixel} values is not whole vectors");
    assert!(
        image.is_multiple_of(pixel) && to.1.is_multiple_of(image),
        "{} values are not whole images",
        to.1
    );
    epilogue.check(to.1, pixel);
    isa.run(Fill { of, sizes, to, epilogue: *epilogue });
}

struct Fill<'a, P> {
    of: P,
    sizes: Sizes,
    to: (*mut f32, usize),
    epilogue: Epilogue<'a>,
}

impl<P: Pointwise> Kernel for Fill<'_, P> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let Self { of, sizes, to: (to, len), epilogue } = self;
        let mut offset = 0;
        let mut image = 0;
        while offset < len {
            let end = offset + sizes.image;
            while offset < end {
                for channel in (0..sizes.pixel).step_by(S::LANES) {
                    let at = At { image, channel, offset: offset + channel };
                    // SAFETY: the caller's promise; images and pixels are whole.
                    unsafe { epilogue.finish::<S>(of.value::<S>(at), channel, to, at.offset) };
                }
                offset += sizes.pixel;
            }
            image += 1;
        }
    }
}
