//! Weights in the order in which a product reads them: `[phase][panel][tap][channel of the source][lane]`.

use std::ops::Range;

use rayon::prelude::*;

use super::phases::{Phase, Phases};
use crate::cpu::vector::simd::BLOCK;
use crate::cpu::vector::tile::{Panel, Panels};
use crate::plan::ConvShape;

/// Weights from which packing is worth a thread pool.
const PARALLEL: usize = 1 << 16;

/// Source channels packed together, so that what they are read from and written to stays in the first cache.
const CHANNELS: usize = 16;

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
        let (channels, width) = (phases.source.channels, panel.blocks * BLOCK);
        for first in (0..channels).step_by(CHANNELS) {
            let block = first..channels.min(first + CHANNELS);
            for lane in 0..width {
                let met = self.channels(panel.channel + lane);
                let met = met.start.max(block.start)..met.end.min(block.end);
                if met.len() < block.len() {
                    // Other groups' channels, and lanes that are only padding.
                    for row in
                        (0..phase.taps.len()).flat_map(|t| block.clone().map(move |c| t * channels + c))
                    {
                        part[row * width + lane] = 0.0;
                    }
                }
                if met.is_empty() {
                    continue;
                }
                let kernels = self.kernels(panel.channel + lane, met.start);
                for (t, &tap) in phase.taps.iter().enumerate() {
                    let to = part[(t * channels + met.start) * width + lane..].iter_mut().step_by(width);
                    let from = self.values[kernels.first + tap..].iter().step_by(kernels.step);
                    let pairs = to.zip(from).take(met.len());
                    match (self.scale, self.direction) {
                        (None, _) => pairs.for_each(|(to, from)| *to = *from),
                        (Some(scale), Direction::Forward) => {
                            let scale = scale[panel.channel + lane];
                            pairs.for_each(|(to, from)| *to = from * scale);
                        }
                        (Some(scale), Direction::Backward) => {
                            let pairs = pairs.zip(&scale[met.clone()]);
                            pairs.for_each(|((to, from), scale)| *to = from * scale);
                        }
                    }
                }
            }
        }
    }
}

/// The kernels of a lane: where that of a source channel begins, and how far it is to the next channel's.
struct Kernels {
    first: usize,
    step: usize,
}
