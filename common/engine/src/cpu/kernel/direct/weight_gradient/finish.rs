//! The end of a weight gradient: parts summed in their order, in f64, and added to PyTorch's layout.

use super::DirectWeightGradient;
use crate::cpu::kernel::conv::WeightGradient;
use crate::cpu::vector::simd::{BLOCK, Kernel, Simd};
use crate::cpu::vector::transpose::transpose;

/// Finishes BLOCK output channels from `first` on: their slice of PyTorch's gradient. Its sums name no vector: compiled
/// for the instruction set, those of a block become some.
pub(super) struct Finish<'a> {
    pub(super) of: &'a DirectWeightGradient,
    pub(super) parts: &'a [f32],
    pub(super) first: usize,
    pub(super) gradient: &'a mut [f32],
    /// Whether it holds gradients to be added to.
    pub(super) begun: bool,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { of, parts, first, gradient, begun } = self;
        let channels = of.shape.input[0];
        let taps = &of.phases.all[0].taps;
        let in_group = channels / of.shape.groups;
        let out_group = of.shape.output[0] / of.shape.groups;
        let area = taps.len();
        // A block of channels at a time, so that what is read and what is written stay in the first cache.
        let mut sums = vec![0.0; BLOCK * area * BLOCK];
        let mut rows = vec![0.0; BLOCK * area * BLOCK];
        for begin in (0..channels).step_by(BLOCK) {
            let block = begin..channels.min(begin + BLOCK);
            for (t, &tap) in taps.iter().enumerate() {
                for (i, c) in block.clone().enumerate() {
                    let sum = sum(of, parts, t * channels + c, first);
                    sums[(i * area + tap) * BLOCK..][..BLOCK].copy_from_slice(&sum);
                }
            }
            transpose::<S>((&sums, BLOCK), (&mut rows, BLOCK * area), [block.len() * area, BLOCK]);
            let lanes = gradient.chunks_exact_mut(in_group * area).zip(rows.chunks_exact(BLOCK * area));
            for (lane, (gradient, row)) in lanes.enumerate() {
                // A group has no weight to other groups' inputs.
                let group = (first + lane) / out_group * in_group;
                let met = block.start.max(group)..block.end.min(group + in_group);
                if met.is_empty() {
                    continue;
                }
                let to = &mut gradient[(met.start - group) * area..(met.end - group) * area];
                let row = &row[(met.start - begin) * area..];
                if begun {
                    to.iter_mut().zip(row).for_each(|(to, sum)| *to += sum);
                } else {
                    to.iter_mut().zip(row).for_each(|(to, &sum)| *to = 0.0 + sum);
                }
            }
        }
    }
}

/// The sum over all parts of a vector of output channels, for one of a place's values.
#[inline(always)]
fn sum(of: &DirectWeightGradient, parts: &[f32], value: usize, channel: usize) -> [f32; BLOCK] {
    let mut sum = [0.0; BLOCK];
    let panel = of.panels.get(channel / (of.panels.get(0).blocks * BLOCK));
    let offset = of.offset(panel, value) + channel - panel.channel;
    for part in parts.chunks_exact(of.part_len()) {
        let lanes = &part[offset..][..BLOCK];
        for (sum, &lane) in sum.iter_mut().zip(lanes) {
            *sum += f64::from(lane);
        }
    }
    sum.map(|sum| sum as f32)
}
