//! Depthwise convolution: one output channel per input channel, each from its own. Vectors run over channels.
//!
//! Forward and image gradient are one computation, a weighted sum over the places that a window meets, read in
//! opposite directions: [`Depthwise`]. Where windows are three columns wide, neighbours share their loads
//! ([`row`]); everything else goes tap by tap ([`any`]). Both directions read the weights packed alike,
//! `[tap][padded channels]`, zero in the padding.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

mod any;
mod row;
#[cfg(test)]
mod tests;
mod weight;

pub(crate) use weight::DepthwiseWeightGradient;

use std::ops::Range;

use super::conv::{Job, MapProduct};
use crate::cpu::vector::axis::Axis;
use crate::cpu::vector::epilogue::{Epilogue, Known};
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};
use crate::plan::ConvShape;

/// A depthwise convolution, or its image gradient: a weighted sum over the places that a window meets, forwards or
/// backwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depthwise {
    isa: Isa,
    /// Rows and columns of the kernel.
    taps: [usize; 2],
    /// f32 from one pixel to the next, on both sides.
    pixel: usize,
    channels: usize,
    /// Rows and columns that are read.
    source: [usize; 2],
    /// Rows and columns that are computed.
    to: [usize; 2],
    rows: Axis,
    columns: Axis,
    method: Method,
}

/// How a row is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// Three columns, stride 1, in the order of the taps or against it.
    Slide { before: usize, flipped: bool },
    /// Three columns, stride 2, forwards.
    Skip { before: usize },
    /// Three columns, stride 2, backwards, a column of padding on both sides.
    Spread,
    /// Tap by tap.
    Any,
}

impl Depthwise {
    /// The convolution itself, for a depthwise `shape`.
    pub(crate) fn forward(isa: Isa, shape: ConvShape) -> Self {
        assert_depthwise(&shape);
        let [[_, height, width], [_, out_height, out_width]] = [shape.input, shape.output];
        let padding = shape.padding;
        let neighbours = shape.kernel[1] == 3 && padding.left <= 1 && padding.right <= 1;
        Self {
            isa,
            taps: shape.kernel,
            pixel: shape.output_pixel(),
            channels: shape.output[0],
            source: [height, width],
            to: [out_height, out_width],
            rows: Axis::forward(shape.kernel[0], shape.stride[0], padding.top, height),
            columns: Axis::forward(shape.kernel[1], shape.stride[1], padding.left, width),
            method: match shape.stride[1] {
                1 if neighbours => Method::Slide { before: padding.left, flipped: false },
                2 if neighbours => Method::Skip { before: padding.left },
                _ => Method::Any,
            },
        }
    }

    /// The gradient of its input, for a depthwise `shape`.
    pub(crate) fn image_gradient(isa: Isa, shape: ConvShape) -> Self {
        assert_depthwise(&shape);
        let [[_, height, width], [_, out_height, out_width]] = [shape.input, shape.output];
        let padding = shape.padding;
        let inside = |side: usize| (1..=2).contains(&side);
        Self {
            isa,
            taps: shape.kernel,
            pixel: shape.output_pixel(),
            channels: shape.output[0],
            source: [out_height, out_width],
            to: [height, width],
            rows: Axis::backward(shape.kernel[0], shape.stride[0], padding.top, out_height),
            columns: Axis::backward(shape.kernel[1], shape.stride[1], padding.left, out_width),
            method: match (shape.kernel[1], shape.stride[1]) {
                (3, 1) if inside(padding.left) && inside(padding.right) => {
                    Method::Slide { before: 2 - padding.left, flipped: true }
                }
                (3, 2) if padding.left == 1 && padding.right == 1 => Method::Spread,
                _ => Method::Any,
            },
        }
    }

    /// f32 per image that is read, and that is computed.
    fn image_lens(&self) -> [usize; 2] {
        [self.source, self.to].map(|[rows, columns]| rows * columns * self.pixel)
    }
}

fn assert_depthwise(shape: &ConvShape) {
    assert!(shape.is_depthwise() && !shape.dense_input, "not a depthwise convolution: {shape:?}");
}

impl MapProduct for Depthwise {
    fn packed_len(&self) -> usize {
        self.taps[0] * self.taps[1] * self.pixel
    }

    fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]) {
        let taps = self.taps[0] * self.taps[1];
        into.fill(0.0);
        for channel in 0..self.channels {
            let scale = scale.map_or(1.0, |scale| scale[channel]);
            for tap in 0..taps {
                into[tap * self.pixel + channel] = weight[channel * taps + tap] * scale;
            }
        }
    }

    fn scratch_len(&self, _images: usize) -> usize {
        0
    }

    fn run(&self, job: Job<'_>) {
        self.isa.run(Call { gather: *self, job });
    }
}

/// One call.
struct Call<'a> {
    gather: Depthwise,
    job: Job<'a>,
}

impl Kernel for Call<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let Self { gather, job } = self;
        let Job { packed, images, from, to, epilogue, scratch: _ } = job;
        let [source_len, to_len] = gather.image_lens();
        assert!(packed.len() >= gather.packed_len(), "packed weights are too short");
        assert!(from.len() >= images * source_len && to.len() >= images * to_len, "maps are too short");
        epilogue.check(images * to_len, gather.pixel);
        let call = Maps {
            gather,
            weights: packed.as_ptr(),
            from: from.as_ptr(),
            to: to.as_mut_ptr(),
            epilogue,
            form: epilogue.known(),
        };
        for image in 0..images {
            for channels in slices(gather.pixel, gather.taps[0] * gather.source[1]) {
                for y in 0..gather.to[0] {
                    let line =
                        Line { from: image * source_len, to: image * to_len, y, channels: channels.clone() };
                    // SAFETY: the slices' lengths were checked, and the line is inside them.
                    unsafe {
                        match gather.method {
                            Method::Slide { before, flipped } => {
                                row::slide::<S>(&call, &line, before, flipped);
                            }
                            Method::Skip { before } => row::skip::<S>(&call, &line, before),
                            Method::Spread => row::spread::<S>(&call, &line),
                            Method::Any => any::line::<S>(&call, &line),
                        }
                    }
                }
            }
        }
    }
}

/// What every row of a call shares.
struct Maps<'a> {
    gather: Depthwise,
    weights: *const f32,
    from: *const f32,
    to: *mut f32,
    epilogue: Epilogue<'a>,
    /// What is known of the epilogue.
    form: Known,
}

/// One row of one image, some of its channels.
struct Line {
    /// Where the image begins in what is read, and in what is computed.
    from: usize,
    to: usize,
    y: usize,
    channels: Range<usize>,
}

/// Channels in slices whose windows of so many pixels stay in the first cache.
#[inline(always)]
fn slices(pixel: usize, pixels: usize) -> impl Iterator<Item = Range<usize>> {
    const CACHED: usize = 6 << 10;
    let vectors = pixel / BLOCK;
    let widest = (CACHED / (pixels * BLOCK)).clamp(1, vectors);
    // Of equal width where possible: a narrow rest would cost a whole sweep.
    let step = vectors.div_ceil(vectors.div_ceil(widest)) * BLOCK;
    (0..pixel).step_by(step).map(move |from| from..(from + step).min(pixel))
}
