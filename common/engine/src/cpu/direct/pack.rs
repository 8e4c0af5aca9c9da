//! Weights in the order in which a product reads them: `[phase][panel][tap][channel of the source][lane]`.

use rayon::prelude::*;

use super::plan::{Phase, Plan};
use crate::cpu::conv::ConvShape;
use crate::cpu::simd::LANES;
use crate::cpu::tile::{Panel, Panels};

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

impl<'a> Weight<'a> {
    /// The kernel that leads from a source channel to a lane, and its factor; none where groups keep them apart.
    #[inline]
    fn kernel(&self, lane: usize, channel: usize) -> Option<(&'a [f32], f32)> {
        let (out, input) = match self.direction {
            Direction::Forward => (lane, channel),
            Direction::Backward => (channel, lane),
        };
        let shape = self.shape;
        let in_group = shape.input[0] / shape.groups;
        let first = out / (shape.output[0] / shape.groups) * in_group;
        let area = shape.kernel[0] * shape.kernel[1];
        let input = input.checked_sub(first).filter(|&input| input < in_group)?;
        let kernel = &self.values[(out * in_group + input) * area..][..area];
        Some((kernel, self.scale.map_or(1.0, |scale| scale[out])))
    }

    /// Packs for all phases and panels.
    pub(super) fn pack(&self, plan: &Plan, panels: Panels, mut into: &mut [f32]) {
        let mut parts = Vec::new();
        for phase in &plan.phases {
            for panel in panels.iter() {
                let (part, rest) = into.split_at_mut(phase.depth() * panel.vectors * LANES);
                parts.push((phase, panel, part));
                into = rest;
            }
        }
        let pack = |(phase, panel, part)| self.pack_panel(plan, phase, panel, part);
        if self.values.len() < PARALLEL {
            parts.into_iter().for_each(pack);
        } else {
            parts.into_par_iter().for_each(pack);
        }
    }

    fn pack_panel(&self, plan: &Plan, phase: &Phase, panel: Panel, part: &mut [f32]) {
        if phase.taps.is_empty() {
            return;
        }
        let (channels, width) = (plan.source.channels, panel.vectors * LANES);
        for first in (0..channels).step_by(CHANNELS) {
            for lane in 0..width {
                for channel in first..channels.min(first + CHANNELS) {
                    let wanted = panel.channel + lane < plan.channels;
                    let kernel = wanted.then(|| self.kernel(panel.channel + lane, channel)).flatten();
                    let to = part[channel * width + lane..].iter_mut().step_by(channels * width);
                    for (to, &tap) in to.zip(&phase.taps) {
                        *to = kernel.map_or(0.0, |(kernel, scale)| kernel[tap] * scale);
                    }
                }
            }
        }
    }
}
