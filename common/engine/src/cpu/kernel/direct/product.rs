//! The product of a map with packed weights.
//!
//! Loops, from the outside: groups of images whose source stays in the second cache; phases; panels of output
//! channels; blocks of the sum, whose weights stay in the second cache as well; tiles of places, which may span rows
//! and images. A sum of several blocks is gathered in scratch and meets the epilogue once, after its last block.

use super::cursor::Cursor;
use super::phases::{Phase, Phases, Stretch};
use crate::cpu::kernel::conv::Job;
use crate::cpu::vector::epilogue::{Epilogue, Form, Known, with_form};
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};
use crate::cpu::vector::tile::{
    FULL_ROWS, MAX_ROWS, NARROW_ROWS, Panel, Panels, rows, rows_by_panel, with_narrow, with_tile,
};

/// f32 of source that a group of images may have, beside small and large weights: large ones are worth being read
/// less often.
const GROUP: [usize; 2] = [64 << 10, 128 << 10];

/// f32 of the largest tile.
const MOST: usize = 24 * BLOCK;

/// Everything that is known before the first image.
#[derive(Debug)]
pub(super) struct Product {
    isa: Isa,
    phases: Phases,
    panels: Panels,
    /// Images of a group.
    group: usize,
}

impl Product {
    pub(super) fn new(isa: Isa, phases: Phases) -> Self {
        let panels = Panels::new(isa, phases.channels);
        let source = GROUP[usize::from(phases.depth() * panels.channels() > GROUP[1])];
        let group = (source / phases.source.read_len()).max(1);
        Self { isa, phases, panels, group }
    }

    pub(super) const fn isa(&self) -> Isa {
        self.isa
    }

    pub(super) const fn phases(&self) -> &Phases {
        &self.phases
    }

    pub(super) const fn panels(&self) -> Panels {
        self.panels
    }

    /// f32 of the packed weights.
    pub(super) fn packed_len(&self) -> usize {
        self.phases.depth() * self.panels.channels()
    }

    /// f32 of a group's sums between blocks.
    fn sums_len(&self, group: usize) -> usize {
        let blocks = self.phases.all.iter().map(|phase| phase.blocks.len()).max();
        if blocks > Some(1) {
            group * self.phases.most_places() * self.panels.get(0).blocks * BLOCK
        } else {
            0
        }
    }

    pub(super) fn scratch_len(&self, images: usize) -> usize {
        let group = self.group.min(images);
        group * self.phases.source.copy_len() + self.sums_len(group)
    }

    pub(super) fn run(&self, job: Job<'_>) {
        let Job { packed, images, from, to, epilogue, scratch } = job;
        let from = &from[..images * self.phases.source.len()];
        let to = &mut to[..images * self.phases.write_len];
        let packed = &packed[..self.packed_len()];
        let scratch = &mut scratch[..self.scratch_len(images)];
        epilogue.check(to.len(), self.panels.channels());
        self.isa.run(Call { product: self, packed, from, to, epilogue: &epilogue, scratch });
    }
}

/// One call, its slices cut to size.
struct Call<'a> {
    product: &'a Product,
    packed: &'a [f32],
    from: &'a [f32],
    to: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
    scratch: &'a mut [f32],
}

impl Kernel for Call<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Product { isa, phases, panels, group } = self.product;
        let source = &phases.source;
        let images = self.from.len() / source.len();
        let group = images.div_ceil(images.div_ceil(*group));
        let (copies, sums) = self.scratch.split_at_mut(group * source.copy_len());
        for (i, from) in self.from.chunks(group * source.len()).enumerate() {
            let images = from.len() / source.len();
            let read = source.lay_out(from, copies);
            let mut packed = self.packed;
            for phase in &phases.all {
                for panel in panels.iter() {
                    let (weights, rest) = packed.split_at(phase.depth() * panel.blocks * BLOCK);
                    packed = rest;
                    let sweep = Sweep {
                        isa: *isa,
                        phases,
                        phase,
                        panel,
                        images,
                        read,
                        write: i * group * phases.write_len,
                        epilogue: self.epilogue,
                    };
                    sweep.run::<S>(weights, self.to, sums);
                }
            }
        }
    }
}

/// All places of a group of images, of one phase, beside one panel.
struct Sweep<'a> {
    isa: Isa,
    phases: &'a Phases,
    phase: &'a Phase,
    panel: Panel,
    images: usize,
    read: &'a [f32],
    /// Offset of the group's first image in the destination.
    write: usize,
    epilogue: &'a Epilogue<'a>,
}

impl Sweep<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, mut weights: &[f32], to: &mut [f32], sums: &mut [f32]) {
        let count = self.images * self.phase.places.len();
        let one_vector = self.panel.is_narrow(S::LANES, self.phases.channels);
        let tiles = count.div_ceil(if one_vector { NARROW_ROWS } else { rows(self.isa, self.panel.blocks) });
        let (height, taller) = (count / tiles, count % tiles);
        let width = self.panel.blocks * BLOCK;
        let last = self.phase.blocks.len() - 1;
        let form = self.epilogue.known();
        let finishes = S::FINISHES && !one_vector && form != Known::Asked;
        let mut finished = [0.0; MOST];
        let mut writes = [0; MAX_ROWS];
        for (b, runs) in self.phase.blocks.iter().enumerate() {
            let mut cursor = Cursor::new(self.phases, self.phase, self.write + self.panel.channel);
            let mut sums = sums.as_mut_ptr();
            let mut tile = Tile {
                runs,
                weights: weights.as_ptr(),
                reads: [self.read.as_ptr(); MAX_ROWS],
                sums: None,
                to: finished.as_mut_ptr(),
            };
            for t in 0..tiles {
                let height = height + usize::from(t < taller);
                tile.sums = (b > 0).then_some(sums.cast_const());
                // SAFETY: the phases' places and runs lie inside images and halo, the writes inside `to`, at whole blocks;
                // weights, sums and `finished` hold `width` values for every row of their block and every place.
                #[allow(unsafe_code)]
                unsafe {
                    if finishes && b == last && height == FULL_ROWS {
                        let places = cursor.steps();
                        with_form!(
                            form,
                            self.finish::<S, _>(&tile, places, to.as_mut_ptr()),
                            else unreachable!("an epilogue that must be asked")
                        );
                    } else {
                        let writes = &mut writes[..height];
                        for (read, write) in tile.reads.iter_mut().zip(&mut *writes) {
                            let [from, to] = cursor.step();
                            *read = self.read.as_ptr().wrapping_add(from);
                            *write = to;
                        }
                        if one_vector {
                            with_narrow!(height, narrow::<S>(&tile));
                        } else {
                            with_tile!(height, self.panel.blocks, multiply::<S>(&tile));
                        }
                        if b == last {
                            let (vectors, channel) = (width / S::LANES, self.panel.channel);
                            self.epilogue.tile::<S>(form, tile.to, vectors, channel, to.as_mut_ptr(), writes);
                        } else {
                            sums.copy_from_nonoverlapping(tile.to, height * width);
                        }
                    }
                }
                sums = sums.wrapping_add(height * width);
            }
            weights = &weights[runs.iter().map(|run| run.len).sum::<usize>() * width..];
        }
    }

    /// Multiplies a full tile by a panel of two vectors and finishes it in its registers.
    ///
    /// # Safety
    ///
    /// As for [`sums`] and [`Epilogue::registers`]; the places are read and written there.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd, F: Form>(
        &self,
        tile: &Tile<'_>,
        places: [[usize; 2]; FULL_ROWS],
        to: *mut f32,
    ) {
        const { assert!(!S::FINISHES || S::PANEL * BLOCK == 2 * S::LANES, "a panel is two vectors") };
        // SAFETY: the caller's promise.
        unsafe {
            let reads = places.map(|[read, _]| self.read.as_ptr().add(read));
            let sums = sums::<S, FULL_ROWS, 2, 2>(tile, reads);
            let writes = places.map(|[_, write]| write);
            self.epilogue.registers::<S, F, FULL_ROWS, 2>(sums, self.panel.channel, to, writes);
        }
    }
}

/// One tile of one block.
struct Tile<'a> {
    runs: &'a [Stretch],
    weights: *const f32,
    reads: [*const f32; MAX_ROWS],
    /// What earlier blocks summed, where there were any.
    sums: Option<*const f32>,
    /// Where the sums go.
    to: *mut f32,
}

/// Multiplies a tile of R places by a panel of W vectors.
///
/// # Safety
///
/// As for [`product`].
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn multiply<S: Simd, const R: usize, const W: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promise.
    unsafe { product::<S, R, W, W>(tile) }
}

/// Multiplies a tile of R places by the first of a panel's two vectors: the other is padding.
///
/// # Safety
///
/// As for [`product`].
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn narrow<S: Simd, const R: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promise.
    unsafe { product::<S, R, 1, 2>(tile) }
}

/// Multiplies a tile of R places by the first W vectors of a panel of P, and keeps the sums.
///
/// # Safety
///
/// As for [`sums`], of the tile's first R reads; where they go is valid for R times P vectors.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn product<S: Simd, const R: usize, const W: usize, const P: usize>(tile: &Tile<'_>) {
    const { assert!(W <= P && R * P * S::LANES <= MOST) };
    // SAFETY: the caller's promise.
    unsafe {
        let reads = *tile.reads.first_chunk().expect("a tile is at most so high");
        let sums = sums::<S, R, W, P>(tile, reads);
        for r in 0..R {
            for j in 0..W {
                S::store(tile.to.add((r * P + j) * S::LANES), sums[r][j]);
            }
        }
    }
}

/// A tile of R places by the first W vectors of a panel of P, and what was summed already.
///
/// # Safety
///
/// The places are valid for the tile's runs, weights for P vectors per value of the runs, earlier sums for R times P
/// vectors.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn sums<S: Simd, const R: usize, const W: usize, const P: usize>(
    tile: &Tile<'_>,
    places: [*const f32; R],
) -> [[S::V; W]; R] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[S::zero(); W]; R];
        let mut weights = tile.weights;
        for run in tile.runs {
            let reads = places.map(|place| place.add(run.offset));
            rows_by_panel::<S, R, W>(run.len, reads, (weights, P * S::LANES), &mut acc);
            weights = weights.add(run.len * P * S::LANES);
        }
        if let Some(earlier) = tile.sums {
            for r in 0..R {
                for j in 0..W {
                    acc[r][j] = S::add(S::load(earlier.add((r * P + j) * S::LANES)), acc[r][j]);
                }
            }
        }
        acc
    }
}
