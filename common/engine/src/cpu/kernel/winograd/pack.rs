//! PyTorch's weights to frequencies: `[frequency][panel][input channel][panel width]`.
//!
//! It runs once per optimiser step and moves 36 (or 16) values for 9: large layers are written past the caches.

#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::Tile;
use super::line::{Grid, Line, Planes, Weight, square};
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd, fence};
use crate::cpu::vector::tile::{Panel, Panels};
use crate::cpu::vector::transpose::transpose;

/// Input channels of one task, whose taps it gathers at once.
const CHUNK: usize = 16;
/// From this many weights per tap on, the result does not fit the caches of a core.
const LARGE: usize = 256 * 256;
/// Below this many, a task for another thread costs more than it saves.
const SMALL: usize = 64 * 64;

/// Taps of a few input channels, `[input channel][tap][output channel of a block]`.
type Taps = [[[f32; BLOCK]; 9]; CHUNK];

/// How the weights of one product are transformed.
pub(super) struct Weights {
    pub(super) isa: Isa,
    pub(super) tile: Tile,
    /// Output channels of the product.
    pub(super) panels: Panels,
    pub(super) out: usize,
    /// Input channels of the product.
    pub(super) channels: usize,
    /// The product is the image gradient: PyTorch's first axis is its input, and taps run backwards.
    pub(super) transposed: bool,
}

impl Weights {
    /// f32 from one frequency to the next.
    pub(super) fn plane(&self) -> usize {
        super::apart(self.channels * self.panels.channels())
    }

    /// f32 of all frequencies.
    pub(super) fn len(&self) -> usize {
        self.tile.frequencies() * self.plane()
    }

    /// Transforms PyTorch's (out, in, 3, 3), each of its output channels multiplied by its scale.
    pub(super) fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]) {
        assert_eq!(weight.len(), self.out * self.channels * 9, "weights of another shape");
        assert!(into.len() >= self.len(), "packed weights need {} values", self.len());
        let chunks = self.channels.div_ceil(CHUNK);
        let to = Shared::new(into);
        let task = |task: usize| {
            let first = task % chunks * CHUNK;
            let channels = first..(first + CHUNK).min(self.channels);
            let panel = self.panels.get(task / chunks);
            self.isa.run(Chunk { weights: self, weight, scale, to: to.start(), panel, channels });
        };
        let tasks = chunks * self.panels.len();
        if self.plane() <= SMALL {
            (0..tasks).for_each(task);
        } else {
            (0..tasks).into_par_iter().for_each(task);
        }
    }
}

/// The weights between a panel and a few input channels.
struct Chunk<'a> {
    weights: &'a Weights,
    weight: &'a [f32],
    scale: Option<&'a [f32]>,
    to: *mut f32,
    panel: Panel,
    channels: Range<usize>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `pack` checked the destination, and no other task writes this panel's rows of these channels.
        unsafe {
            match (self.weights.tile, self.weights.plane() >= LARGE) {
                (Tile::Two, false) => self.transform::<S, 4, false>(),
                (Tile::Two, true) => self.transform::<S, 4, true>(),
                (Tile::Four, false) => self.transform::<S, 6, false>(),
                (Tile::Four, true) => self.transform::<S, 6, true>(),
            }
        }
    }
}

impl Chunk<'_> {
    /// Gathers the taps between the task's input channels and a block of output channels from `first` on; zeros for output
    /// channels that do not exist.
    #[inline(always)]
    fn taps<S: Simd>(&self, first: usize, taps: &mut Taps) {
        let Weights { out, transposed, channels: all, .. } = *self.weights;
        let lanes = BLOCK.min(out - first);
        if lanes < BLOCK {
            *taps = [[[0.0; BLOCK]; 9]; CHUNK];
        }
        if transposed {
            for (taps, channel) in taps.iter_mut().zip(self.channels.clone()) {
                let from = (&self.weight[(channel * out + first) * 9..], 9);
                transpose::<S>(from, (taps.as_flattened_mut(), BLOCK), [lanes, 9]);
                taps.reverse();
            }
        } else {
            let from = (&self.weight[(first * all + self.channels.start) * 9..], all * 9);
            let to = (taps.as_flattened_mut().as_flattened_mut(), BLOCK);
            transpose::<S>(from, to, [lanes, self.channels.len() * 9]);
        }
        let Some(scale) = self.scale else { return };
        for (taps, channel) in taps.iter_mut().zip(self.channels.clone()) {
            for (lane, o) in (first..first + lanes).enumerate() {
                let scale = scale[if transposed { channel } else { o }];
                for tap in &mut *taps {
                    tap[lane] *= scale;
                }
            }
        }
    }

    /// Transforms the taps to their places.
    ///
    /// # Safety
    ///
    /// `to` takes all frequencies, and nobody else touches these channels of this panel.
    #[inline(always)]
    unsafe fn transform<S: Simd, const N: usize, const STREAM: bool>(&self)
    where
        Weight: Line<3, N>,
    {
        let stride = self.weights.plane();
        let to = self.to.wrapping_add(self.panel.channel * self.weights.channels);
        let mut taps = [[[0.0; BLOCK]; 9]; CHUNK];
        for block in 0..self.panel.blocks {
            self.taps::<S>(self.panel.channel + block * BLOCK, &mut taps);
            for (taps, channel) in taps.iter().zip(self.channels.clone()) {
                let place = (channel * self.panel.blocks + block) * BLOCK;
                for lane in (0..BLOCK).step_by(S::LANES) {
                    let base = taps.as_ptr().cast::<f32>().wrapping_add(lane);
                    let source = Grid { base, row: 3 * BLOCK, column: BLOCK };
                    let sink = Planes::<N, STREAM> { to: to.wrapping_add(place + lane), stride };
                    // SAFETY: the source is nine blocks; the sink is inside `to` by the layout.
                    unsafe { square::<S, Weight, 3, N>(&source, &sink) }
                }
            }
        }
        if STREAM {
            fence();
        }
    }
}
