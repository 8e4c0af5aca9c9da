//! The weight gradient: for each value that a place reads, its product with the place's gradient, summed over places.
//!
//! A part is `[panel][value of the runs][lane]`: what a tile adds to lies in a row. Loops, from the outside: groups of
//! images; segments of places, whose gradients stay in the first cache; panels of output channels; runs; tiles of R
//! values by W vectors ([`sweep`]). Where other threads have nothing to do they take tiles, for all images of a group.
//!
//! Segments are part of the result's definition, for they are where sums are rounded. Where an image has many places,
//! a segment is at most [`segments::SEGMENT`] of them, summed from zero and then added to the part, so that errors do not pile
//! up. Where it has few, the sum goes on from the part's value through all images of the call: the same chain however
//! many images a call has, and the part, which is large for such layers, is read once per group.

mod finish;
mod segments;
mod sweep;

use rayon::prelude::*;

use super::phases::{Phases, Stretch};
use crate::cpu::kernel::conv::{Part, Phase, WeightGradient};
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::{BLOCK, Isa};
use crate::cpu::vector::tile::{Panel, Panels, rows};
use crate::plan::ConvShape;
use finish::Finish;
use segments::{FEW_PLACES, Strip, segments};
use sweep::{Group, Sweep};

/// f32 of source that a group of images may have beside small and large parts: large ones are worth being read less
/// often.
const GROUP: [usize; 2] = [64 << 10, 256 << 10];

/// f32 of a large part.
const LARGE: usize = 128 << 10;

/// f32 of all parts from which finishing is worth a thread pool.
const PARALLEL: usize = 1 << 16;

/// The weight gradient of any convolution and of fully connected layers; groups are computed as if dense.
#[derive(Debug)]
pub(crate) struct DirectWeightGradient {
    isa: Isa,
    shape: ConvShape,
    phases: Phases,
    panels: Panels,
    /// Of one image, in order.
    segments: Vec<Vec<Strip>>,
    /// Images of a group.
    group: usize,
}

impl DirectWeightGradient {
    pub(crate) fn new(isa: Isa, shape: ConvShape) -> Self {
        let phases = Phases::forward(&shape);
        let panels = Panels::new(isa, shape.output[0]);
        let source = GROUP[usize::from(phases.depth() * panels.channels() > LARGE)];
        let group = (source / phases.source.read_len()).max(1);
        let segments = segments(&phases, &shape);
        Self { isa, shape, phases, panels, segments, group }
    }

    /// The values that a place reads.
    fn runs(&self) -> &[Stretch] {
        &self.phases.all[0].runs
    }

    /// Sums of few places go on from image to image.
    fn goes_on(&self) -> bool {
        self.phases.all[0].places.len() < FEW_PLACES
    }

    /// Tiles beside a panel.
    fn tiles(&self, panel: Panel) -> usize {
        self.runs().iter().map(|run| run.len.div_ceil(rows(self.isa, panel.blocks))).sum()
    }

    /// A group's work in about two pieces for each thread of the pool, of tiles that follow one another.
    fn spread(&self, group: &Group<'_>) {
        let panels = self.panels.len();
        let pieces = (2 * rayon::current_num_threads()).div_ceil(panels);
        (0..panels * pieces).into_par_iter().for_each(|i| {
            let (panel, piece) = (i / pieces, i % pieces);
            let tiles = self.tiles(self.panels.get(panel));
            let tiles = piece * tiles / pieces..(piece + 1) * tiles / pieces;
            self.isa.run(Sweep { group, panels: panel..panel + 1, tiles });
        });
    }

    /// Where a part holds a panel's sums for one of a place's values.
    fn offset(&self, panel: Panel, value: usize) -> usize {
        panel.channel * self.phases.depth() + value * panel.blocks * BLOCK
    }
}

impl WeightGradient for DirectWeightGradient {
    fn part_len(&self) -> usize {
        self.phases.depth() * self.panels.channels()
    }

    fn terms(&self, images: usize) -> usize {
        images * self.phases.all[0].places.len()
    }

    fn scratch_len(&self, images: usize) -> usize {
        self.group.min(images) * self.phases.source.copy_len()
    }

    fn run(&self, images: usize, input: &[f32], gradient: &[f32], part: Part<'_>, scratch: &mut [f32]) {
        let (source, gradient_len) = (&self.phases.source, self.shape.output_len());
        let input = &input[..images * source.len()];
        let gradient = &gradient[..images * gradient_len];
        let sums = Shared::new(&mut part.sums[..self.part_len()]);
        let scratch = &mut scratch[..self.scratch_len(images)];
        let group = images.div_ceil(images.div_ceil(self.group));
        let groups = input.chunks(group * source.len()).zip(gradient.chunks(group * gradient_len));
        for (i, (input, gradient)) in groups.enumerate() {
            let read = source.lay_out(input, scratch);
            let group = Group { of: self, read, gradient, sums, begun: part.begun || i > 0 };
            if part.spread {
                self.spread(&group);
            } else {
                self.isa.run(Sweep { group: &group, panels: 0..self.panels.len(), tiles: 0..usize::MAX });
            }
        }
    }

    fn phases(&self, images: usize) -> Vec<Phase> {
        let copied = (images * self.phases.source.copy_len()) as f64;
        let places = images * self.phases.all[0].places.len();
        let tiles = self.panels.iter().map(|panel| self.tiles(panel)).sum();
        let products = 2.0 * (places * self.part_len()) as f64;
        vec![Phase { pieces: 1, work: copied }, Phase { pieces: tiles, work: products }]
    }

    fn finish(&self, parts: &[f32], gradient: &mut [f32], begun: bool) {
        let per_channel = self.shape.weight_len() / self.shape.output[0];
        let finish = |(i, gradient): (usize, &mut [f32])| {
            self.isa.run(Finish { of: self, parts, first: i * BLOCK, gradient, begun });
        };
        if parts.len() < PARALLEL {
            gradient.chunks_mut(BLOCK * per_channel).enumerate().for_each(finish);
        } else {
            gradient.par_chunks_mut(BLOCK * per_channel).enumerate().for_each(finish);
        }
    }
}
