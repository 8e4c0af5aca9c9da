//! The sums themselves: tiles of values by output channels, on one thread or, piece by piece, on several.

use std::ops::Range;

use super::DirectWeightGradient;
use super::segments::Strip;
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::{Kernel, Simd};
use crate::cpu::vector::tile::{MAX_ROWS, Panel, columns_by_panel, rows, with_tile};

/// Images whose source is laid out, and the part that they add to.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) of: &'a DirectWeightGradient,
    /// The images as places read them.
    pub(super) read: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) sums: Shared<'a, f32>,
    /// Whether the part holds sums.
    pub(super) begun: bool,
}

/// Some panels beside some of their tiles, over all images of a group: no two of them touch the same sums.
pub(super) struct Sweep<'a> {
    pub(super) group: &'a Group<'a>,
    pub(super) panels: Range<usize>,
    pub(super) tiles: Range<usize>,
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Group { of, read, gradient, mut begun, .. } = *self.group;
        let (read_len, gradient_len) = (of.phases.source.read_len(), of.shape.output_len());
        let images = gradient.len() / gradient_len;
        if !of.goes_on() {
            for (read, gradient) in read.chunks_exact(read_len).zip(gradient.chunks_exact(gradient_len)) {
                for strips in &of.segments {
                    self.segment::<S>(&Segment { read, gradient, images: 1, strips, begun });
                    begun = true;
                }
            }
            return;
        }
        let strips = &of.segments[0];
        let step = of.shape.stride[1] * of.phases.source.pixel;
        if strips.len() == 1 && read_len == strips[0].count * step {
            // Images follow one another as places do.
            let strips = [Strip { count: images * strips[0].count, ..strips[0] }];
            self.segment::<S>(&Segment { read, gradient, images: 1, strips: &strips, begun });
        } else {
            self.segment::<S>(&Segment { read, gradient, images, strips, begun });
        }
    }
}

/// Places that are summed in one go.
struct Segment<'a> {
    read: &'a [f32],
    gradient: &'a [f32],
    images: usize,
    strips: &'a [Strip],
    /// Whether the part holds sums.
    begun: bool,
}

impl Sweep<'_> {
    #[inline(always)]
    fn segment<S: Simd>(&self, segment: &Segment<'_>) {
        let Group { of, sums, .. } = *self.group;
        for panel in self.panels.clone().map(|index| of.panels.get(index)) {
            let (mut value, mut first) = (0, 0);
            for run in of.runs() {
                let tiles = run.len.div_ceil(rows(of.isa, panel.blocks));
                let (height, taller) = (run.len / tiles, run.len % tiles);
                let mut offset = run.offset;
                for t in 0..tiles {
                    let height = height + usize::from(t < taller);
                    if self.tiles.contains(&(first + t)) {
                        let tile = Tile { of, segment, offset, panel };
                        let part = sums.start().wrapping_add(of.offset(panel, value));
                        // SAFETY: strips lie inside the segment's images, runs inside the halo; the part has a row of
                        // the panel for each value, and no other sweep has this tile.
                        #[allow(unsafe_code)]
                        unsafe {
                            with_tile!(height, panel.blocks, multiply::<S>(&tile, part));
                        }
                    }
                    value += height;
                    offset += height;
                }
                first += tiles;
            }
        }
    }
}

/// Some values of a run beside a panel.
struct Tile<'a> {
    of: &'a DirectWeightGradient,
    segment: &'a Segment<'a>,
    /// Of the first value, from a place's.
    offset: usize,
    panel: Panel,
}

/// Adds the products of R values with W vectors of gradients to a part, or begins it with them.
///
/// # Safety
///
/// The segment's strips lie inside its images; `part` is valid for R times W vectors.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn multiply<S: Simd, const R: usize, const W: usize>(tile: &Tile<'_>, part: *mut f32) {
    const { assert!(R <= MAX_ROWS) };
    let Tile { of, segment, offset, panel } = tile;
    let goes_on = of.goes_on();
    let steps = [of.shape.stride[1] * of.phases.source.pixel, of.shape.output_pixel()];
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[S::zero(); W]; R];
        if goes_on && segment.begun {
            for r in 0..R {
                for j in 0..W {
                    acc[r][j] = S::load(part.add((r * W + j) * S::LANES));
                }
            }
        }
        let mut read = segment.read.as_ptr().add(*offset);
        let mut gradient = segment.gradient.as_ptr().add(panel.channel);
        for _ in 0..segment.images {
            for strip in segment.strips {
                let a = (read.add(strip.read), steps[0]);
                let b = (gradient.add(strip.gradient), steps[1]);
                columns_by_panel::<S, R, W>(strip.count, a, b, &mut acc);
            }
            read = read.wrapping_add(of.phases.source.read_len());
            gradient = gradient.wrapping_add(of.shape.output_len());
        }
        for r in 0..R {
            for j in 0..W {
                let to = part.add((r * W + j) * S::LANES);
                let sum = if goes_on || !segment.begun { acc[r][j] } else { S::add(S::load(to), acc[r][j]) };
                S::store(to, sum);
            }
        }
    }
}
