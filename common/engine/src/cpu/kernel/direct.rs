//! Direct convolution: any kernel, stride, padding, channel count and groups, and fully connected layers.
//!
//! Every output value is the plain sum of its products, in a fixed order; long sums are cut into blocks. Groups are
//! dense weights with zeros between groups: simple, and wasteful for many groups (depthwise layers have kernels of
//! their own). A fully connected layer is a map of one pixel: its images become the rows of a tile.

// Kernels must be inlined (see `simd`), and accumulators are clearer by row and vector.
#![allow(clippy::inline_always, clippy::needless_range_loop)]

mod cursor;
mod pack;
mod phases;
mod product;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod weight_gradient;

use pack::{Direction, Weight};
use phases::Phases;
use product::Product;

use super::conv::{Job, MapProduct};
use crate::cpu::vector::simd::Isa;
use crate::plan::ConvShape;

/// A convolution, or its image gradient.
#[derive(Debug)]
pub(crate) struct Direct {
    shape: ConvShape,
    direction: Direction,
    product: Product,
}

impl Direct {
    /// Input maps to output maps.
    pub(crate) fn forward(isa: Isa, shape: ConvShape) -> Self {
        let product = Product::new(isa, Phases::forward(&shape));
        Self { shape, direction: Direction::Forward, product }
    }

    /// Gradients of the output to gradients of the input, whose channels are padded to whole vectors even where the
    /// input's are dense; `shape` is the convolution's.
    pub(crate) fn image_gradient(isa: Isa, shape: ConvShape) -> Self {
        let product = Product::new(isa, Phases::image_gradient(&shape));
        Self { shape, direction: Direction::Backward, product }
    }
}

impl MapProduct for Direct {
    fn packed_len(&self) -> usize {
        self.product.packed_len()
    }

    fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]) {
        let (isa, shape, direction) = (self.product.isa(), &self.shape, self.direction);
        let weight = Weight { isa, shape, direction, values: weight, scale };
        weight.pack(self.product.phases(), self.product.panels(), into);
    }

    fn scratch_len(&self, images: usize) -> usize {
        self.product.scratch_len(images)
    }

    fn run(&self, job: Job<'_>) {
        self.product.run(job);
    }
}
