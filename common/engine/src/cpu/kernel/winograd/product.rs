//! The product itself: tiles of the input to frequencies, one matrix product per frequency, frequencies to tiles of
//! the output.
//!
//! Tiles are taken in groups of as many as the register tile has rows. Transformed input and products lie
//! `[group][frequency][tile of the group][channel]`, so that a group's transforms touch one piece of memory and its
//! matrix products read rows one after another.

#![allow(unsafe_code)]

mod back;

use std::ops::Range;

use rayon::prelude::*;

use super::line::{Input, Line};
use super::tiling::{Map, Tiling};
use super::{SCRATCH, TRANSFORM, Tile};
use crate::cpu::kernel::conv::{Job, Phase};
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::{Isa, Kernel, Simd};
use crate::cpu::vector::tile::{NARROW_ROWS, Panels, rows_by_panel, with_narrow, with_tile};
use back::Backwards;

/// A 3x3 product of maps with transformed weights.
pub(super) struct Product {
    isa: Isa,
    tile: Tile,
    tiling: Tiling,
    input: Map,
    output: Map,
    /// Input and output channels that are not padding.
    channels: usize,
    out: usize,
    panels: Panels,
    /// f32 from one frequency of the weights to the next.
    plane: usize,
    /// Tiles of a group.
    rows: usize,
    /// Groups whose frequencies the scratch holds at once.
    block: usize,
    /// Blocks are worked on by all threads, not by the caller alone.
    pub(super) cooperative: bool,
    /// A row of a tile in the padding.
    zeros: Vec<f32>,
}

impl Product {
    /// From maps of channels, rows and columns to maps of such, with padding above and to the left.
    pub(super) fn new(
        isa: Isa,
        tile: Tile,
        input: [usize; 3],
        output: [usize; 3],
        padding: [usize; 2],
    ) -> Self {
        let (from, to) = (Map::new(input), Map::new(output));
        let panels = Panels::new(isa, output[0]);
        // A narrow panel after others takes their rows.
        let narrow = panels.get(0).is_narrow(isa.lanes(), output[0]);
        let rows = if narrow { NARROW_ROWS } else { panels.rows(isa) };
        let group = tile.frequencies() * rows * (from.pixel + to.pixel);
        let cooperative = super::is_large(input[0], output[0]);
        // A block reads all weights once: it should be at least as large as they are, within reason.
        let weights = tile.frequencies() * from.pixel * to.pixel;
        let block = if cooperative { SCRATCH } else { weights + weights / 2 } / group;
        Self {
            isa,
            tile,
            tiling: Tiling::new(tile.side(), &to, padding),
            input: from,
            output: to,
            channels: input[0],
            out: output[0],
            panels,
            plane: super::apart(input[0] * to.pixel),
            rows,
            block: block.max(1),
            cooperative,
            zeros: vec![0.0; tile.extent() * from.pixel],
        }
    }

    /// f32 of a group's transformed input and of its products.
    fn group(&self) -> [usize; 2] {
        [self.input.pixel, self.output.pixel].map(|pixel| self.tile.frequencies() * self.rows * pixel)
    }

    fn groups(&self, images: usize) -> usize {
        (images * self.tiling.per_image).div_ceil(self.rows)
    }

    /// f32 of scratch for a call of `images`.
    pub(super) fn scratch_len(&self, images: usize) -> usize {
        self.groups(images).min(self.block) * self.group().iter().sum::<usize>()
    }

    /// What the threads of the pool do one after the other in a call of `images`.
    pub(super) fn phases(&self, images: usize) -> Vec<Phase> {
        let (groups, frequencies) = (self.groups(images), self.tile.frequencies());
        let blocks = (0..groups).step_by(self.block).map(|first| self.block.min(groups - first));
        let of_block = |count: usize| {
            let values = (count * self.rows * frequencies) as f64;
            let transform =
                |channels: usize| Phase { pieces: count, work: TRANSFORM * values * channels as f64 };
            let work = 2.0 * values * (self.channels * self.out) as f64;
            let products = Phase { pieces: frequencies * self.panels.len(), work };
            [transform(self.channels), products, transform(self.out)]
        };
        blocks.flat_map(of_block).collect()
    }

    /// Runs the product.
    pub(super) fn run(&self, job: Job<'_>) {
        let Job { packed, images, from, to, epilogue, scratch } = job;
        let frequencies = self.tile.frequencies();
        assert!(packed.len() >= frequencies * self.plane, "weights of another shape");
        assert!(from.len() >= images * self.input.image(), "an input of {} values", from.len());
        assert!(to.len() >= images * self.output.image(), "an output of {} values", to.len());
        epilogue.check(images * self.output.image(), self.output.pixel);
        let scratch = &mut scratch[..self.scratch_len(images)];
        let groups = self.groups(images);
        let (v, m) = scratch.split_at_mut(groups.min(self.block) * self.group()[0]);
        let (v, m, to) = (Shared::new(v), Shared::new(m), Shared::new(to));
        let tiles = images * self.tiling.per_image;
        for first in (0..groups).step_by(self.block) {
            let count = self.block.min(groups - first);
            let epilogue = &epilogue;
            let block = Block { product: self, packed, from, to, epilogue, v, m, tiles, first, count };
            let panels = self.panels.len();
            if self.cooperative {
                let group = |group| group..group + 1;
                (0..count).into_par_iter().for_each(|i| self.isa.run(Forwards(&block, group(i))));
                (0..frequencies * panels)
                    .into_par_iter()
                    .for_each(|i| self.isa.run(Products(&block, group(i / panels), group(i % panels))));
                (0..count).into_par_iter().for_each(|i| self.isa.run(Backwards(&block, group(i))));
            } else {
                self.isa.run(Forwards(&block, 0..count));
                self.isa.run(Products(&block, 0..frequencies, 0..panels));
                self.isa.run(Backwards(&block, 0..count));
            }
        }
    }
}

/// A few groups of a call.
struct Block<'a> {
    product: &'a Product,
    packed: &'a [f32],
    from: &'a [f32],
    to: Shared<'a, f32>,
    epilogue: &'a Epilogue<'a>,
    /// Transformed input.
    v: Shared<'a, f32>,
    /// Products.
    m: Shared<'a, f32>,
    /// Tiles of the whole call.
    tiles: usize,
    /// The first group, and how many.
    first: usize,
    count: usize,
}

impl Block<'_> {
    /// The tiles of a group of this block.
    #[inline(always)]
    fn tiles(&self, group: usize) -> Range<usize> {
        let first = (self.first + group) * self.product.rows;
        first..(first + self.product.rows).min(self.tiles)
    }
}

/// Input to frequencies, for some groups.
struct Forwards<'a>(&'a Block<'a>, Range<usize>);

impl Kernel for Forwards<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `Product::run` checked the sizes, and each group is transformed once.
        unsafe {
            match self.0.product.tile {
                Tile::Two => self.transform::<S, 4>(),
                Tile::Four => self.transform::<S, 6>(),
            }
        }
    }
}

impl Forwards<'_> {
    /// # Safety
    ///
    /// The block's input and transformed input have their sizes; nobody else touches these groups.
    #[inline(always)]
    unsafe fn transform<S: Simd, const N: usize>(self)
    where
        Input: Line<N, N>,
    {
        let Product { input, tiling, rows, zeros, .. } = self.0.product;
        let (map, stride) = (*input, rows * input.pixel);
        for group in self.1.clone() {
            let to = self.0.v.start().wrapping_add(group * self.0.product.group()[0]);
            for (row, tile) in self.0.tiles(group).enumerate() {
                let place = tiling.place(tile);
                let image = self.0.from.as_ptr().wrapping_add(place.image * map.image());
                let to = to.wrapping_add(row * map.pixel);
                // SAFETY: the caller's promise.
                unsafe {
                    map.transform::<S, Input, N, N>(
                        (image, zeros.as_ptr()),
                        tiling.patch(place),
                        &to,
                        stride,
                    );
                }
            }
        }
    }
}

/// The matrix products of some frequencies and panels, for all groups of the block.
struct Products<'a>(&'a Block<'a>, Range<usize>, Range<usize>);

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Block { product, packed, v, m, count, .. } = *self.0;
        let Product { channels, out, plane, input, output, panels, rows, .. } = product;
        let [v_group, m_group] = product.group();
        for frequency in self.1 {
            for panel in self.2.clone() {
                let panel = panels.get(panel);
                let weights = frequency * plane + panel.channel * channels;
                let weights = packed[weights..].as_ptr();
                for group in 0..count {
                    let v = v.start().wrapping_add(group * v_group + frequency * rows * input.pixel);
                    let m = m.start().wrapping_add(group * m_group + frequency * rows * output.pixel);
                    let v = (v.cast_const(), input.pixel);
                    let m = (m.wrapping_add(panel.channel), output.pixel);
                    // SAFETY: `Product::run` checked the sizes; each piece of `m` is written once.
                    unsafe {
                        let tiles = self.0.tiles(group).len();
                        if panel.is_narrow(S::LANES, *out) {
                            with_narrow!(tiles, narrow::<S>(*channels, v, weights, m));
                        } else {
                            with_tile!(tiles, panel.blocks, whole::<S>(*channels, v, weights, m));
                        }
                    }
                }
            }
        }
    }
}

/// `m[i] = v[i] * panel`, for all W vectors of a panel.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn whole<S: Simd, const R: usize, const W: usize>(
    k: usize,
    v: (*const f32, usize),
    panel: *const f32,
    m: (*mut f32, usize),
) {
    // SAFETY: the caller's promise.
    unsafe { multiply::<S, R, W, W>(k, v, panel, m) }
}

/// The same for the first of a panel's two vectors: the other is padding.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn narrow<S: Simd, const R: usize>(
    k: usize,
    v: (*const f32, usize),
    panel: *const f32,
    m: (*mut f32, usize),
) {
    // SAFETY: the caller's promise.
    unsafe { multiply::<S, R, 1, 2>(k, v, panel, m) }
}

/// `m[i] = v[i] * panel`, for the first W vectors of a panel of P; rows of `v` and `m` lie a stride apart.
///
/// # Safety
///
/// `v` is valid for R rows of `k` values, the panel for `k * P` vectors, `m` for R rows of W vectors.
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize, const W: usize, const P: usize>(
    k: usize,
    (v, v_row): (*const f32, usize),
    panel: *const f32,
    (m, m_row): (*mut f32, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut rows = [v; R];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = v.add(i * v_row);
        }
        let mut acc = [[S::zero(); W]; R];
        rows_by_panel::<S, R, W>(k, rows, (panel, P * S::LANES), &mut acc);
        for (i, acc) in acc.into_iter().enumerate() {
            for (j, acc) in acc.into_iter().enumerate() {
                S::store(m.add(i * m_row + j * S::LANES), acc);
            }
        }
    }
}
