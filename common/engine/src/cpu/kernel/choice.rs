//! Which kernel runs which convolution.

use super::conv::{MapProduct, WeightGradient};
use super::depthwise::{Depthwise, DepthwiseWeightGradient};
use super::direct::Direct;
use super::direct::weight_gradient::DirectWeightGradient;
use super::winograd::{self, Tile, Winograd, WinogradWeightGradient};
use crate::cpu::vector::simd::Isa;
use crate::plan::{ConvShape, Direction};

/// How much rounding a convolution may add. The choice depends on the shape and on this, never on the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Precise {
    /// No more than a plain sum: labels and evaluation. Winograd F(2x2), whose error is that of the direct form.
    Yes,
    /// Whatever is fastest: Winograd F(4x4), whose error is about three times as large.
    No,
}

/// Rows and columns of output below which tiles of 4x4 would mostly be padding.
const SMALL_MAP: usize = 2;

/// The tile of a convolution that Winograd's algorithm computes.
fn tile(shape: &ConvShape, precise: Precise) -> Option<Tile> {
    if !winograd::fits(shape) {
        return None;
    }
    let small = shape.output[1] <= SMALL_MAP && shape.output[2] <= SMALL_MAP;
    Some(if precise == Precise::Yes || small { Tile::Two } else { Tile::Four })
}

/// The kernel of a convolution in one direction.
pub(crate) fn product(
    isa: Isa,
    shape: ConvShape,
    direction: Direction,
    precise: Precise,
) -> Box<dyn MapProduct> {
    match (tile(&shape, precise), direction) {
        (_, Direction::Forward) if shape.is_depthwise() => Box::new(Depthwise::forward(isa, shape)),
        (_, Direction::Image) if shape.is_depthwise() => Box::new(Depthwise::image_gradient(isa, shape)),
        (Some(tile), Direction::Forward) if !shape.dense_input => {
            Box::new(Winograd::forward(isa, shape, tile))
        }
        (Some(tile), Direction::Image) => Box::new(Winograd::image_gradient(isa, shape, tile)),
        (_, Direction::Forward) => Box::new(Direct::forward(isa, shape)),
        (None, Direction::Image) => Box::new(Direct::image_gradient(isa, shape)),
    }
}

/// The kernel of a convolution's weight gradient.
pub(crate) fn weight(isa: Isa, shape: ConvShape, precise: Precise) -> Box<dyn WeightGradient> {
    match tile(&shape, precise) {
        _ if shape.is_depthwise() => Box::new(DepthwiseWeightGradient::new(isa, shape)),
        Some(tile) if !shape.dense_input => Box::new(WinogradWeightGradient::new(isa, shape, tile)),
        _ => Box::new(DirectWeightGradient::new(isa, shape)),
    }
}
