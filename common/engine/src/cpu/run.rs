//! Running a plan: segments over the thread pool, sums over the batch, one instruction after the other.

mod execute;
mod slots;

use std::sync::Arc;

use rayon::prelude::*;

use super::kernel::norm;
use super::pack::{NormState, Packed};
use super::planned::Planned;
use super::vector::memory::{Buffer, Elastic, Shared};
use super::vector::simd::{Isa, padded};
use crate::graph::NodeId;
use crate::params::{Layout, Role};
use crate::plan::{Action, Moments, Plan, Program, Segment, Sums};
use execute::Share;
use slots::Slots;

/// Parts that a sum over the batch is formed in, at most: a constant of the arithmetic, not of the machine. More parts
/// keep more threads busy, and cost a buffer each.
const MOST_PARTS: usize = 16;

/// Parts that a batch is cut into at least, where it has as many images.
const FEWEST_PARTS: usize = 8;

/// f32 that the parts of a segment's weight gradients may take altogether, or there are fewer parts.
const PARTS_LEN: usize = 6 << 20;

/// Programs after which memory that none of them needed is given back: more than a training step has, so that it does not
/// come and go with every step.
pub(super) const PATIENCE: usize = 512;

/// Memory that one program after the other uses.
#[derive(Default)]
pub(crate) struct Workspace {
    batch: Elastic,
    threads: Elastic,
    parts: Elastic,
    sums: Vec<f64>,
    programs: usize,
}

impl Workspace {
    /// f32 of all buffers.
    pub(crate) fn len(&self) -> usize {
        [&self.batch, &self.threads, &self.parts].map(Elastic::len).iter().sum()
    }

    /// Counts a program that is done.
    fn done(&mut self) {
        self.programs += 1;
        if self.programs.is_multiple_of(PATIENCE) {
            [&mut self.batch, &mut self.threads, &mut self.parts].into_iter().for_each(Elastic::settle);
        }
    }
}

/// The caller's side of a run.
#[derive(Default)]
pub(crate) struct Caller<'a> {
    /// `(N, C, H, W)`.
    pub(crate) images: &'a [f32],
    /// Logits and taps, to be filled.
    pub(crate) outputs: &'a mut [Vec<f32>],
    /// Gradients of the outputs; none means zero.
    pub(crate) seeds: &'a [Option<Vec<f32>>],
    /// `(N, C, H, W)`, to be filled.
    pub(crate) image_gradient: &'a mut [f32],
    /// Gradients of the parameters, to be added to.
    pub(crate) grads: Option<(&'a mut [f32], Arc<Layout>)>,
}

/// One forward or backward.
pub(crate) struct Run<'a> {
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    pub(crate) planned: &'a Planned,
    pub(crate) packed: &'a Packed,
    pub(crate) images: usize,
    pub(crate) tape: &'a mut Buffer,
    pub(crate) norms: &'a mut [NormState],
    pub(crate) caller: Caller<'a>,
    pub(crate) workspace: &'a mut Workspace,
}

impl Run<'_> {
    /// Runs one of the plan's programs on the current thread pool.
    pub(crate) fn program(&mut self, program: &Program) {
        if self.images == 0 {
            return;
        }
        self.workspace.batch.grow(program.batch_len * self.images);
        let (mut per_thread, mut shared) = (0, 0);
        for segment in &program.segments {
            if segment.cooperative {
                shared = shared.max(self.scratch(program, segment));
            } else {
                per_thread = per_thread.max(self.thread_len(program, segment));
            }
        }
        self.workspace.threads.grow(shared.max(per_thread * self.threads));
        for segment in &program.segments {
            self.segment(program, segment, per_thread);
        }
        self.workspace.done();
    }

    /// f32 of a thread's own memory for a segment: its slots, then the kernels' scratch.
    fn thread_len(&self, program: &Program, segment: &Segment) -> usize {
        segment.chunk_len * self.chunk(segment) + padded(self.scratch(program, segment))
    }

    /// f32 of scratch that the kernels of a segment need for one call.
    fn scratch(&self, program: &Program, segment: &Segment) -> usize {
        let images = if segment.cooperative { self.images } else { self.chunk(segment) };
        let instructions = &program.instructions[segment.instructions.clone()];
        let lens = instructions.iter().map(|instruction| match instruction.action {
            Action::Product { product, .. } => self.planned.products[product].kernel.scratch_len(images),
            Action::Weight { weight } => self.planned.weights[weight].kernel.scratch_len(images),
            _ => 0,
        });
        lens.max().unwrap_or(0)
    }

    /// Images that a thread takes at a time: what the segment likes, unless threads would go idle. Where sums are formed
    /// it is a matter of the arithmetic, and must not depend on the machine.
    fn chunk(&self, segment: &Segment) -> usize {
        let pieces = if segment.sums.is_empty() { 2 * self.threads } else { FEWEST_PARTS };
        segment.images.min(self.images.div_ceil(pieces))
    }

    fn segment(&mut self, program: &Program, segment: &Segment, per_thread: usize) {
        let instructions = &program.instructions[segment.instructions.clone()];
        let chunk = self.chunk(segment);
        let mut sums = self.sums(segment);
        let parts = if segment.cooperative { 1 } else { self.parts(segment, &sums) };
        let (mut floats, mut doubles) = (0, 0);
        for sum in &mut sums {
            sum.start = if sum.floats > 0 { floats } else { doubles };
            floats += sum.floats * parts;
            doubles += sum.doubles * parts;
        }
        self.workspace.parts.grow(floats);
        if self.workspace.sums.len() < doubles {
            self.workspace.sums.resize(doubles, 0.0);
        }

        let view = self.view(segment, &sums, per_thread);
        if segment.cooperative {
            view.clear(0);
            for instruction in instructions {
                view.execute(
                    instruction,
                    &Share { images: &(0..view.images), thread: 0, part: 0, begun: false },
                );
            }
        } else {
            let chunks = view.images.div_ceil(chunk);
            (0..parts).into_par_iter().with_max_len(1).for_each(|part| {
                let thread = rayon::current_thread_index().unwrap_or(0);
                view.clear(part);
                let first = part * chunks / parts;
                for index in first..(part + 1) * chunks / parts {
                    let images = index * chunk..((index + 1) * chunk).min(view.images);
                    let share = Share { images: &images, thread, part, begun: index > first };
                    for instruction in instructions {
                        view.execute(instruction, &share);
                    }
                }
            });
        }
        for sum in &sums {
            self.finish(sum, parts);
        }
    }

    /// Parts of the batch: as many as there are chunks, or fewer where each has sums of its own.
    fn parts(&self, segment: &Segment, sums: &[PartSum]) -> usize {
        let chunks = self.images.div_ceil(self.chunk(segment));
        if sums.is_empty() {
            return chunks;
        }
        let floats: usize = sums.iter().map(|sum| sum.floats).sum();
        let most = (PARTS_LEN / floats.max(1)).clamp(1, MOST_PARTS);
        chunks.min(1 << most.ilog2())
    }

    /// The sums of a segment, not yet placed. Without gradients of parameters to add to, those are left out.
    fn sums(&self, segment: &Segment) -> Vec<PartSum> {
        let part_sum = |&sum: &Sums| {
            let (floats, doubles) = match sum {
                Sums::Moments(norm) | Sums::GradientMoments(norm) => {
                    (0, 2 * self.planned.plan.steps.norms[norm].pixel)
                }
                Sums::Weight(_) | Sums::Bias(_) if self.caller.grads.is_none() => return None,
                Sums::Weight(weight) => (self.planned.weights[weight].kernel.part_len(), 0),
                Sums::Bias(conv) => (0, 2 * padded(self.planned.plan.steps.convs[conv].shape.output[0])),
            };
            Some(PartSum { sum, start: 0, floats, doubles })
        };
        segment.sums.iter().filter_map(part_sum).collect()
    }

    fn view<'b>(&'b mut self, segment: &Segment, sums: &'b [PartSum], per_thread: usize) -> View<'b> {
        let chunk = self.chunk(segment);
        let workspace = &mut *self.workspace;
        let slots = Slots {
            plan: &self.planned.plan,
            images: self.images,
            chunk,
            tape: Shared::new(self.tape),
            batch: Shared::new(&mut workspace.batch),
            threads: Shared::new(&mut workspace.threads),
            per_thread,
        };
        View {
            isa: self.isa,
            plan: &self.planned.plan,
            planned: self.planned,
            packed: self.packed,
            images: self.images,
            own: segment.chunk_len * chunk,
            cooperative: segment.cooperative,
            slots,
            norms: self.norms,
            sums,
            part_floats: Shared::new(&mut workspace.parts),
            part_doubles: Shared::new(&mut workspace.sums),
            source: self.caller.images,
            outputs: self.caller.outputs.iter_mut().map(|output| Shared::new(output)).collect(),
            seeds: self.caller.seeds,
            image_gradient: Shared::new(self.caller.image_gradient),
        }
    }

    /// Adds the parts of a sum in their order, and draws its consequences.
    fn finish(&mut self, sum: &PartSum, parts: usize) {
        let mut total = vec![0.0; sum.doubles];
        if sum.doubles > 0 {
            for part in self.workspace.sums[sum.start..].chunks(sum.doubles).take(parts) {
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
        }
        match sum.sum {
            Sums::Moments(norm) => {
                let known = &self.planned.plan.steps.norms[norm];
                let state = &mut self.norms[norm];
                state.moments.of_batch(&total, known.positions * self.images, known.channels);
                state.forward.resize(norm::coefficients_len(known.pixel), 0.0);
                state.moments.coefficients(self.packed.norm(norm).learned(), &mut state.forward);
            }
            Sums::GradientMoments(norm) => self.finish_norm(norm, &total),
            Sums::Bias(conv) => {
                let node = self.planned.plan.steps.convs[conv].node;
                self.add_to_grads(node, Role::Bias, &total);
            }
            Sums::Weight(weight) => {
                let weight = &self.planned.weights[weight];
                let node = self.planned.plan.steps.convs[weight.conv].node;
                let Some((grads, layout)) = &mut self.caller.grads else { return };
                let entry = layout.find(node, Role::Weight).expect("a convolution has a weight");
                let all = &self.workspace.parts[sum.start..][..parts * sum.floats];
                weight.kernel.finish(all, &mut grads[entry.range.clone()]);
            }
        }
    }

    /// Gradients of a normalisation's scale and shift, and the coefficients of its input's.
    fn finish_norm(&mut self, norm: usize, sums: &[f64]) {
        let known = &self.planned.plan.steps.norms[norm];
        let learned = self.packed.norm(norm).learned();
        let mut nowhere = [vec![0.0; known.channels], vec![0.0; known.channels]];
        let [gamma, beta] = match &mut self.caller.grads {
            None => nowhere.each_mut().map(Vec::as_mut_slice),
            Some((grads, layout)) => {
                let range = |role| layout.find(known.node, role).expect("a scale and a shift").range.clone();
                grads
                    .get_disjoint_mut([range(Role::Weight), range(Role::Bias)])
                    .expect("parameters do not overlap")
            }
        };
        let gradients = [gamma, beta];
        let count = known.positions * self.images;
        if let Moments::Batch = known.moments {
            let state = &mut self.norms[norm];
            state.gradient.resize(norm::gradient_coefficients_len(known.pixel), 0.0);
            let from = norm::Moments::Batch { count };
            state.moments.gradients(sums, from, learned, gradients, &mut state.gradient);
        } else {
            // The input's gradient does not depend on the sums: its coefficients were packed.
            let mut packed_already = vec![0.0; norm::gradient_coefficients_len(known.pixel)];
            let moments = &self.packed.norm(norm).known.moments;
            moments.gradients(sums, norm::Moments::Running, learned, gradients, &mut packed_already);
        }
    }

    fn add_to_grads(&mut self, node: NodeId, role: Role, values: &[f64]) {
        let Some((grads, layout)) = &mut self.caller.grads else { return };
        let entry = layout.find(node, role).expect("what has a gradient is a parameter");
        for (to, &value) in grads[entry.range.clone()].iter_mut().zip(values) {
            *to += value as f32;
        }
    }
}

/// A sum over the batch, in parts that lie one after the other.
struct PartSum {
    sum: Sums,
    /// Where its first part begins, among the f32 or the f64.
    start: usize,
    /// f32 of a part.
    floats: usize,
    /// f64 of a part.
    doubles: usize,
}

/// What the threads of a segment share.
struct View<'a> {
    isa: Isa,
    plan: &'a Plan,
    planned: &'a Planned,
    packed: &'a Packed,
    /// Images of the batch.
    images: usize,
    /// f32 of a thread's slots; its scratch follows.
    own: usize,
    cooperative: bool,
    slots: Slots<'a>,
    norms: &'a [NormState],
    sums: &'a [PartSum],
    part_floats: Shared<'a, f32>,
    part_doubles: Shared<'a, f64>,
    source: &'a [f32],
    outputs: Vec<Shared<'a, f32>>,
    seeds: &'a [Option<Vec<f32>>],
    image_gradient: Shared<'a, f32>,
}

impl View<'_> {
    /// Sets a part's f64 to zero; f32 are overwritten by their first images.
    fn clear(&self, part: usize) {
        for sum in self.sums {
            self.doubles(sum, part).fill(0.0);
        }
    }

    /// The f32 of a sum in one part; only the thread that works on the part asks.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn floats(&self, sum: &PartSum, part: usize) -> &mut [f32] {
        let start = if sum.floats > 0 { sum.start + part * sum.floats } else { 0 };
        // SAFETY: parts do not overlap, and each belongs to one thread.
        unsafe { self.part_floats.slice(start..start + sum.floats) }
    }

    /// The f64 of a sum in one part; likewise.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn doubles(&self, sum: &PartSum, part: usize) -> &mut [f64] {
        let start = if sum.doubles > 0 { sum.start + part * sum.doubles } else { 0 };
        // SAFETY: as above.
        unsafe { self.part_doubles.slice(start..start + sum.doubles) }
    }
}
