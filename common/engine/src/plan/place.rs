//! Where each slot lies, and which instructions run together.
//!
//! A program is cut into segments. Inside one, a thread takes a few images at a time through all instructions, so that
//! values which only the segment uses never leave its cache; between two, all threads wait. A segment ends where
//! an instruction needs every image first (batch statistics), where a kernel wants the whole batch at once, and
//! where layers of large maps and layers of large weights part: the latter want more images at a time.

use std::ops::Range;

use super::emit::SlotInfo;
use super::instruction::{Action, Instruction, Slot, Sums};

/// Bytes of maps that an instruction may touch at a time: about half of a second-level cache, the rest is for weights
/// and the kernels' scratch.
const CACHE: usize = 512 << 10;

/// Bytes from the third level, per image, that a segment has to save: its threads wait for one another.
const WAIT: usize = 32 << 10;

/// The most images that a thread takes at a time.
const MOST_IMAGES: usize = 16;

/// Memory that a slot can lie in. Offsets are per image, in f32 or, for a [`Whole`](super::Whole) plan, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Kept from forward to backward.
    Tape(usize),
    /// Shared by the segments of one program.
    Batch(usize),
    /// A thread's own, for the images it works on.
    Chunk(usize),
    /// Likewise where a batch is large; where it is not, the slot that it would be handed on to.
    Stage(usize, Slot),
    /// Never touched.
    Nowhere,
}

impl Place {
    /// The place of what is handed on to a slot.
    pub(super) fn staging(self, to: Slot) -> Self {
        let Self::Chunk(offset) = self else {
            unreachable!("a stage is used by two instructions of a segment")
        };
        Self::Stage(offset, to)
    }
}

/// Instructions that run together.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) instructions: Range<usize>,
    /// Images that a thread takes at a time.
    pub(crate) images: usize,
    /// One instruction that splits the whole batch over the pool itself.
    pub(crate) cooperative: bool,
    /// Sums over the batch that it forms.
    pub(crate) sums: Vec<Sums>,
    /// f32 per image of the slots that lie in a thread's own memory.
    pub(crate) chunk_len: usize,
}

/// A program with its slots in place.
pub(crate) struct Program {
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) segments: Vec<Segment>,
    /// f32 per image shared by the segments.
    pub(crate) batch_len: usize,
}

/// What running an instruction's kernel costs: all that an engine says of its kernels to the cutting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Bytes of packed weights, or of sums.
    pub(crate) bytes: usize,
    /// Whether its kernel wants the whole batch, and splits the work over all threads itself.
    pub(crate) cooperative: bool,
    /// Whether it takes as many images at a time as its segment does, however large its maps are.
    pub(crate) follows: bool,
}

/// Cuts a program and places the slots that it alone touches; one cost per instruction.
pub(crate) fn place(
    instructions: Vec<Instruction>,
    slots: &[SlotInfo],
    costs: &[Cost],
    places: &mut [Place],
) -> Program {
    let mut segments = cut(&instructions, slots, costs);
    let mut batch = Vec::new();
    let mut chunk: Vec<Vec<Life>> = vec![Vec::new(); segments.len()];
    for (slot, (first, last)) in lives(&instructions, slots.len()) {
        if places[slot.0] != Place::Nowhere {
            continue;
        }
        let segment_of = |index: usize| {
            segments
                .iter()
                .position(|segment| segment.instructions.contains(&index))
                .expect("segments cover the program")
        };
        let (start, end, len) = (segment_of(first), segment_of(last), slots[slot.0].reserved());
        if start == end && !segments[start].cooperative {
            chunk[start].push(Life { slot, first, last, len });
        } else {
            batch.push(Life { slot, first: start, last: end, len });
        }
    }
    for (segment, lives) in segments.iter_mut().zip(chunk) {
        segment.chunk_len = arrange(lives, |slot, offset| places[slot.0] = Place::Chunk(offset));
    }
    let batch_len = arrange(batch, |slot, offset| places[slot.0] = Place::Batch(offset));
    Program { instructions, segments, batch_len }
}

/// Places the slots of a program that runs each instruction on the whole batch; gives the length that they share.
pub(crate) fn place_whole(instructions: &[Instruction], lens: &[usize], places: &mut [Place]) -> usize {
    let lives = lives(instructions, lens.len()).into_iter();
    let unplaced = lives.filter(|(slot, _)| places[slot.0] == Place::Nowhere);
    let lives = unplaced.map(|(slot, (first, last))| Life { slot, first, last, len: lens[slot.0] }).collect();
    arrange(lives, |slot, offset| places[slot.0] = Place::Batch(offset))
}

/// Places what a forward writes and its backward reads, of slots of these lengths; gives the length of all.
pub(crate) fn place_tape(
    forward: &[Instruction],
    backward: &[Instruction],
    lens: &[usize],
    places: &mut [Place],
) -> usize {
    let mut used = [vec![false; lens.len()], vec![false; lens.len()]];
    for (used, program) in used.iter_mut().zip([forward, backward]) {
        for slot in program.iter().flat_map(Instruction::slots) {
            used[slot.0] = true;
        }
    }
    let mut len = 0;
    for (index, slot) in lens.iter().enumerate() {
        if used[0][index] && used[1][index] {
            places[index] = Place::Tape(len);
            len += slot;
        }
    }
    len
}

fn cut(instructions: &[Instruction], slots: &[SlotInfo], costs: &[Cost]) -> Vec<Segment> {
    let fit = |(instruction, cost): (&Instruction, &Cost)| {
        let floats: usize = instruction.slots().map(|slot| slots[slot.0].reserved()).sum();
        let fit = if cost.follows { MOST_IMAGES } else { CACHE / (floats * size_of::<f32>()).max(1) };
        fit.clamp(1, MOST_IMAGES)
    };
    let fits: Vec<usize> = instructions.iter().zip(costs).map(fit).collect();
    // Whether maps are kept or formed again, right before their weights' gradients, makes no difference to the cuts: nothing is
    // cut there, and of what crosses a cut neither counts.
    let joined = |(instruction, cost): (&Instruction, &Cost)| {
        cost.follows || matches!(instruction.action, Action::Weight { .. })
    };
    let joined: Vec<bool> = instructions.iter().zip(costs).map(joined).collect();
    let lives = lives(instructions, slots.len());
    let mut segments = Vec::new();
    let mut start = 0;
    for (index, instruction) in instructions.iter().enumerate() {
        let barrier = costs[index].cooperative || instruction.sums().is_some_and(Sums::is_barrier);
        if barrier || costs.get(index + 1).is_none_or(|next| next.cooperative) {
            let stretch = start..index + 1;
            start = stretch.end;
            let pieces =
                pieces(&costs[stretch.clone()], &fits[stretch.clone()], &joined[stretch.clone()], |at| {
                    let at = stretch.start + at;
                    let crosses = |&&(slot, (first, last)): &&(Slot, (usize, usize))| {
                        let made = &instructions[first];
                        let made = [made.to, made.kept, made.finish.bits_out].contains(&Some(slot));
                        let inside = stretch.contains(&first) && stretch.contains(&last);
                        inside && made && !costs[first].follows && (first + 1..=last).contains(&at)
                    };
                    let floats = lives.iter().filter(crosses).map(|(slot, _)| slots[slot.0].reserved());
                    floats.sum::<usize>() * size_of::<f32>()
                });
            segments.extend(pieces.into_iter().map(|piece| {
                let range = stretch.start + piece.start..stretch.start + piece.end;
                Segment {
                    images: fits[range.clone()].iter().copied().min().unwrap_or(1),
                    cooperative: costs[index].cooperative,
                    sums: instructions[range.clone()].iter().filter_map(Instruction::sums).collect(),
                    instructions: range,
                    chunk_len: 0,
                }
            }));
        }
    }
    segments
}

/// Cuts instructions that could run together into pieces, each with as many images at a time as fit all of it, so that the
/// fewest bytes come from the third level: weights, once for so many images, and `crossing(at)` bytes of maps an image that a
/// cut before instruction `at` sends there and back. No cut is before a `joined` one.
fn pieces(
    costs: &[Cost],
    fits: &[usize],
    joined: &[bool],
    crossing: impl Fn(usize) -> usize,
) -> Vec<Range<usize>> {
    // The least of the instructions before each place, and where the last piece of it begins.
    let mut least = vec![(0, 0)];
    let crossings: Vec<usize> =
        (0..costs.len()).map(|at| if at == 0 { 0 } else { 2 * crossing(at) + WAIT }).collect();
    for end in 1..=costs.len() {
        let (mut images, mut bytes) = (MOST_IMAGES, 0);
        let mut best = (usize::MAX, 0);
        for start in (0..end).rev() {
            images = images.min(fits[start]);
            bytes += costs[start].bytes;
            let total = least[start].0 + crossings[start] + bytes / images;
            if total <= best.0 && (start == 0 || !joined[start]) {
                best = (total, start);
            }
        }
        least.push(best);
    }
    let mut pieces = Vec::new();
    let mut end = costs.len();
    while end > 0 {
        let start = least[end].1;
        pieces.push(start..end);
        end = start;
    }
    pieces.reverse();
    pieces
}

/// First and last instruction that touches each slot.
fn lives(instructions: &[Instruction], slots: usize) -> Vec<(Slot, (usize, usize))> {
    let mut lives = vec![None; slots];
    for (index, instruction) in instructions.iter().enumerate() {
        for slot in instruction.slots() {
            let life = lives[slot.0].get_or_insert((index, index));
            life.1 = index;
        }
    }
    lives.into_iter().enumerate().filter_map(|(i, life)| Some((Slot(i), life?))).collect()
}

#[derive(Clone, Copy)]
struct Life {
    slot: Slot,
    first: usize,
    last: usize,
    len: usize,
}

/// Gives each slot the lowest offset where nothing that lives at the same time lies; gives the total length.
fn arrange(mut lives: Vec<Life>, mut put: impl FnMut(Slot, usize)) -> usize {
    lives.sort_by_key(|life| (std::cmp::Reverse(life.len), life.first));
    let mut placed: Vec<(Life, usize)> = Vec::new();
    let mut total = 0;
    for life in lives {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(other, _)| other.first <= life.last && life.first <= other.last)
            .map(|(other, offset)| (*offset, offset + other.len))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if start < offset + life.len && offset < end {
                offset = end;
            }
        }
        put(life.slot, offset);
        total = total.max(offset + life.len);
        placed.push((life, offset));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Keep, Norm};
    use crate::graph::{Builder, Conv2d, Elementwise, Op, Pool};
    use crate::plan::{Cost, Draft};

    /// Both programs of a network that needs nearly every action.
    fn instructions(norm: Norm, keep: Keep) -> Vec<Instruction> {
        let (mut b, x) = Builder::new([3, 8, 8]);
        let x = b.conv("stem", Conv2d::new(20, 3).padding(1).bias(), x).unwrap();
        let stem = b.relu(x).unwrap();
        let x = b.batch_norm("bn", stem).unwrap();
        let x = b.node("silu", Op::Elementwise(Elementwise::Silu), &[x]).unwrap();
        let x = b.add(x, stem).unwrap();
        let x = b.node("twice", Op::Add, &[x, x]).unwrap();
        let x = b.node("join", Op::Concat, &[x, stem]).unwrap();
        let x = b.max_pool(2, x).unwrap();
        let x = b.node("mean", Op::AvgPool(Pool::new(2)), &[x]).unwrap();
        let gates = b.node("gates", Op::AvgPool(Pool::new(2)), &[x]).unwrap();
        let x = b.node("scale", Op::Mul, &[x, gates]).unwrap();
        let x = b.node("square", Op::Mul, &[x, x]).unwrap();
        let x = b.node("flat", Op::Flatten, &[x]).unwrap();
        b.linear("classifier", 5, x).unwrap();
        let network = b.finish("every-action").unwrap();
        let draft = Draft::new(&network, norm, keep, &[network.output(), stem]);
        let [products, weights] =
            [draft.products().len(), draft.weights().len()].map(|n| vec![Cost::default(); n]);
        let plan = draft.place(&products, &weights);
        [plan.forward, plan.backward].into_iter().flat_map(|program| program.instructions).collect()
    }

    #[test]
    fn no_instruction_writes_to_a_slot_that_it_also_reads_or_writes_otherwise() {
        for (norm, keep) in
            [(Norm::Batch, Keep::Both), (Norm::Running, Keep::ForImage), (Norm::Running, Keep::Both)]
        {
            for instruction in instructions(norm, keep) {
                let written = [instruction.to, instruction.kept, instruction.finish.bits_out];
                for slot in written.into_iter().flatten() {
                    let uses = instruction.slots().filter(|&other| other == slot).count();
                    assert_eq!(uses, 1, "{instruction:?} under {norm:?}, {keep:?}");
                }
            }
        }
    }

    #[test]
    fn a_program_is_cut_where_weights_are_worth_the_maps_that_cross() {
        let cost = |bytes| Cost { bytes, ..Cost::default() };
        let (small, large) = (cost(10 << 10), cost(1 << 20));
        // Two layers of large maps, two of large weights: 1 image at a time would read 2 MiB of weights for each, 4 read
        // 512 KiB and send the map between them there and back.
        let (costs, fits, free) = ([small, small, large, large], [1, 1, 4, 4], [false; 4]);
        assert_eq!(pieces(&costs, &fits, &free, |_| 64 << 10), [0..2, 2..4]);
        // The way back is cut at the same place.
        let back: Vec<_> = costs.into_iter().rev().collect();
        assert_eq!(pieces(&back, &[4, 4, 1, 1], &free, |_| 64 << 10), [0..2, 2..4]);
        // Where the map between them is wide, a place beside it is better, though a layer loses its images there.
        assert_eq!(pieces(&costs, &fits, &free, |at| if at == 2 { 4 << 20 } else { 64 << 10 }), [0..3, 3..4]);
        // Nothing is saved: as many images fit everywhere, or the weights are small, or every map is wide.
        let whole = pieces(&costs, &[4; 4], &free, |_| 64 << 10);
        assert_eq!((whole.len(), &whole[0]), (1, &(0..4)));
        assert_eq!(pieces(&[small; 4], &fits, &free, |_| 64 << 10), whole);
        assert_eq!(pieces(&costs, &fits, &free, |_| 4 << 20), whole);
        // What is joined to the instruction before it is never first.
        assert_eq!(pieces(&costs, &fits, &[false, false, true, false], |_| 64 << 10), [0..3, 3..4]);
    }

    #[test]
    fn slots_that_live_together_never_overlap_and_the_rest_share() {
        let life = |slot, first, last, len| Life { slot: Slot(slot), first, last, len };
        let lives = vec![
            life(0, 0, 2, 32),
            life(1, 1, 3, 16),
            life(2, 3, 4, 32),
            life(3, 4, 9, 48),
            life(4, 2, 4, 16),
        ];
        let mut offsets = [0; 5];
        let total = arrange(lives.clone(), |slot, offset| offsets[slot.0] = offset);
        for a in &lives {
            for b in lives.iter().filter(|b| b.slot != a.slot && b.first <= a.last && a.first <= b.last) {
                let (x, y) = (offsets[a.slot.0], offsets[b.slot.0]);
                assert!(x + a.len <= y || y + b.len <= x, "{:?} and {:?}", a.slot, b.slot);
            }
        }
        // At instruction 4 three slots are alive: 32 + 48 + 16; a layout without sharing would take 144.
        assert_eq!(total, 96);
    }
}
