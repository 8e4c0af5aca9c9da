//! The matrix products of a block of tiles in frequencies.

#![allow(unsafe_code)]

use std::ops::Range;

use super::Block;
use crate::cpu::vector::simd::{BLOCK, Kernel, Simd};
use crate::cpu::vector::tile::{Panel, columns_by_panel, rows, with_tile};

/// Where products go.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Of the first frequency, input channel and output channel.
    pub(super) start: *mut f32,
    /// f32 from one frequency to the next.
    pub(super) plane: usize,
    /// f32 from one input channel to the next.
    pub(super) pixel: usize,
}

/// The matrix products of some frequencies, input channels and one panel, over all tiles of a block.
pub(super) struct Products<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) frequencies: Range<usize>,
    pub(super) panel: Panel,
    pub(super) inputs: Range<usize>,
    /// Whether sums of earlier blocks lie there.
    pub(super) begun: bool,
    pub(super) to: Place,
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { block, panel, inputs, begun, to: sums, .. } = self;
        let Block { layer, v, y, planes, first, end, .. } = *block;
        let width = panel.blocks * BLOCK;
        let strips = inputs.len().div_ceil(rows(layer.isa, panel.blocks));
        let first_frequency = self.frequencies.start;
        for frequency in self.frequencies {
            let v = v.start().wrapping_add(frequency * planes[0] + inputs.start).cast_const();
            let y = y.start().wrapping_add(frequency * planes[1] + block.before(panel)).cast_const();
            let to = sums.start.wrapping_add((frequency - first_frequency) * sums.plane);
            for strip in 0..strips {
                // Strips of equal height: a last one of a few rows would leave the machine waiting for its sums.
                let [from, end_of_strip] = [strip, strip + 1].map(|strip| strip * inputs.len() / strips);
                let sums = (to.wrapping_add(from * sums.pixel), sums.pixel);
                let mut tile = first;
                while tile < end {
                    let next = layer.chain_end(tile, end);
                    let left = (v.wrapping_add((tile - first) * layer.patch + from), layer.patch);
                    let right = (y.wrapping_add((tile - first) * width), width);
                    let onto = match layer.chain {
                        _ if !begun && tile == first => Onto::Nothing,
                        None => Onto::Chain,
                        Some(_) => Onto::Sum,
                    };
                    // SAFETY: `run` checked the sizes; each piece of the part is this task's alone.
                    unsafe {
                        let tiles = next - tile;
                        let rows = end_of_strip - from;
                        with_tile!(rows, panel.blocks, accumulate::<S>(tiles, left, right, sums, onto));
                    }
                    tile = next;
                }
            }
        }
    }
}

/// How products join what the sums hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Onto {
    /// They overwrite it.
    Nothing,
    /// They go on with it, in one chain.
    Chain,
    /// They are summed by themselves, then added.
    Sum,
}

/// Joins `a^T b`, summed over `k` tiles, to the sums.
///
/// # Safety
///
/// `a` and `b` are valid for `k` rows of R values and of W vectors, `sums` for R rows of W vectors, each a stride
/// apart.
#[inline(always)]
unsafe fn accumulate<S: Simd, const R: usize, const W: usize>(
    k: usize,
    a: (*const f32, usize),
    b: (*const f32, usize),
    (sums, stride): (*mut f32, usize),
    onto: Onto,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let at = |i: usize, j: usize| sums.wrapping_add(i * stride + j * S::LANES);
        let mut acc = [[S::zero(); W]; R];
        if onto == Onto::Chain {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(at(i, j));
                }
            }
        }
        columns_by_panel::<S, R, W>(k, a, b, &mut acc);
        for (i, acc) in acc.into_iter().enumerate() {
            for (j, acc) in acc.into_iter().enumerate() {
                let sum = if onto == Onto::Sum { S::add(S::load(at(i, j)), acc) } else { acc };
                S::store(at(i, j), sum);
            }
        }
    }
}
