//! One instruction on a few images: from slots to slices to a kernel.

use std::ops::Range;

use super::{PartSum, View};
use crate::cpu::kernel::conv::{Job, Part};
use crate::cpu::kernel::map::{self, Images, Normalisation};
use crate::cpu::kernel::norm;
use crate::cpu::kernel::pool::{self, PoolShape};
use crate::cpu::pack::NormState;
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::memory::Shared;
use crate::cpu::vector::simd::padded;
use crate::graph::Pool;
use crate::plan::{Action, Finish, Instruction, Moments, Slot, SlotInfo, Sums, Value};

/// Where an instruction runs: which images, in whose memory, for which part of the sums.
pub(super) struct Share<'a> {
    pub(super) images: &'a Range<usize>,
    /// Whose memory: a thread's, or that of one of a part's team.
    pub(super) thread: usize,
    pub(super) part: usize,
    /// Whether the part holds the sums of earlier images.
    pub(super) begun: bool,
}

impl<'a> View<'a> {
    #[allow(unsafe_code)]
    fn read(&self, slot: Slot, at: &Share<'_>) -> &'a [f32] {
        // SAFETY: threads work on disjoint images, and an instruction writes to no slot that it reads.
        unsafe { self.slots.read(slot, at.images, at.thread) }
    }

    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn write(&self, slot: Slot, at: &Share<'_>) -> &'a mut [f32] {
        // SAFETY: as above, and one slice per slot and instruction is in use.
        unsafe { self.slots.write(slot, at.images, at.thread) }
    }

    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn halves(&self, slot: Slot, at: &Share<'_>) -> &'a mut [u16] {
        // SAFETY: as above.
        unsafe { self.slots.halves(slot, at.images, at.thread) }
    }

    /// The kernels' scratch of a thread, or all of it for an instruction that has the pool to itself.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn scratch(&self, len: usize, thread: usize) -> &'a mut [f32] {
        let start = if self.cooperative { 0 } else { thread * self.slots.per_thread + self.own };
        // SAFETY: behind the thread's slots, where only its kernels write.
        unsafe { self.slots.threads.slice(start..start + len) }
    }

    fn epilogue(&self, finish: &Finish, at: &Share<'_>) -> Epilogue<'a> {
        let mut epilogue = Epilogue::new().accumulate(finish.accumulate).activation(finish.activation);
        if let Some(residual) = finish.residual {
            epilogue = epilogue.residual(self.read(residual, at));
        }
        if let Some(bits) = finish.bits_out {
            epilogue = epilogue.bits_out(self.halves(bits, at));
        }
        if let Some(bits) = finish.gate {
            epilogue = epilogue.gate(self.halves(bits, at));
        }
        epilogue
    }

    /// The value that a slot holds, or whose gradient it holds.
    fn value(&self, slot: Slot) -> &'a Value {
        let SlotInfo::Map { value, .. } = self.plan.slots[slot.0] else {
            unreachable!("bits are not a value")
        };
        self.plan.steps.value(value)
    }

    fn sum(&self, sum: Sums) -> Option<&'a PartSum> {
        self.sums.iter().find(|known| known.sum == sum)
    }

    /// What a normalisation's kernels read: the batch's, or what was packed.
    fn norm(&self, norm: usize) -> &'a NormState {
        match self.plan.steps.norms[norm].moments {
            Moments::Batch => &self.norms[norm],
            _ => &self.packed.norm(norm).known,
        }
    }

    /// The normalisation that was fused into the import of the images.
    fn normalisation(&self) -> Option<Normalisation<'a>> {
        self.plan.steps.normalise.as_ref().map(|[mean, std]| Normalisation { mean, std })
    }

    /// Where an instruction that forms sums hands its map on to, if the map is not there already.
    fn handed_on(&self, instruction: &Instruction, at: &Share<'_>) -> Option<&'a mut [f32]> {
        instruction.to.filter(|&to| self.slots.stages(to)).map(|to| self.write(to, at))
    }

    /// Runs an instruction on a share of the batch.
    #[allow(clippy::too_many_lines, reason = "one arm for each action, so that none is forgotten")]
    pub(super) fn execute(&self, instruction: &Instruction, at: &Share<'_>) {
        let (isa, images) = (self.isa, at.images.len());
        let [a_slot, b_slot] = [0, 1].map(|i| move || known(instruction.from[i]));
        let to_slot = || known(instruction.to);
        let (a, b) = (|| self.read(a_slot(), at), || self.read(b_slot(), at));
        let to = || self.write(to_slot(), at);
        let (of_a, of_to) = (|| self.value(a_slot()), || self.value(to_slot()));
        let epilogue = || self.epilogue(&instruction.finish, at);
        match &instruction.action {
            Action::Import => {
                let value = of_to();
                let source = own_images(self.source, value, at);
                map::images_to_map(source, value.shape, self.normalisation(), to(), value.pixel);
            }
            Action::ExportImage => {
                let value = of_a();
                let out = callers_images(&self.image_gradient, value, at);
                // Gradients are padded, even those of a dense image.
                let pixel = padded(value.shape[0]);
                map::map_to_images(a(), pixel, value.shape, self.normalisation(), out);
            }
            Action::Export { output } => {
                let value = of_a();
                let out = callers_images(&self.outputs[*output], value, at);
                map::map_to_images(a(), value.pixel, value.shape, None, out);
            }
            Action::Seed { output } => match &self.seeds[*output] {
                Some(seed) => {
                    let value = of_to();
                    let seed = own_images(seed, value, at);
                    map::images_to_map(seed, value.shape, None, to(), value.pixel);
                }
                None => to().fill(0.0),
            },
            Action::Product { product, bias } => {
                let kernel = &self.planned.products[*product].kernel;
                let mut epilogue = epilogue();
                if let Some(conv) = bias {
                    epilogue = epilogue.bias(self.packed.bias(self.planned, *conv));
                }
                let scratch = self.scratch(kernel.scratch_len(images), at.thread);
                let packed = self.packed.weights(self.planned, *product);
                kernel.run(Job { packed, images, from: a(), to: to(), epilogue, scratch });
            }
            Action::Weight { weight } => {
                let Some(sum) = self.sum(Sums::Weight(*weight)) else { return };
                let kernel = &self.planned.weights[*weight].kernel;
                let scratch = self.scratch(kernel.scratch_len(images), at.thread);
                let (sums, begun) = self.floats(sum, at.part, at.begun);
                let part = Part { sums, begun, spread: self.team.several };
                kernel.run(images, a(), b(), part, scratch);
            }
            Action::Bias { conv } => {
                let Some(sum) = self.sum(Sums::Bias(*conv)) else { return };
                norm::channel_sums(isa, a(), of_a().pixel, self.doubles(sum, at.part));
            }
            Action::Moments { norm } => {
                let sum = self.sum(Sums::Moments(*norm)).expect("moments are always summed");
                let (pixel, sums) = (of_a().pixel, self.doubles(sum, at.part));
                match self.handed_on(instruction, at) {
                    Some(to) => norm::channel_sums_onward(isa, a(), pixel, sums, to),
                    None => norm::channel_sums(isa, a(), pixel, sums),
                }
            }
            Action::Affine { norm } => {
                norm::affine(isa, a(), &self.norm(*norm).forward, to(), &epilogue());
            }
            Action::GradientMoments { norm } => {
                let sum = self.sum(Sums::GradientMoments(*norm)).expect("moments are always summed");
                let (pixel, centre) = (of_a().pixel, &self.norm(*norm).forward);
                let sums = self.doubles(sum, at.part);
                match self.handed_on(instruction, at) {
                    Some(to) => norm::channel_gradient_sums_onward(isa, b(), a(), centre, pixel, sums, to),
                    None => norm::channel_gradient_sums(isa, b(), a(), centre, pixel, sums),
                }
            }
            Action::AffineGradient { norm } => {
                // Where the moments are constants the slope is 0: any map stands for the input.
                let input = if instruction.from[1].is_some() { b() } else { a() };
                let coefficients = &self.norm(*norm).gradient;
                norm::affine_gradient(isa, a(), input, coefficients, to(), &epilogue());
            }
            Action::Store => map::store(isa, a(), of_a().pixel, to(), &epilogue()),
            Action::Rework => map::rework(isa, to(), of_to().pixel, &epilogue()),
            Action::Elementwise(function) => {
                let slope = instruction.kept.map(|slope| self.write(slope, at));
                map::elementwise(isa, *function, a(), to(), slope);
            }
            Action::MeanSparse { band } => {
                let slope = instruction.kept.map(|slope| self.write(slope, at));
                map::mean_sparse(isa, a(), self.packed.band(*band), of_a().pixel, to(), slope);
            }
            Action::Multiply => map::multiply(isa, a(), b(), of_a().pixel, to(), &epilogue()),
            Action::MultiplyKept => {
                let slope = self.read(known(instruction.kept), at);
                map::multiply(isa, a(), slope, of_a().pixel, to(), &epilogue());
            }
            Action::MultiplyChannels => {
                map::multiply_channels(isa, a(), b(), sizes(of_a()), to(), &epilogue());
            }
            Action::ChannelProducts => {
                map::channel_products(isa, a(), Some(b()), 1.0, sizes(of_a()), to(), &epilogue());
            }
            Action::Concat { start } => {
                map::channels_into(a(), of_a().shape[0], to(), of_to().pixel, *start);
            }
            Action::ConcatGradient { start } => {
                let channels = of_to().shape[0];
                map::take_channels(isa, a(), of_a().pixel, *start, channels, to(), &epilogue());
            }
            Action::PadChannels { before } => {
                map::channels_between_zeros(a(), of_a().shape[0], to(), of_to().pixel, *before);
            }
            Action::Standardize => {
                map::standardize(isa, a(), Images::of(of_a()), to());
            }
            Action::StandardizeGradient => {
                map::standardize_gradient(isa, a(), b(), Images::of(of_to()), to(), &epilogue());
            }
            Action::Flatten => map::map_to_features(a(), of_a().shape, to()),
            Action::FlattenGradient => map::features_to_map(isa, a(), of_to().shape, to(), &epilogue()),
            Action::MaxPool(pool) => {
                let taps = instruction.kept.map(|taps| self.halves(taps, at));
                pool::max_pool(isa, &PoolShape::new(pool, of_a().shape), images, a(), to(), taps);
            }
            Action::MaxPoolGradient(pool) => {
                let (shape, taps) = (PoolShape::new(pool, of_to().shape), known(instruction.kept));
                let taps = self.halves(taps, at);
                pool::max_pool_gradient(isa, &shape, images, taps, a(), to(), &epilogue());
            }
            Action::AvgPool(pool) => {
                if let Some([positions, pixel]) = global(pool, of_a()) {
                    pool::global_average(isa, a(), positions, pixel, to(), &epilogue());
                } else {
                    let shape = PoolShape::new(pool, of_a().shape);
                    pool::average_pool(isa, &shape, images, a(), to(), &epilogue());
                }
            }
            Action::AvgPoolGradient(pool) => {
                if let Some([positions, pixel]) = global(pool, of_to()) {
                    pool::global_average_gradient(isa, a(), positions, pixel, to(), &epilogue());
                } else {
                    let shape = PoolShape::new(pool, of_to().shape);
                    pool::average_pool_gradient(isa, &shape, images, a(), to(), &epilogue());
                }
            }
        }
    }
}

/// The images' part of what the caller gave.
fn own_images<'b>(memory: &'b [f32], value: &Value, at: &Share<'_>) -> &'b [f32] {
    let each: usize = value.shape.iter().product();
    &memory[at.images.start * each..at.images.end * each]
}

/// The images' part of the caller's memory, to fill.
#[allow(unsafe_code)]
fn callers_images<'b>(memory: &Shared<'b, f32>, value: &Value, at: &Share<'_>) -> &'b mut [f32] {
    let each: usize = value.shape.iter().product();
    // SAFETY: threads work on disjoint images.
    unsafe { memory.slice(at.images.start * each..at.images.end * each) }
}

/// A slot that an action cannot do without.
fn known(slot: Option<Slot>) -> Slot {
    slot.expect("an action is emitted with its slots")
}

/// Positions of a map, and f32 from one to the next.
fn sizes(value: &Value) -> [usize; 2] {
    [value.shape[1] * value.shape[2], value.pixel]
}

/// The sizes of a map that one window covers whole.
fn global(pool: &Pool, value: &Value) -> Option<[usize; 2]> {
    (pool.kernel == value.shape[1..]).then(|| sizes(value))
}
