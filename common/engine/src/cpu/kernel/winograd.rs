//! Winograd convolution for 3x3 kernels of stride 1: two and a half to four times fewer multiplications than the
//! direct one.
//!
//! Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308. An output is covered
//! by tiles of m x m values; the n x n input patch under each, n = m + 2, goes to n^2 frequencies, where a
//! convolution is one matrix product over channels per frequency. Known difference from the paper: F(4) has other
//! nodes, see [`line`](mod@line).
//!
//! Layers of up to some 200 channels run on the calling thread in blocks of tiles that stay in its cache; wider ones
//! have more weights than a cache holds and are worked on by the whole pool, each thread with some frequencies.

mod finish;
mod line;
mod pack;
mod product;
#[cfg(test)]
mod tests;
mod tiling;
mod weight;

use pack::Weights;
use product::Product;
pub(crate) use weight::WinogradWeightGradient;

use super::conv::{Job, MapProduct, Phase};
use crate::cpu::vector::simd::{BLOCK, Isa};
use crate::cpu::vector::tile::Panels;
use crate::plan::ConvShape;

/// Most f32 of scratch of a call on the whole pool: 32 MB.
const SCRATCH: usize = 8 << 20;

/// Operations of a transform for each value and frequency, to weigh it beside a product: F(4x4)'s two passes of six lines
/// take some 150 for 36.
const TRANSFORM: f64 = 4.0;

/// Output rows and columns that a tile gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tile {
    /// F(2x2, 3x3): 2.25 times fewer multiplications, as exact as a direct convolution.
    Two,
    /// F(4x4, 3x3): 4 times fewer, at a few times its error.
    Four,
}

impl Tile {
    const fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Rows and columns of the input under a tile.
    const fn extent(self) -> usize {
        self.side() + 2
    }

    /// Values of a transformed tile.
    const fn frequencies(self) -> usize {
        self.extent() * self.extent()
    }
}

/// Whether the frequencies of so many weights are worth splitting over threads.
const fn is_large(channels: usize, out: usize) -> bool {
    channels * out >= 200 * 200
}

/// f32 from one frequency to the next where each has `values`: a vector more, lest all frequencies of a value share
/// a set of the cache (five times slower transforms of weights).
const fn apart(values: usize) -> usize {
    values + BLOCK
}

/// Whether a convolution is one of those this module computes.
pub(crate) fn fits(shape: &ConvShape) -> bool {
    let padding = shape.padding;
    let sides = [padding.top, padding.bottom, padding.left, padding.right];
    shape.kernel == [3, 3]
        && shape.stride == [1, 1]
        && shape.groups == 1
        && sides.iter().all(|&side| side <= 2)
}

/// A convolution, or its image gradient.
pub(crate) struct Winograd {
    weights: Weights,
    product: Product,
}

impl Winograd {
    /// A convolution forwards, for a shape that [`fits`] and whose input is not dense: not the network's image.
    pub(crate) fn forward(isa: Isa, shape: ConvShape, tile: Tile) -> Self {
        assert!(fits(&shape) && !shape.dense_input, "not a Winograd convolution: {shape:?}");
        let padding = [shape.padding.top, shape.padding.left];
        Self::new(isa, tile, [shape.input, shape.output], padding, false)
    }

    /// The gradient of a convolution's input: a convolution of the output's gradient with the kernel turned by half a
    /// turn. For a shape that [`fits`].
    ///
    /// Where the input is the network's image, its gradient has padded channels all the same.
    pub(crate) fn image_gradient(isa: Isa, shape: ConvShape, tile: Tile) -> Self {
        assert!(fits(&shape), "not a Winograd convolution: {shape:?}");
        let padding = [2 - shape.padding.top, 2 - shape.padding.left];
        Self::new(isa, tile, [shape.output, shape.input], padding, true)
    }

    /// From and to maps of channels, rows and columns.
    fn new(isa: Isa, tile: Tile, [from, to]: [[usize; 3]; 2], padding: [usize; 2], transposed: bool) -> Self {
        let panels = Panels::new(isa, to[0]);
        let weights = Weights { isa, tile, panels, out: to[0], channels: from[0], transposed };
        Self { weights, product: Product::new(isa, tile, from, to, padding) }
    }
}

impl MapProduct for Winograd {
    fn packed_len(&self) -> usize {
        self.weights.len()
    }

    fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]) {
        self.weights.pack(weight, scale, into);
    }

    fn scratch_len(&self, images: usize) -> usize {
        self.product.scratch_len(images)
    }

    fn run(&self, job: Job<'_>) {
        self.product.run(job);
    }

    fn cooperative(&self) -> bool {
        self.product.cooperative
    }

    fn phases(&self, images: usize) -> Vec<Phase> {
        self.product.phases(images)
    }
}
