//! How much of a pass runs at once, from its plan: the work, and the longest chain of it that so many threads leave.
//!
//! Work is counted in operations: two for each multiply-add of a convolution or fully connected layer, as a direct one would
//! need them, and one for each value that any other instruction reads or writes. The chain is what one thread after the
//! other must do where all are free and none waits for memory: a bound, which real threads stay above. Packing of weights and
//! what a step does besides passes are not in it.

use super::Cpu;
use super::kernel::conv::Phase;
use super::planned::Planned;
use super::run::division::Division;
use super::run::{PartSum, by_sums};
use crate::engine::{Keep, Norm};
use crate::graph::Network;
use crate::plan::{Action, ConvShape, Instruction, Program, Segment};

/// A pass over a batch: a forward, and its backward where anything is kept.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Operations of convolutions and fully connected layers, as direct ones.
    pub flop: f64,
    /// Its segments, in order: each is done before the next begins.
    pub segments: Vec<Stretch>,
}

/// A segment of a plan: instructions that a thread takes its images through without waiting for others.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The instruction with most of its work.
    pub name: String,
    /// Operations.
    pub work: f64,
    /// Of them, what runs one after the other.
    pub chain: f64,
    /// How often threads wait for one another, one time after the other.
    pub waits: usize,
}

impl Outline {
    /// Operations of all segments.
    pub fn work(&self) -> f64 {
        self.segments.iter().map(|segment| segment.work).sum()
    }

    /// Of them, what runs one after the other.
    pub fn chain(&self) -> f64 {
        self.segments.iter().map(|segment| segment.chain).sum()
    }

    /// How often threads wait for one another.
    pub fn waits(&self) -> usize {
        self.segments.iter().map(|segment| segment.waits).sum()
    }
}

impl Cpu {
    /// How a pass over so many images, at least one, would be divided among so many threads; this engine's own do not
    /// matter.
    pub fn outline(
        &self,
        network: &Network,
        norm: Norm,
        keep: Keep,
        images: usize,
        threads: usize,
    ) -> Outline {
        let precise = self.precise(keep == Keep::Nothing).for_batch(norm, images);
        let recompute = keep.params() && self.recompute;
        let planned = Planned::new(self.isa, network, norm, keep, &[network.output()], precise, recompute);
        let division = Division { planned: &planned, images, threads, gradients: keep.params() };
        let mut outline = Outline::default();
        for (program, backward) in [(&planned.plan.forward, false), (&planned.plan.backward, true)] {
            let of = Outlining { network, division, program, backward };
            for segment in &program.segments {
                outline.flop += of.flop(segment);
                outline.segments.push(of.segment(segment));
            }
        }
        outline
    }
}

struct Outlining<'a> {
    network: &'a Network,
    division: Division<'a>,
    program: &'a Program,
    backward: bool,
}

impl Outlining<'_> {
    fn planned(&self) -> &Planned {
        self.division.planned
    }

    fn instructions(&self, segment: &Segment) -> &[Instruction] {
        &self.program.instructions[segment.instructions.clone()]
    }

    /// The convolution that an instruction works on.
    fn conv(&self, instruction: &Instruction) -> Option<usize> {
        match instruction.action {
            Action::Product { product, .. } => Some(self.planned().products[product].conv),
            Action::Weight { weight } => Some(self.planned().weights[weight].conv),
            _ => None,
        }
    }

    /// Operations of an instruction for one image.
    fn work(&self, instruction: &Instruction) -> f64 {
        let plan = &self.planned().plan;
        match self.conv(instruction) {
            Some(conv) => flop(&plan.steps.convs[conv].shape),
            None => instruction.slots().map(|slot| plan.slots[slot.0].reserved() as f64).sum(),
        }
    }

    fn flop(&self, segment: &Segment) -> f64 {
        let products = self.instructions(segment).iter().filter(|one| self.conv(one).is_some());
        products.map(|one| self.work(one)).sum::<f64>() * self.division.images as f64
    }

    fn segment(&self, segment: &Segment) -> Stretch {
        let instructions = self.instructions(segment);
        let each: f64 = instructions.iter().map(|one| self.work(one)).sum();
        let sums = self.division.sums(segment);
        let parts = self.division.parts(segment, &sums);
        let (chain, waits) = match &instructions[0] {
            one if segment.cooperative => self.cooperative(one),
            _ if self.division.threads > parts => self.by_teams(segment, parts),
            _ => (self.by_parts(segment, parts) * each, 1),
        };
        // Parts are added up in the order of their images, their values in any.
        let added: usize = sums.iter().map(|sum| parts * (sum.floats + sum.doubles)).sum();
        let together = |sum: &PartSum| if sum.floats > 0 { self.division.threads } else { 1 };
        let adding =
            sums.iter().map(|sum| (parts * (sum.floats + sum.doubles)) as f64 / together(sum) as f64);
        Stretch {
            name: self.name(instructions),
            work: each * self.division.images as f64 + added as f64,
            chain: chain + adding.sum::<f64>(),
            waits,
        }
    }

    /// What its costliest instruction does, on which node.
    fn name(&self, instructions: &[Instruction]) -> String {
        let costliest = instructions.iter().max_by(|a, b| self.work(a).total_cmp(&self.work(b)));
        let one = costliest.expect("a segment has instructions");
        let steps = &self.planned().plan.steps;
        let (what, node) = match one.action {
            Action::Weight { weight } => {
                ("weight gradient of", Some(steps.convs[self.planned().weights[weight].conv].node))
            }
            Action::Product { product, .. } => {
                let what = if self.backward { "image gradient of" } else { "product of" };
                (what, Some(steps.convs[self.planned().products[product].conv].node))
            }
            Action::Moments { norm } | Action::Affine { norm } => {
                ("normalisation", Some(steps.norms[norm].node))
            }
            Action::GradientMoments { norm } | Action::AffineGradient { norm } => {
                ("gradient of normalisation", Some(steps.norms[norm].node))
            }
            _ => ("maps", None),
        };
        node.map_or_else(|| what.to_owned(), |node| format!("{what} {}", self.network.node(node).name))
    }

    /// The chain of an instruction that has the pool to itself, and its waits.
    fn cooperative(&self, one: &Instruction) -> (f64, usize) {
        let images = self.division.images;
        let phases = self.phases(one, images);
        (self.work(one) * images as f64 * share(&phases, self.division.threads as f64), phases.len())
    }

    fn phases(&self, one: &Instruction, images: usize) -> Vec<Phase> {
        match one.action {
            Action::Product { product, .. } => self.planned().products[product].kernel.phases(images),
            Action::Weight { weight } => self.planned().weights[weight].kernel.phases(images),
            _ => Vec::new(),
        }
    }

    /// The images of the thread that has most, where each takes the next part when it is free.
    fn by_parts(&self, segment: &Segment, parts: usize) -> f64 {
        let (chunk, chunks) = (self.division.chunk(segment), self.division.chunks(segment));
        let first_image = |part: usize| (part * chunks / parts * chunk).min(self.division.images);
        let mut loads = vec![0; self.division.threads];
        for part in 0..parts {
            let free = loads.iter_mut().min().expect("at least one thread");
            *free += first_image(part + 1) - first_image(part);
        }
        loads.into_iter().max().unwrap_or(0) as f64
    }

    /// The chain of the largest part, on which several threads work, and its waits.
    fn by_teams(&self, segment: &Segment, parts: usize) -> (f64, usize) {
        let division = &self.division;
        let team = division.team(segment, parts);
        let threads = division.threads as f64 / parts as f64;
        let chunk = division.chunk(segment).min(division.images) as f64;
        let (mut left, mut chain, mut waits) = (division.chunks(segment).div_ceil(parts), 0.0, 1);
        while left > 0 {
            let members = left.min(team.chunks);
            for together in by_sums(self.instructions(segment)) {
                let work = together.iter().map(|one| self.work(one)).sum::<f64>() * chunk;
                chain += work
                    * match together {
                        [one] if one.sums().is_some() => {
                            members as f64 * share(&self.phases(one, chunk as usize), threads)
                        }
                        _ => (members as f64 / threads).max(1.0),
                    };
                waits += 1;
            }
            left -= members;
        }
        (chain, waits)
    }
}

/// The share of a call's work that is on the chain, by so many threads; all of it where nothing is split.
fn share(phases: &[Phase], threads: f64) -> f64 {
    let work: f64 = phases.iter().map(|phase| phase.work).sum();
    if work == 0.0 {
        return 1.0;
    }
    let chain = |phase: &Phase| phase.work * (phase.pieces as f64 / threads).ceil() / phase.pieces as f64;
    phases.iter().map(chain).sum::<f64>() / work
}

/// Two for each multiply-add of one image.
fn flop(shape: &ConvShape) -> f64 {
    2.0 * (shape.weight_len() * shape.output[1] * shape.output[2]) as f64
}
