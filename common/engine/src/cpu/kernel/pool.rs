//! Pooling of channels-last maps: the largest or the mean of each window, the mean of each channel.
//!
//! Gradients are gathered: each input place reads the windows that cover it, so that it is computed, finished and
//! written once whether windows overlap or not.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

mod gather;
mod global;
mod largest;
#[cfg(test)]
mod tests;

pub(crate) use gather::{average_pool, average_pool_gradient, max_pool_gradient};
pub(crate) use global::{global_average, global_average_gradient};
pub(crate) use largest::max_pool;

use crate::cpu::vector::axis::Axis;
use crate::cpu::vector::simd::padded;
use crate::graph::Pool;

/// The geometry of one pooling, per image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolShape {
    /// Channels, rows, columns of the input.
    pub(crate) input: [usize; 3],
    /// Rows and columns of the output.
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
}

impl PoolShape {
    /// The shape of `pool` on maps of these channels, rows and columns, in which its window must fit.
    pub(crate) fn new(pool: &Pool, input: [usize; 3]) -> Self {
        let output = pool.output(input[1], input[2]).expect("the builder checked that the window fits");
        Self { input, output, kernel: pool.kernel, stride: pool.stride }
    }

    /// f32 from one pixel to the next, on both sides.
    pub(crate) fn pixel(&self) -> usize {
        padded(self.input[0])
    }

    /// f32 per input image.
    pub(crate) fn input_len(&self) -> usize {
        self.input[1] * self.input[2] * self.pixel()
    }

    /// f32 per output image, and u16 of its taps.
    pub(crate) fn output_len(&self) -> usize {
        self.output[0] * self.output[1] * self.pixel()
    }

    /// Rows and columns, outputs reading inputs.
    fn forward(&self) -> [Axis; 2] {
        [0, 1].map(|i| Axis::forward(self.kernel[i], self.stride[i], 0, self.input[1 + i]))
    }

    /// Rows and columns, inputs reading the gradients of outputs.
    fn backward(&self) -> [Axis; 2] {
        [0, 1].map(|i| Axis::backward(self.kernel[i], self.stride[i], 0, self.output[i]))
    }
}
