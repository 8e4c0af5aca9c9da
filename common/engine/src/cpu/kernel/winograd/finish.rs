//! The end of a weight gradient: parts summed in their order, brought back from frequencies, left in PyTorch's layout.

#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::Tile;
use super::line::{Grid, Line, Planes, Taps, square};
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd, padded};
use crate::cpu::vector::transpose::transpose;

/// Input channels of one task, or those whose taps a task holds at once.
const CHUNK: usize = 16;
/// Blocks of output channels of one task.
const BLOCKS: usize = 4;
/// Below this many weights per tap, a task for another thread costs more than it saves.
const SMALL: usize = 64 * 64;

/// Adds the gradient in `parts`, each `[frequency][input channel][padded output channel]`, to (out, in, 3, 3), or begins
/// that with it; `channels` are in and out.
pub(super) fn run(
    isa: Isa,
    tile: Tile,
    channels: [usize; 2],
    parts: &[f32],
    gradient: &mut [f32],
    begun: bool,
) {
    let [inputs, out] = channels;
    assert_eq!(gradient.len(), out * inputs * 9, "a gradient of another shape");
    let to = Shared::new(gradient);
    let plane = super::apart(inputs * padded(out));
    let sums = Sums { parts, plane, pixel: padded(out), origin: [0, 0] };
    let chunks = inputs.div_ceil(CHUNK);
    let blocks = padded(out) / BLOCK;
    let task = |task: usize| {
        let (input, block) = (task % chunks * CHUNK, task / chunks * BLOCKS);
        let blocks = block..(block + BLOCKS).min(blocks);
        let inputs = input..(input + CHUNK).min(inputs);
        isa.run(Chunk { tile, channels, sums, to: to.start(), begun, blocks, inputs });
    };
    let tasks = chunks * blocks.div_ceil(BLOCKS);
    if inputs * out <= SMALL {
        (0..tasks).for_each(task);
    } else {
        (0..tasks).into_par_iter().for_each(task);
    }
}

/// Sums in frequencies.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    /// `[part][frequency][input channel][output channel]`.
    pub(super) parts: &'a [f32],
    /// f32 from one frequency to the next.
    pub(super) plane: usize,
    /// f32 from one input channel to the next.
    pub(super) pixel: usize,
    /// The first input and output channel that they are of.
    pub(super) origin: [usize; 2],
}

/// The gradient between a few input channels and blocks of output channels.
pub(super) struct Chunk<'a> {
    pub(super) tile: Tile,
    /// Of the whole gradient, in and out.
    pub(super) channels: [usize; 2],
    pub(super) sums: Sums<'a>,
    /// The whole gradient.
    pub(super) to: *mut f32,
    /// Whether it is added to.
    pub(super) begun: bool,
    pub(super) blocks: Range<usize>,
    pub(super) inputs: Range<usize>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `run` checked the sizes, and no other task writes the gradient between these channels.
        unsafe {
            match self.tile {
                Tile::Two => self.transform::<S, 4>(),
                Tile::Four => self.transform::<S, 6>(),
            }
        }
    }
}

impl Chunk<'_> {
    /// # Safety
    ///
    /// Parts and gradient have their sizes; nobody else touches the gradient between these channels.
    #[inline(always)]
    unsafe fn transform<S: Simd, const N: usize>(self)
    where
        Taps: Line<N, 3>,
    {
        let Sums { pixel, origin, .. } = self.sums;
        let mut taps = [[[0.0; BLOCK]; 9]; CHUNK];
        let mut rows = [[0.0; CHUNK * 9]; BLOCK];
        for block in self.blocks.clone() {
            for first in self.inputs.clone().step_by(CHUNK) {
                let inputs = first..(first + CHUNK).min(self.inputs.end);
                for (taps, input) in taps.iter_mut().zip(inputs.clone()) {
                    let from = (input - origin[0]) * pixel + block * BLOCK - origin[1];
                    // SAFETY: the caller's promise; every part holds `N * N` planes of these channels.
                    unsafe { self.sum::<S, N>(from, taps) }
                }
                // SAFETY: the caller's promise.
                unsafe { self.leave::<S>(block, inputs, &taps, &mut rows) }
            }
        }
    }

    /// The taps of one input channel and a block of output channels, `from` f32 into each plane.
    ///
    /// # Safety
    ///
    /// Every part holds `N * N` planes that have a block there.
    #[inline(always)]
    unsafe fn sum<S: Simd, const N: usize>(&self, from: usize, taps: &mut [[f32; BLOCK]; 9])
    where
        Taps: Line<N, 3>,
    {
        let Sums { parts, plane, .. } = self.sums;
        let mut sums = [[[0.0f32; BLOCK]; N]; N];
        // SAFETY: the caller's promise; sums and taps are squares of blocks.
        unsafe {
            for lane in (0..BLOCK).step_by(S::LANES) {
                for (frequency, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    let mut total = S::zero();
                    for part in parts.chunks_exact(N * N * plane) {
                        total = S::add(total, S::load(part.as_ptr().add(frequency * plane + from + lane)));
                    }
                    S::store(sum.as_mut_ptr().add(lane), total);
                }
                let base = sums.as_ptr().cast::<f32>().wrapping_add(lane);
                let source = Grid { base, row: N * BLOCK, column: BLOCK };
                let to = taps.as_mut_ptr().cast::<f32>().wrapping_add(lane);
                square::<S, Taps, N, 3>(&source, &Planes::<3, false> { to, stride: BLOCK });
            }
        }
    }

    /// Leaves the taps of a block and some input channels in the gradient; `rows` is memory for them in its order.
    ///
    /// # Safety
    ///
    /// The gradient has its size; nobody else touches it between these channels.
    #[inline(always)]
    unsafe fn leave<S: Simd>(
        &self,
        block: usize,
        inputs: Range<usize>,
        taps: &[[[f32; BLOCK]; 9]; CHUNK],
        rows: &mut [[f32; CHUNK * 9]; BLOCK],
    ) {
        let each = inputs.len() * 9;
        let taps = taps.as_flattened().as_flattened();
        transpose::<S>((taps, BLOCK), (rows.as_flattened_mut(), CHUNK * 9), [each, BLOCK]);
        let first = block * BLOCK;
        for (row, out) in rows.iter().zip(first..self.channels[1]) {
            let to = self.to.wrapping_add((out * self.channels[0] + inputs.start) * 9);
            // SAFETY: the taps of an output channel and input channels that follow one another.
            let to = unsafe { std::slice::from_raw_parts_mut(to, each) };
            if self.begun {
                to.iter_mut().zip(row).for_each(|(to, tap)| *to += tap);
            } else {
                to.iter_mut().zip(row).for_each(|(to, &tap)| *to = 0.0 + tap);
            }
        }
    }
}
