//! How a batch is divided: chunks that a thread takes at a time, parts that sums are formed in, teams of threads on a part.
//! What the arithmetic sees of it, parts, and chunks where there are sums, depends on the plan and the batch alone.

use super::{PartSum, Team};
use crate::cpu::planned::Planned;
use crate::cpu::vector::simd::padded;
use crate::plan::{Segment, Sums};

/// Parts that a sum over the batch is formed in, at most: a constant of the arithmetic, not of the machine. More parts cost
/// a buffer each; threads beyond them help with a part.
const MOST_PARTS: usize = 16;

/// Parts that a batch is cut into at least, where it has as many images.
const FEWEST_PARTS: usize = 8;

/// f32 that the parts of a segment's weight gradients may take altogether, or there are fewer parts.
const PARTS_LEN: usize = 6 << 20;

/// Terms that a value of a large part is the sum of at least, or there are fewer parts: each value is written and read again
/// past the caches.
const TERMS: usize = 128;

/// f32 of a large part.
const LARGE_PART: usize = 64 << 10;

/// A batch of a plan, and the threads that are there for it.
#[derive(Clone, Copy)]
pub(crate) struct Division<'a> {
    pub(crate) planned: &'a Planned,
    pub(crate) images: usize,
    pub(crate) threads: usize,
    /// Whether somebody wants gradients of parameters; their sums are left out otherwise.
    pub(crate) gradients: bool,
}

impl Division<'_> {
    /// Images that a thread takes at a time: what the segment likes, unless threads would go idle. Where sums are formed
    /// it is a matter of the arithmetic, and must not depend on the machine.
    pub(crate) fn chunk(&self, segment: &Segment) -> usize {
        let pieces = if segment.sums.is_empty() { 2 * self.threads } else { FEWEST_PARTS };
        segment.images.min(self.images.div_ceil(pieces))
    }

    /// Chunks of the batch.
    pub(crate) fn chunks(&self, segment: &Segment) -> usize {
        self.images.div_ceil(self.chunk(segment))
    }

    /// The sums of a segment, not yet placed.
    pub(crate) fn sums(&self, segment: &Segment) -> Vec<PartSum> {
        let part_sum = |&sum: &Sums| {
            let (floats, doubles) = match sum {
                Sums::Moments(norm) | Sums::GradientMoments(norm) => {
                    (0, 2 * self.planned.plan.steps.norms[norm].pixel)
                }
                Sums::Weight(_) | Sums::Bias(_) if !self.gradients => return None,
                Sums::Weight(weight) if self.planned.weights[weight].kernel.cooperative() => (0, 0),
                Sums::Weight(weight) => (self.planned.weights[weight].kernel.part_len(), 0),
                Sums::Bias(conv) => (0, 2 * padded(self.planned.plan.steps.convs[conv].shape.output[0])),
            };
            Some(PartSum { sum, start: 0, floats, doubles, own: None })
        };
        segment.sums.iter().filter_map(part_sum).collect()
    }

    /// Parts of the batch: as many as there are chunks, or fewer where each has sums of its own.
    pub(crate) fn parts(&self, segment: &Segment, sums: &[PartSum]) -> usize {
        let chunks = self.chunks(segment);
        if segment.cooperative {
            return 1;
        }
        if sums.is_empty() {
            return chunks;
        }
        let floats: usize = sums.iter().map(|sum| sum.floats).sum();
        let worth = sums.iter().filter(|sum| sum.floats >= LARGE_PART).map(|sum| match sum.sum {
            Sums::Weight(weight) => self.planned.weights[weight].kernel.terms(self.images) / TERMS,
            _ => MOST_PARTS,
        });
        let room = PARTS_LEN / floats.max(1);
        let most = worth.fold(room, usize::min).clamp(1, MOST_PARTS);
        chunks.min(1 << most.ilog2())
    }

    /// Who works on each of so many parts.
    pub(crate) fn team(&self, segment: &Segment, parts: usize) -> Team {
        let several = self.threads > parts;
        let chunks = if several { self.threads.div_ceil(parts) } else { 1 };
        Team { several, chunks: chunks.min(self.chunks(segment).div_ceil(parts)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernel::choice::Precise;
    use crate::cpu::vector::simd::Isa;
    use crate::engine::{Keep, Norm};
    use crate::graph::{Builder, Conv2d};

    #[test]
    fn large_parts_are_fewer_where_their_values_have_few_terms() {
        let (mut b, x) = Builder::new([3, 4, 4]);
        let x = b.conv("stem", Conv2d::new(256, 1), x).unwrap();
        let x = b.conv("large", Conv2d::new(512, 1), x).unwrap();
        let x = b.node("mean", crate::graph::Op::GlobalAvgPool, &[x]).unwrap();
        b.linear("classifier", 5, x).unwrap();
        let network = b.finish("two-widths").unwrap();
        let output = [network.output()];
        let planned =
            Planned::new(Isa::detect(), &network, Norm::Batch, Keep::ForParams, &output, Precise::No, true);
        let most = |images| {
            let division = Division { planned: &planned, images, threads: 2, gradients: true };
            let segments = planned.plan.backward.segments.iter();
            let parts = segments.filter_map(|segment| {
                let sums = division.sums(segment);
                let large = sums.iter().any(|sum| sum.floats == 256 * 512);
                large.then(|| division.parts(segment, &sums))
            });
            parts.collect::<Vec<_>>()
        };
        // By hand: 16 places of an image, 128 terms for a part at least: 32 images have 512, 64 have 1024.
        assert_eq!([most(32), most(64)], [[4], [8]]);
        // Fewer terms than one part wants are one part.
        assert_eq!(most(4), [1]);
    }
}
