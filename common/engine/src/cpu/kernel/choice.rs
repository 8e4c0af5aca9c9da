//! Which kernel runs which convolution.

use super::conv::{MapProduct, WeightGradient};
use super::depthwise::{Depthwise, DepthwiseWeightGradient};
use super::direct::Direct;
use super::direct::weight_gradient::DirectWeightGradient;
use super::winograd::{self, Tile, Winograd, WinogradWeightGradient};
use crate::cpu::vector::simd::Isa;
use crate::engine::Norm;
use crate::plan::{ConvShape, Direction};

/// How much rounding a convolution may add, and for how many images it is. The choice of a kernel depends on the shape and
/// on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Precise {
    /// No more than a plain sum: labels and evaluation. Winograd F(2x2), whose error is that of the direct form.
    Yes,
    /// Whatever is fastest: Winograd F(4x4), whose error is about three times as large.
    No,
    /// Whatever is fastest for at most [`FEW_IMAGES`]: F(2x2) where most of the time would go to moving weights. Only for
    /// passes whose images see one another anyway: elsewhere an image must not notice how many others there are.
    NoForFew,
}

impl Precise {
    /// The same for a pass over so many images.
    pub(crate) fn for_batch(self, norm: Norm, images: usize) -> Self {
        match self {
            Self::No if norm == Norm::Batch && images <= FEW_IMAGES => Self::NoForFew,
            _ => self,
        }
    }
}

/// Images up to which the transformed weights of wide layers weigh more than their products. Three passes of 512 channels at
/// 4x4 take 20.5 ms in F(2x2) and 27.0 in F(4x4) with 32 images, and as long as each other with 128.
const FEW_IMAGES: usize = 64;

/// Products of input and output channels, and places of a map, from which and up to which that is so.
const WIDE: usize = 512 * 256;
const FEW_PLACES: usize = 16;

/// Rows and columns of output below which tiles of 4x4 would mostly be padding.
const SMALL_MAP: usize = 2;

/// The tile of a convolution that Winograd's algorithm computes.
fn tile(shape: &ConvShape, precise: Precise) -> Option<Tile> {
    if !winograd::fits(shape) {
        return None;
    }
    let small = shape.output[1] <= SMALL_MAP && shape.output[2] <= SMALL_MAP;
    let wide = shape.input[0] * shape.output[0] >= WIDE && shape.output[1] * shape.output[2] <= FEW_PLACES;
    Some(match precise {
        Precise::Yes => Tile::Two,
        _ if small => Tile::Two,
        Precise::NoForFew if wide => Tile::Two,
        _ => Tile::Four,
    })
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
    // The weights that are many for few images are neither transformed nor read for their gradient.
    let precise = if precise == Precise::NoForFew { Precise::No } else { precise };
    match tile(&shape, precise) {
        _ if shape.is_depthwise() => Box::new(DepthwiseWeightGradient::new(isa, shape)),
        Some(tile) if !shape.dense_input => Box::new(WinogradWeightGradient::new(isa, shape, tile)),
        _ => Box::new(DirectWeightGradient::new(isa, shape)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv2d;

    #[test]
    fn few_images_change_the_tile_of_wide_layers_on_small_maps_alone() {
        let shape = |from: usize, to: usize, side: usize| {
            ConvShape::new(&Conv2d::new(to, 3).padding(1), [from, side, side], false)
        };
        for (shape, few) in [
            (shape(512, 512, 4), Tile::Two),
            (shape(256, 512, 4), Tile::Two),
            (shape(256, 256, 4), Tile::Four),
            (shape(512, 512, 8), Tile::Four),
            (shape(64, 64, 32), Tile::Four),
        ] {
            assert_eq!(tile(&shape, Precise::NoForFew), Some(few), "{shape:?}");
            assert_eq!(tile(&shape, Precise::No), Some(Tile::Four));
            assert_eq!(tile(&shape, Precise::Yes), Some(Tile::Two));
        }
    }
}
