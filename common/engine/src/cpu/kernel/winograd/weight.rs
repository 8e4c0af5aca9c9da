//! The weight gradient: F(3x3, m x m), a convolution of the input with the output's gradient as its kernel.
//!
//! Input patches and gradient tiles go to frequencies, where a matrix product over tiles each gives
//! `[frequency][input channel][output channel]`. Of small layers that is a part's buffer, and only
//! [`finish`](WeightGradient::finish) leaves the frequencies. Of large ones it would be larger than the gradient and than
//! the caches: a few input channels and a panel at a time, all frequencies' products are formed and brought back at once.
//! Scratch is `[frequency][tile][input channel]` and `[frequency][panel][tile][panel width]`.

#![allow(unsafe_code)]

mod products;

use std::ops::Range;

use rayon::prelude::*;

use super::finish::{Chunk, Sums};
use super::line::{Gradient, Input, Line};
use super::tiling::{Destination, Map, Tiling};
use super::{SCRATCH, TRANSFORM, Tile, finish};
use crate::cpu::kernel::conv::{Part, Phase, WeightGradient};
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};
use crate::cpu::vector::tile::{Panel, Panels};
use crate::plan::ConvShape;
use products::{Place, Products};

/// From this many tiles per image on, sums begin afresh within each image: a single chain over a large batch would
/// lose digits. Below, a chain runs through all images, whatever the calls they come in.
const MANY_TILES: usize = 32;

/// Input channels of a piece of a large layer: their sums beside a panel are 100 to 220 KB.
const PIECE: usize = 24;

/// The weight gradient of a 3x3 convolution. Its input is not the network's image.
pub(crate) struct WinogradWeightGradient {
    isa: Isa,
    tile: Tile,
    tiling: Tiling,
    input: Map,
    output: Map,
    /// Input and output channels that are not padding.
    channels: [usize; 2],
    panels: Panels,
    /// f32 from one frequency of a part to the next.
    plane: usize,
    /// Channels of all panels but possibly the last.
    panel: usize,
    /// f32 from one transformed patch to the next.
    patch: usize,
    /// Most tiles whose frequencies the scratch holds.
    block: usize,
    /// Tiles of an image that are summed before they are added to the part; none where one chain runs through.
    chain: Option<usize>,
    cooperative: bool,
    /// A row of a tile in the padding.
    zeros: Vec<f32>,
}

impl WinogradWeightGradient {
    /// For a shape that [`fits`](super::fits) and whose input is not dense.
    pub(crate) fn new(isa: Isa, shape: ConvShape, tile: Tile) -> Self {
        assert!(super::fits(&shape) && !shape.dense_input, "not a Winograd convolution: {shape:?}");
        let (input, output) = (Map::new(shape.input), Map::new(shape.output));
        let tiling = Tiling::new(tile.side(), &output, [shape.padding.top, shape.padding.left]);
        // Patches a large power of two apart would share few sets of the cache.
        let patch = if input.pixel.is_multiple_of(256) { input.pixel + BLOCK } else { input.pixel };
        let panels = Panels::new(isa, shape.output[0]);
        let cooperative = super::is_large(shape.input[0], shape.output[0]);
        let chain = if input.pixel + output.pixel <= 128 { 64 } else { 32 };
        let most = (SCRATCH / (tile.frequencies() * (patch + output.pixel))).min(1024);
        Self {
            isa,
            tile,
            input,
            output,
            channels: [shape.input[0], shape.output[0]],
            panels,
            plane: super::apart(shape.input[0] * output.pixel),
            panel: panels.get(0).blocks * BLOCK,
            patch,
            block: if cooperative { most.max(chain) } else { chain },
            chain: (tiling.per_image >= MANY_TILES).then_some(chain),
            cooperative,
            zeros: vec![0.0; tile.extent() * input.pixel.max(output.pixel)],
            tiling,
        }
    }

    /// f32 from one frequency to the next of transformed patches and gradients; a vector more than they fill, so
    /// that frequencies do not share sets of the cache.
    fn planes(&self, tiles: usize) -> [usize; 2] {
        [self.patch, self.output.pixel].map(|pixel| tiles * pixel + BLOCK)
    }

    /// Tiles that a call of `images` holds at once, at most.
    fn held(&self, images: usize) -> usize {
        (images * self.tiling.per_image).min(self.block)
    }

    /// The end of the chain that tile `tile` is part of.
    #[inline(always)]
    fn chain_end(&self, tile: usize, tiles: usize) -> usize {
        self.chain.map_or(tiles, |chain| {
            let within = tile % self.tiling.per_image;
            tile - within + self.tiling.per_image.min((within / chain + 1) * chain)
        })
    }

    /// Pieces of about equally many input channels, beside each panel, of a large layer.
    fn pieces(&self) -> usize {
        self.channels[0].div_ceil(PIECE)
    }

    /// The products of a block of tiles, brought back from the frequencies and left in the gradient.
    fn large(&self, block: &Block<'_>, gradient: Shared<'_, f32>, begun: bool) {
        /// Stretches of pieces for each thread: each has memory of its own that somebody clears.
        const EACH: usize = 4;
        let pieces = self.pieces();
        let plane = super::apart(self.channels[0].div_ceil(pieces) * self.panel);
        // Pieces of one panel follow one another: its gradients stay in a thread's cache.
        let all = self.panels.len() * pieces;
        let stretches = (EACH * rayon::current_num_threads()).min(all);
        (0..stretches).into_par_iter().for_each(|i| {
            let mut sums = vec![0.0; self.tile.frequencies() * plane];
            for piece in i * all / stretches..(i + 1) * all / stretches {
                let (panel, within) = (self.panels.get(piece / pieces), piece % pieces);
                let [start, end] = [within, within + 1].map(|i| i * self.channels[0] / pieces);
                self.piece(block, (panel, start..end), &mut sums, plane, (gradient, begun));
            }
        });
    }

    /// The same of one panel and a few input channels, with memory for their sums in frequencies, `plane` each.
    fn piece(
        &self,
        block: &Block<'_>,
        (panel, inputs): (Panel, Range<usize>),
        sums: &mut [f32],
        plane: usize,
        (gradient, begun): (Shared<'_, f32>, bool),
    ) {
        let (pixel, origin, first) = (self.panel, [inputs.start, panel.channel], panel.channel / BLOCK);
        let to = Place { start: sums.as_mut_ptr(), plane, pixel };
        let frequencies = 0..self.tile.frequencies();
        self.isa.run(Products { block, frequencies, panel, inputs: inputs.clone(), begun: false, to });
        self.isa.run(Chunk {
            tile: self.tile,
            channels: self.channels,
            sums: Sums { parts: sums, plane, pixel, origin },
            to: gradient.start(),
            begun,
            blocks: first..first + panel.blocks,
            inputs,
        });
    }

    /// The end of the block of whole chains that begins at tile `first`.
    fn block_end(&self, first: usize, tiles: usize) -> usize {
        if self.chain.is_none() {
            // Blocks of about equally many: a large layer's gradient is read and written for each.
            let blocks = tiles.div_ceil(self.block);
            return tiles.min(first + tiles.div_ceil(blocks));
        }
        let mut end = first;
        while end < tiles && self.chain_end(end, tiles) - first <= self.block {
            end = self.chain_end(end, tiles);
        }
        end
    }
}

impl WeightGradient for WinogradWeightGradient {
    fn part_len(&self) -> usize {
        let [inputs, out] = self.channels;
        if self.cooperative { out * inputs * 9 } else { self.tile.frequencies() * self.plane }
    }

    fn terms(&self, images: usize) -> usize {
        images * self.tiling.per_image
    }

    fn scratch_len(&self, images: usize) -> usize {
        self.tile.frequencies() * self.planes(self.held(images)).iter().sum::<usize>()
    }

    fn run(&self, images: usize, input: &[f32], gradient: &[f32], part: Part<'_>, scratch: &mut [f32]) {
        assert!(input.len() >= images * self.input.image(), "an input of {} values", input.len());
        assert!(gradient.len() >= images * self.output.image(), "a gradient of {} values", gradient.len());
        assert!(part.sums.len() >= self.part_len(), "a part of {} values", part.sums.len());
        let scratch = &mut scratch[..self.scratch_len(images)];
        let held = self.held(images);
        let planes = self.planes(held);
        let (frequencies, panels) = (self.tile.frequencies(), self.panels.len());
        let (v, y) = scratch.split_at_mut(frequencies * planes[0]);
        let (v, y, sums) = (Shared::new(v), Shared::new(y), Shared::new(part.sums));
        let tiles = images * self.tiling.per_image;
        let mut first = 0;
        while first < tiles {
            let end = self.block_end(first, tiles);
            let begun = part.begun || first > 0;
            let block = Block { layer: self, input, gradient, v, y, planes, held, first, end };
            if self.cooperative || part.spread {
                (first..end).into_par_iter().for_each(|tile| self.isa.run(Forwards(&block, tile..tile + 1)));
            } else {
                self.isa.run(Forwards(&block, first..end));
            }
            let products = |frequencies: Range<usize>, panel| {
                let (panel, inputs) = (self.panels.get(panel), 0..self.channels[0]);
                let start = sums.start().wrapping_add(frequencies.start * self.plane + panel.channel);
                let to = Place { start, plane: self.plane, pixel: self.output.pixel };
                self.isa.run(Products { block: &block, frequencies, panel, inputs, begun, to });
            };
            if self.cooperative {
                self.large(&block, sums, begun);
            } else if part.spread {
                let pieces = (0..frequencies * panels).into_par_iter();
                pieces.for_each(|i| products(i / panels..i / panels + 1, i % panels));
            } else {
                (0..panels).for_each(|panel| products(0..frequencies, panel));
            }
            first = end;
        }
    }

    fn cooperative(&self) -> bool {
        self.cooperative
    }

    fn phases(&self, images: usize) -> Vec<Phase> {
        let (mut phases, mut first) = (Vec::new(), 0);
        let tiles = images * self.tiling.per_image;
        let frequencies = self.tile.frequencies();
        while first < tiles {
            let end = self.block_end(first, tiles);
            let count = end - first;
            let [inputs, out] = self.channels;
            let values = (count * frequencies) as f64;
            let transforms = TRANSFORM * values * (inputs + out) as f64;
            let products = 2.0 * values * (inputs * out) as f64;
            phases.push(Phase { pieces: count, work: transforms });
            let pieces = if self.cooperative { self.pieces() } else { frequencies };
            phases.push(Phase { pieces: pieces * self.panels.len(), work: products });
            first = end;
        }
        phases
    }

    fn finish(&self, parts: &[f32], gradient: &mut [f32], begun: bool) {
        assert!(!self.cooperative, "the gradient of a large layer is its part");
        assert!(parts.len().is_multiple_of(self.part_len()), "parts of {} values", parts.len());
        finish::run(self.isa, self.tile, self.channels, parts, gradient, begun);
    }
}

/// A few tiles of a call.
struct Block<'a> {
    layer: &'a WinogradWeightGradient,
    input: &'a [f32],
    gradient: &'a [f32],
    /// Transformed patches.
    v: Shared<'a, f32>,
    /// Transformed gradients.
    y: Shared<'a, f32>,
    /// f32 from one frequency to the next of both.
    planes: [usize; 2],
    /// Tiles for which the scratch is laid out.
    held: usize,
    /// The tiles of the block.
    first: usize,
    end: usize,
}

impl Block<'_> {
    /// f32 of transformed gradients before those of a panel.
    #[inline(always)]
    fn before(&self, panel: Panel) -> usize {
        panel.channel * self.held
    }
}

/// Patches and gradients to frequencies, for some tiles.
struct Forwards<'a>(&'a Block<'a>, Range<usize>);

impl Kernel for Forwards<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `run` checked the sizes, and each tile is transformed once.
        unsafe {
            match self.0.layer.tile {
                Tile::Two => self.transform::<S, 2, 4>(),
                Tile::Four => self.transform::<S, 4, 6>(),
            }
        }
    }
}

impl Forwards<'_> {
    /// # Safety
    ///
    /// The block's slices and scratch have their sizes; nobody else touches these tiles.
    #[inline(always)]
    unsafe fn transform<S: Simd, const M: usize, const N: usize>(self)
    where
        Input: Line<N, N>,
        Gradient: Line<M, N>,
    {
        let Block { layer, input, gradient, v, y, planes, first, .. } = self.0;
        let zeros = layer.zeros.as_ptr();
        for tile in self.1.clone() {
            let place = layer.tiling.place(tile);
            let image = |map: &[f32], image: usize| map.as_ptr().wrapping_add(place.image * image);
            let to = v.start().wrapping_add((tile - first) * layer.patch);
            let patch = (image(input, layer.input.image()), zeros);
            let panels = InPanels { block: self.0, to: y.start(), tile: tile - first };
            let values = (image(gradient, layer.output.image()), zeros);
            let [row, column] = place.output.map(|i| i as isize);
            // SAFETY: the caller's promise.
            unsafe {
                layer.input.transform::<S, Input, N, N>(patch, layer.tiling.patch(place), &to, planes[0]);
                layer.output.transform::<S, Gradient, M, N>(values, [row, column], &panels, planes[1]);
            }
        }
    }
}

/// A tile's channels, panel by panel.
struct InPanels<'a> {
    block: &'a Block<'a>,
    to: *mut f32,
    tile: usize,
}

impl Destination for InPanels<'_> {
    #[inline(always)]
    fn channel(&self, channel: usize) -> *mut f32 {
        let panel = self.block.layer.panels.get(channel / self.block.layer.panel);
        let within = self.tile * panel.blocks * BLOCK + channel - panel.channel;
        self.to.wrapping_add(self.block.before(panel) + within)
    }
}
