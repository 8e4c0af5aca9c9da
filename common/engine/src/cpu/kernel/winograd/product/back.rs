//! The way back: a group's products to tiles of the output, each vector through the epilogue.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use super::{Block, Product, Tile};
use crate::cpu::kernel::winograd::line::{Grid, Line, Output, Pixels, Sink, square};
use crate::cpu::kernel::winograd::tiling::{Map, Place};
use crate::cpu::vector::epilogue::{Asked, Epilogue, Form, with_form};
use crate::cpu::vector::simd::{Kernel, Simd};

/// Frequencies to output, for some groups.
pub(super) struct Backwards<'a>(pub(super) &'a Block<'a>, pub(super) Range<usize>);

impl Kernel for Backwards<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `Product::run` checked the sizes, and each tile of the output is written once.
        unsafe {
            match self.0.product.tile {
                Tile::Two => self.transform::<S, 2, 4>(),
                Tile::Four => self.transform::<S, 4, 6>(),
            }
        }
    }
}

impl Backwards<'_> {
    /// # Safety
    ///
    /// The block's products and output have their sizes; nobody else touches these tiles.
    #[inline(always)]
    unsafe fn transform<S: Simd, const M: usize, const N: usize>(self)
    where
        Output: Line<N, M>,
    {
        let Map { height, width, .. } = self.0.product.output;
        // A copy that nobody else sees, so that it is known not to change as pixels are written.
        let epilogue = *self.0.epilogue;
        let form = epilogue.known();
        // SAFETY: the caller's promise; the epilogue is of its form.
        unsafe {
            with_form!(
                form,
                self.tiles::<S, _, M, N, true>(&epilogue),
                else self.tiles::<S, Asked, M, N, true>(&epilogue)
            );
            if !height.is_multiple_of(M) || !width.is_multiple_of(M) {
                self.tiles::<S, Asked, M, N, false>(&epilogue);
            }
        }
    }

    /// Brings tiles back through an epilogue: the `WHOLE` ones, which lie inside the map altogether, or the others, which are
    /// too few for code of every form.
    ///
    /// # Safety
    ///
    /// As for [`transform`](Self::transform); the epilogue is of form F.
    #[inline(always)]
    unsafe fn tiles<S: Simd, F: Form, const M: usize, const N: usize, const WHOLE: bool>(
        &self,
        epilogue: &Epilogue<'_>,
    ) where
        Output: Line<N, M>,
    {
        let Product { output, tiling, .. } = self.0.product;
        for group in self.1.clone() {
            for (row, tile) in self.0.tiles(group).enumerate() {
                let place = tiling.place(tile);
                let inside = [output.height - place.output[0], output.width - place.output[1]];
                if inside.iter().all(|&inside| inside >= M) == WHOLE {
                    // SAFETY: the caller's promise.
                    unsafe { self.tile::<S, F, M, N, WHOLE>((group, row), place, inside, epilogue) }
                }
            }
        }
    }

    /// Brings the tile in a row of a group back to the output, `inside` rows and columns of which it has.
    ///
    /// # Safety
    ///
    /// As for [`tiles`](Self::tiles).
    #[inline(always)]
    unsafe fn tile<S: Simd, F: Form, const M: usize, const N: usize, const WHOLE: bool>(
        &self,
        (group, row): (usize, usize),
        place: Place,
        inside: [usize; 2],
        epilogue: &Epilogue<'_>,
    ) where
        Output: Line<N, M>,
    {
        let Block { product, m, to, .. } = self.0;
        let (map, stride) = (product.output, product.rows * product.output.pixel);
        let from = m.start().wrapping_add(group * product.group()[1] + row * map.pixel);
        let [y, x] = place.output;
        let offset = place.image * map.image() + y * map.row() + x * map.pixel;
        for channel in (0..map.pixel).step_by(S::LANES) {
            let source = Grid { base: from.wrapping_add(channel), row: N * stride, column: stride };
            let sink = Pixels::<F, WHOLE> {
                epilogue,
                form: PhantomData,
                to: to.start(),
                offset: offset + channel,
                channel,
                row: map.row(),
                pixel: map.pixel,
                inside,
            };
            // SAFETY: the caller's promise.
            unsafe {
                if channel < product.out {
                    square::<S, Output, N, M>(&source, &sink);
                } else {
                    // Padding, whose products were not formed. As two loops, one in the other, this is unrolled, and the
                    // transform above takes 1.3 times as long.
                    for (i, j) in (0..M).flat_map(|i| (0..M).map(move |j| (i, j))) {
                        sink.put::<S>(i, j, S::zero());
                    }
                }
            }
        }
    }
}
