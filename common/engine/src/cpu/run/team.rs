//! A part of the batch, by one thread or, where there are more threads than parts, by several.
//!
//! A part's sums are a chain in the order of its images, whoever forms them: so a team has a few chunks under way, each in
//! memory of its own, runs what no sum is made of side by side, and comes together where an instruction adds to one. There
//! the chunks take turns, and kernels that can give pieces of a turn to the others.

use std::ops::Range;

use rayon::prelude::*;

use super::View;
use super::execute::Share;
use crate::plan::Instruction;

/// How a segment's parts are worked on.
#[derive(Clone, Copy)]
pub(crate) struct Team {
    /// Whether there are more threads than parts.
    pub(crate) several: bool,
    /// Chunks that a part has under way at once.
    pub(crate) chunks: usize,
}

/// Instructions that chunks may run side by side, between single ones that add to a sum.
pub(crate) fn by_sums(instructions: &[Instruction]) -> impl Iterator<Item = &[Instruction]> {
    instructions.chunk_by(|a, b| a.sums().is_none() && b.sums().is_none())
}

impl View<'_> {
    /// Runs a segment on these chunks, the whole of a part.
    pub(super) fn part(&self, instructions: &[Instruction], part: usize, chunks: Range<usize>) {
        if !self.team.several {
            let thread = rayon::current_thread_index().unwrap_or(0);
            for index in chunks.clone() {
                let images = self.images_of(index);
                let share = Share { images: &images, thread, part, begun: index > chunks.start };
                for instruction in instructions {
                    self.execute(instruction, &share);
                }
            }
            return;
        }
        let members = self.team.chunks;
        for first in chunks.clone().step_by(members) {
            let indices = first..(first + members).min(chunks.end);
            let images: Vec<Range<usize>> = indices.clone().map(|index| self.images_of(index)).collect();
            // A thread that waits for its team may be given another part meanwhile: memory goes with the part.
            let share = |(member, images)| Share {
                images,
                thread: part * members + member,
                part,
                begun: first + member > chunks.start,
            };
            let shares: Vec<Share<'_>> = images.iter().enumerate().map(share).collect();
            for together in by_sums(instructions) {
                let run = |share: &Share<'_>| together.iter().for_each(|one| self.execute(one, share));
                if together[0].sums().is_some() {
                    shares.iter().for_each(run);
                } else {
                    shares.par_iter().with_max_len(1).for_each(run);
                }
            }
        }
    }

    /// The images of a chunk.
    fn images_of(&self, index: usize) -> Range<usize> {
        let chunk = self.slots.chunk;
        index * chunk..((index + 1) * chunk).min(self.images)
    }
}
