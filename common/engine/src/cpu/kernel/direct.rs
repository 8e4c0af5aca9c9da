//! Direct convolution: any kernel, stride, padding, channel count and groups, and fully connected layers.
//!
//! Every output value is the plain sum of its products, in a fixed order; long sums are cut into blocks. Groups are
//! dense weights with zeros between groups: simple, and wasteful for many groups (depthwise layers have kernels of
//! their own). A fully connected layer is a map of one pixel: its images become the rows of a tile.

// Kernels must be inlined (see `simd`), and accumulators are clearer by row and vector.
#![allow(clippy::inline_always, clippy::needless_range_loop)]

mod pack;
mod plan;
mod product;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod weight_gradient;

use pack::{Direction, Weight};
use plan::Plan;
use product::Product;

use super::conv::MapProduct;
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::Isa;
use crate::plan::ConvShape;

/// A convolution: input maps to output maps.
#[derive(Debug)]
pub(crate) struct DirectForward {
    shape: ConvShape,
    product: Product,
}

impl DirectForward {
    pub(crate) fn new(isa: Isa, shape: ConvShape) -> Self {
        Self { shape, product: Product::new(isa, Plan::forward(&shape)) }
    }
}

/// Its image gradient: gradients of the output to gradients of the input, whose channels are padded to whole vectors
/// even where the input's are dense.
#[derive(Debug)]
pub(crate) struct DirectImageGradient {
    shape: ConvShape,
    product: Product,
}

impl DirectImageGradient {
    /// `shape` is the convolution's.
    pub(crate) fn new(isa: Isa, shape: ConvShape) -> Self {
        Self { shape, product: Product::new(isa, Plan::image_gradient(&shape)) }
    }
}

macro_rules! map_product {
    ($kernel:ty, $direction:expr) => {
        impl MapProduct for $kernel {
            fn packed_len(&self) -> usize {
                self.product.packed_len()
            }

            fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]) {
                let weight = Weight { shape: &self.shape, direction: $direction, values: weight, scale };
                weight.pack(self.product.plan(), self.product.panels(), into);
            }

            fn scratch_len(&self, images: usize) -> usize {
                self.product.scratch_len(images)
            }

            fn run(
                &self,
                packed: &[f32],
                images: usize,
                from: &[f32],
                to: &mut [f32],
                epilogue: &Epilogue<'_>,
                scratch: &mut [f32],
            ) {
                self.product.run(packed, images, from, to, epilogue, scratch);
            }
        }
    };
}

map_product!(DirectForward, Direction::Forward);
map_product!(DirectImageGradient, Direction::Backward);
