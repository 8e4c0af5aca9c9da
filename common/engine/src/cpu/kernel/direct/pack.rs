//! Weights in the order in which a product reads them: `[phase][panel][tap][channel of the source][lane]`.

use std::ops::Range;

use rayon::prelude::*;

use super::phases::{Phase, Phases};
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};
use crate::cpu::vector::tile::{Panel, Panels};
use crate::cpu::vector::transpose::transpose;
use crate::plan::ConvShape;

/// Weights from which packing is worth a thread pool.
const PARALLEL: usize = 1 << 16;

/// Which channel of PyTorch's (out, in / groups, rows, columns) is a lane of the result, and which is summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Lanes are output channels.
    Forward,
    /// Lanes are input channels.
    Backward,
}

/// PyTorch's weight, one value per kernel element for each pair of channels.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    pub(super) isa: Isa,
    pub(super) shape: &'a ConvShape,
    pub(super) direction: Direction,
    pub(super) values: &'a [f32],
    pub(super) scale: Option<&'a [f32]>,
}

impl Weight<'_> {
    /// The source channels that a lane's group meets.
    fn channels(&self, lane: usize) -> Range<usize> {
        let [lanes, channels] = match self.direction {
            Direction::Forward => [self.shape.output[0], self.shape.input[0]],
            Direction::Backward => [self.shape.input[0], self.shape.output[0]],
        };
        if lane >= lanes {
            return 0..0;
        }
        let group = lane / (lanes / self.shape.groups);
        let size = channels / self.shape.groups;
        group * size..(group + 1) * size
    }

    /// The kernels of a lane, from a source channel of its group on.
    fn kernels(&self, lane: usize, channel: usize) -> Kernels {
        let in_group = self.shape.input[0] / self.shape.groups;
        let area = self.shape.kernel[0] * self.shape.kernel[1];
        let [out, input, step] = match self.direction {
            Direction::Forward => [lane, channel, area],
            Direction::Backward => [channel, lane, in_group * area],
        };
        Kernels { first: (out * in_group + input % in_group) * area, step }
    }

    /// Packs for all phases and panels.
    pub(super) fn pack(&self, phases: &Phases, panels: Panels, mut into: &mut [f32]) {
        let mut parts = Vec::new();
        for phase in &phases.all {
            for panel in panels.iter() {
                let (part, rest) = into.split_at_mut(phase.depth() * panel.blocks * BLOCK);
                parts.push((phase, panel, part));
                into = rest;
            }
        }
        let pack = |(phase, panel, part)| self.pack_panel(phases, phase, panel, part);
        if self.values.len() < PARALLEL {
            parts.into_iter().for_each(pack);
        } else {
            parts.into_par_iter().for_each(pack);
        }
    }

    fn pack_panel(&self, phases: &Phases, phase: &Phase, panel: Panel, part: &mut [f32]) {
        if phase.taps.is_empty() {
            return;
        }
        if self.shape.groups == 1 && self.shape.kernel == [1, 1] {
            return self.isa.run(Matrix { of: *self, panel, part });
        }
        let (channels, width) = (phases.source.channels, panel.blocks * BLOCK);
        for first in (0..channels).step_by(BLOCK) {
            let block = first..channels.min(first + BLOCK);
            for lanes in (0..width).step_by(BLOCK) {
                let met: [_; BLOCK] =
                    std::array::from_fn(|lane| self.met(panel.channel + lanes + lane, &block));
                for (t, &tap) in phase.taps.iter().enumerate() {
                    let square = self.square(&met, panel.channel + lanes, block.start, tap);
                    for (channel, row) in block.clone().zip(&square) {
                        part[(t * channels + channel) * width + lanes..][..BLOCK].copy_from_slice(row);
                    }
                }
            }
        }
    }

    /// What a lane meets of a block of source channels: which, counted from the block's first, and their kernels.
    fn met(&self, lane: usize, block: &Range<usize>) -> (Range<usize>, Kernels) {
        let met = self.channels(lane);
        let met = met.start.max(block.start)..met.end.min(block.end);
        if met.is_empty() {
            return (0..0, Kernels { first: 0, step: 0 });
        }
        let kernels = self.kernels(lane, met.start);
        (met.start - block.start..met.end - block.start, kernels)
    }

    /// One tap between a block of lanes from `lanes` on and a block of source channels from `block` on, `[channel][lane]`:
    /// zeros between groups, and for lanes that are only padding.
    fn square(
        &self,
        met: &[(Range<usize>, Kernels); BLOCK],
        lanes: usize,
        block: usize,
        tap: usize,
    ) -> [[f32; BLOCK]; BLOCK] {
        let mut square = [[0.0; BLOCK]; BLOCK];
        for (lane, (channels, kernels)) in met.iter().enumerate() {
            for (i, row) in square[channels.clone()].iter_mut().enumerate() {
                row[lane] = self.values[kernels.first + i * kernels.step + tap];
            }
        }
        let Some(scale) = self.scale else { return square };
        for (channel, row) in square.iter_mut().enumerate() {
            for (lane, value) in row.iter_mut().enumerate() {
                let of = if self.direction == Direction::Forward { lanes + lane } else { block + channel };
                // Padding has none.
                *value *= scale.get(of).copied().unwrap_or_default();
            }
        }
        square
    }
}

/// The packing of a kernel of one element, whose weights are a matrix, beside a panel.
struct Matrix<'a> {
    of: Weight<'a>,
    panel: Panel,
    part: &'a mut [f32],
}

impl Kernel for Matrix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { of: Weight { shape, direction, values, scale, .. }, panel, part } = self;
        let (columns, width) = (shape.input[0], panel.blocks * BLOCK);
        let [lanes, channels] = match direction {
            Direction::Forward => [shape.output[0], columns],
            Direction::Backward => [columns, shape.output[0]],
        };
        let lanes = panel.channel..lanes.min(panel.channel + width);
        let (met, padding) = part.split_at_mut(channels * width);
        padding.fill(0.0);
        if direction == Direction::Forward {
            if lanes.len() < width {
                met.fill(0.0);
            }
            let rows = &values[lanes.start * columns..];
            transpose::<S>((rows, columns), (met, width), [lanes.len(), columns]);
        } else {
            for (row, from) in met.chunks_exact_mut(width).zip(values.chunks_exact(columns)) {
                let (row, padding) = row.split_at_mut(lanes.len());
                row.copy_from_slice(&from[lanes.clone()]);
                padding.fill(0.0);
            }
        }
        let Some(scale) = scale else { return };
        for (channel, row) in met.chunks_exact_mut(width).enumerate() {
            for (lane, value) in row[..lanes.len()].iter_mut().enumerate() {
                *value *=
                    if direction == Direction::Forward { scale[lanes.start + lane] } else { scale[channel] };
            }
        }
    }
}

/// The kernels of a lane: where that of a source channel begins, and how far it is to the next channel's.
struct Kernels {
    first: usize,
    step: usize,
}
