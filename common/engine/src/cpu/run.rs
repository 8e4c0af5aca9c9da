//! Running a plan: segments over the thread pool, sums over the batch, one instruction after the other.

pub(crate) mod division;
mod execute;
mod gradients;
mod slots;
mod team;

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::norm;
use super::pack::{NormState, Packed};
use super::planned::Planned;
use super::vector::memory::{Buffer, Elastic, Shared};
use super::vector::simd::Isa;
use crate::graph::NodeId;
use crate::params::Role;
use crate::plan::{Action, Moments, Plan, Program, Segment, Sums};
use division::Division;
use execute::Share;
pub(crate) use gradients::Gradients;
use slots::Slots;
pub(crate) use team::{Team, by_sums};

/// Programs after which memory that none of them needed is given back: more than a training step has, so that it does not
/// come and go with every step.
pub(super) const PATIENCE: usize = 512;

/// f32 of a page: a thread's own memory shares none with another's.
const PAGE: usize = 1 << 10;

/// Memory that one program after the other uses.
#[derive(Default)]
pub(crate) struct Workspace {
    batch: Elastic,
    threads: Elastic,
    parts: Elastic,
    sums: Vec<f64>,
    /// The most f64 that were asked for since memory was last given back.
    asked: usize,
    programs: usize,
}

impl Workspace {
    /// f32 of all buffers; an f64 is two.
    pub(crate) fn len(&self) -> usize {
        let floats: usize = [&self.batch, &self.threads, &self.parts].map(Elastic::len).iter().sum();
        floats + 2 * self.sums.len()
    }

    /// f64 of sums over the batch.
    #[cfg(test)]
    pub(crate) fn sums(&self) -> usize {
        self.sums.len()
    }

    /// Counts a program that is done.
    fn done(&mut self) {
        self.programs += 1;
        if self.programs.is_multiple_of(PATIENCE) {
            [&mut self.batch, &mut self.threads, &mut self.parts].into_iter().for_each(Elastic::settle);
            if 2 * std::mem::take(&mut self.asked) < self.sums.len() {
                self.sums = Vec::new();
            }
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
    /// Gradients of the parameters.
    pub(crate) gradients: Option<Gradients<'a>>,
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

impl<'a> Run<'a> {
    fn division(&self) -> Division<'a> {
        Division {
            planned: self.planned,
            images: self.images,
            threads: self.threads,
            gradients: self.caller.gradients.is_some(),
        }
    }

    /// Runs one of the plan's programs on the current thread pool.
    pub(crate) fn program(&mut self, program: &Program) {
        if self.images == 0 {
            return;
        }
        self.workspace.batch.grow(program.batch_len * self.images);
        let (mut per_thread, mut shared, mut members) = (0, 0, self.threads);
        for segment in &program.segments {
            if segment.cooperative {
                shared = shared.max(self.scratch(program, segment));
            } else {
                per_thread = per_thread.max(self.thread_len(program, segment));
                let division = self.division();
                let parts = division.parts(segment, &division.sums(segment));
                let team = division.team(segment, parts);
                members = members.max(if team.several { parts * team.chunks } else { 0 });
            }
        }
        self.workspace.threads.grow(shared.max(per_thread * members));
        for segment in &program.segments {
            self.segment(program, segment, per_thread);
        }
        if let Some(gradients) = self.caller.gradients.take() {
            gradients.finish();
        }
        self.workspace.done();
    }

    /// f32 of a thread's own memory for a segment: its slots, then the kernels' scratch.
    fn thread_len(&self, program: &Program, segment: &Segment) -> usize {
        let scratch = self.scratch(program, segment);
        (segment.chunk_len * self.division().chunk(segment) + scratch).next_multiple_of(PAGE)
    }

    /// f32 of scratch that the kernels of a segment need for one call.
    fn scratch(&self, program: &Program, segment: &Segment) -> usize {
        let images = if segment.cooperative { self.images } else { self.division().chunk(segment) };
        let instructions = &program.instructions[segment.instructions.clone()];
        let lens = instructions.iter().map(|instruction| match instruction.action {
            Action::Product { product, .. } => self.planned.products[product].kernel.scratch_len(images),
            Action::Weight { weight } => self.planned.weights[weight].kernel.scratch_len(images),
            _ => 0,
        });
        lens.max().unwrap_or(0)
    }

    fn segment(&mut self, program: &Program, segment: &Segment, per_thread: usize) {
        let instructions = &program.instructions[segment.instructions.clone()];
        let division = self.division();
        let chunks = division.chunks(segment);
        let mut sums = division.sums(segment);
        let parts = division.parts(segment, &sums);
        let (mut floats, mut doubles) = (0, 0);
        for sum in &mut sums {
            sum.start = if sum.floats > 0 { floats } else { doubles };
            floats += sum.floats * parts;
            doubles += sum.doubles * parts;
            sum.own = self.own(sum.sum);
        }
        self.workspace.parts.grow(floats);
        self.workspace.asked = self.workspace.asked.max(doubles);
        if self.workspace.sums.len() < doubles {
            self.workspace.sums.resize(doubles, 0.0);
        }

        let view = self.view(segment, &sums, parts, per_thread);
        if segment.cooperative {
            view.clear(0);
            for instruction in instructions {
                view.execute(
                    instruction,
                    &Share { images: &(0..view.images), thread: 0, part: 0, begun: false },
                );
            }
        } else {
            (0..parts).into_par_iter().with_max_len(1).for_each(|part| {
                view.clear(part);
                let chunks = part * chunks / parts..(part + 1) * chunks / parts;
                view.part(instructions, part, chunks);
            });
        }
        for sum in &sums {
            self.finish(sum, parts);
        }
    }

    fn view<'b>(
        &'b mut self,
        segment: &Segment,
        sums: &'b [PartSum],
        parts: usize,
        per_thread: usize,
    ) -> View<'b> {
        let chunk = self.division().chunk(segment);
        let team = self.division().team(segment, parts);
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
            team,
            slots,
            norms: self.norms,
            sums,
            part_floats: Shared::new(&mut workspace.parts),
            part_doubles: Shared::new(&mut workspace.sums),
            source: self.caller.images,
            outputs: self.caller.outputs.iter_mut().map(|output| Shared::new(output)).collect(),
            seeds: self.caller.seeds,
            image_gradient: Shared::new(self.caller.image_gradient),
            gradients: self.caller.gradients.as_mut().map(|gradients| Shared::new(gradients.values())),
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
                let Some(gradients) = &mut self.caller.gradients else { return };
                if sum.own.is_some() {
                    return;
                }
                let (range, begun) = gradients.begin(node, Role::Weight);
                let all = &self.workspace.parts[sum.start..][..parts * sum.floats];
                weight.kernel.finish(all, &mut gradients.values()[range], begun);
            }
        }
    }

    /// The gradient that a kernel adds to itself, and whether it adds; none for sums that are formed in parts.
    fn own(&mut self, sum: Sums) -> Option<(Range<usize>, bool)> {
        let Sums::Weight(weight) = sum else { return None };
        let weight = &self.planned.weights[weight];
        let node = self.planned.plan.steps.convs[weight.conv].node;
        let gradients = self.caller.gradients.as_mut().filter(|_| weight.kernel.cooperative())?;
        Some(gradients.begin(node, Role::Weight))
    }

    /// Gradients of a normalisation's scale and shift, and the coefficients of its input's.
    fn finish_norm(&mut self, norm: usize, sums: &[f64]) {
        let known = &self.planned.plan.steps.norms[norm];
        let learned = self.packed.norm(norm).learned();
        let mut nowhere = [vec![0.0; known.channels], vec![0.0; known.channels]];
        let gradients = match &mut self.caller.gradients {
            None => nowhere.each_mut().map(Vec::as_mut_slice),
            Some(gradients) => gradients.begin_small(known.node, [Role::Weight, Role::Bias]),
        };
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
        let Some(gradients) = &mut self.caller.gradients else { return };
        let [to] = gradients.begin_small(node, [role]);
        for (to, &value) in to.iter_mut().zip(values) {
            *to += value as f32;
        }
    }
}

/// A sum over the batch, in parts that lie one after the other.
pub(crate) struct PartSum {
    sum: Sums,
    /// Where its first part begins, among the f32 or the f64.
    start: usize,
    /// f32 of a part.
    pub(crate) floats: usize,
    /// f64 of a part.
    pub(crate) doubles: usize,
    /// Where a kernel that sums by itself does so among the gradients, and whether it adds to what is there.
    pub(crate) own: Option<(Range<usize>, bool)>,
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
    team: Team,
    slots: Slots<'a>,
    norms: &'a [NormState],
    sums: &'a [PartSum],
    part_floats: Shared<'a, f32>,
    part_doubles: Shared<'a, f64>,
    source: &'a [f32],
    outputs: Vec<Shared<'a, f32>>,
    seeds: &'a [Option<Vec<f32>>],
    image_gradient: Shared<'a, f32>,
    gradients: Option<Shared<'a, f32>>,
}

impl View<'_> {
    /// Sets a part's f64 to zero; f32 are overwritten by their first images.
    fn clear(&self, part: usize) {
        for sum in self.sums {
            self.doubles(sum, part).fill(0.0);
        }
    }

    /// The f32 of a sum in one part, and whether they hold sums already: for those that are formed in parts, whether the part
    /// has `begun`. Only the thread that works on the part asks.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn floats(&self, sum: &PartSum, part: usize, begun: bool) -> (&mut [f32], bool) {
        if let (Some((range, held)), Some(gradients)) = (&sum.own, self.gradients) {
            // SAFETY: parameters do not overlap, and a kernel that sums by itself is called by one thread.
            return (unsafe { gradients.slice(range.clone()) }, *held);
        }
        let start = if sum.floats > 0 { sum.start + part * sum.floats } else { 0 };
        // SAFETY: parts do not overlap, and each belongs to one thread.
        (unsafe { self.part_floats.slice(start..start + sum.floats) }, begun)
    }

    /// The f64 of a sum in one part; likewise.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn doubles(&self, sum: &PartSum, part: usize) -> &mut [f64] {
        let start = if sum.doubles > 0 { sum.start + part * sum.doubles } else { 0 };
        // SAFETY: as above.
        unsafe { self.part_doubles.slice(start..start + sum.doubles) }
    }
}
