//! One instruction on a few images: from slots to slices to a kernel.

use std::ops::Range;

use super::slots::Shared;
use super::{PartSum, View};
use crate::cpu::kernel::conv::Part;
use crate::cpu::kernel::map::{self, Normalisation};
use crate::cpu::kernel::norm;
use crate::cpu::kernel::pool::{self, PoolShape};
use crate::cpu::pack::NormState;
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::padded;
use crate::graph::Pool;
use crate::plan::{Finish, Instruction, Moments, Slot, SlotInfo, Smooth, Step, Sums, Value};

/// Where an instruction runs: which images, in whose memory, for which part of the sums.
pub(super) struct Place<'a> {
    pub(super) images: &'a Range<usize>,
    pub(super) thread: usize,
    pub(super) part: usize,
    /// Whether the part holds the sums of earlier images.
    pub(super) begun: bool,
}

impl<'a> View<'a> {
    #[allow(unsafe_code)]
    fn read(&self, slot: Slot, at: &Place<'_>) -> &'a [f32] {
        // SAFETY: threads work on disjoint images, and an instruction writes to no slot that it reads.
        unsafe { self.slots.read(slot, at.images, at.thread) }
    }

    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn write(&self, slot: Slot, at: &Place<'_>) -> &'a mut [f32] {
        // SAFETY: as above, and one slice per slot and instruction is in use.
        unsafe { self.slots.write(slot, at.images, at.thread) }
    }

    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn halves(&self, slot: Slot, at: &Place<'_>) -> &'a mut [u16] {
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

    fn epilogue(&self, finish: &Finish, at: &Place<'_>) -> Epilogue<'a> {
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
        match &self.plan.steps.steps[0] {
            Step::Image { normalise, .. } => {
                normalise.as_ref().map(|[mean, std]| Normalisation { mean, std })
            }
            _ => unreachable!("every network starts with its images"),
        }
    }

    pub(super) fn execute(&self, instruction: &Instruction, at: &Place<'_>) {
        match instruction {
            Instruction::Import { .. }
            | Instruction::Export { .. }
            | Instruction::Seed { .. }
            | Instruction::ExportImage { .. } => self.exchange(instruction, at),
            Instruction::Product { .. }
            | Instruction::Weight { .. }
            | Instruction::Bias { .. }
            | Instruction::Moments { .. }
            | Instruction::Affine { .. }
            | Instruction::GradientMoments { .. }
            | Instruction::AffineGradient { .. } => self.layer(instruction, at),
            _ => self.plain(instruction, at),
        }
    }

    /// Between the caller's layout and ours.
    fn exchange(&self, instruction: &Instruction, at: &Place<'_>) {
        match instruction {
            Instruction::Import { to } => {
                let value = self.value(*to);
                let source = own_images(self.source, value, at);
                let to = self.write(*to, at);
                map::images_to_map(source, value.shape, self.normalisation(), to, value.pixel);
            }
            Instruction::ExportImage { from } => {
                let value = self.value(*from);
                let to = callers_images(&self.image_gradient, value, at);
                // Gradients are padded, even those of a dense image.
                let pixel = padded(value.shape[0]);
                map::map_to_images(self.read(*from, at), pixel, value.shape, self.normalisation(), to);
            }
            Instruction::Export { output, from } => {
                let value = self.value(*from);
                let to = callers_images(&self.outputs[*output], value, at);
                map::map_to_images(self.read(*from, at), value.pixel, value.shape, None, to);
            }
            Instruction::Seed { output, to } => {
                let (value, to) = (self.value(*to), self.write(*to, at));
                match &self.seeds[*output] {
                    Some(seed) => {
                        let seed = own_images(seed, value, at);
                        map::images_to_map(seed, value.shape, None, to, value.pixel);
                    }
                    None => to.fill(0.0),
                }
            }
            _ => unreachable!("not an exchange with the caller"),
        }
    }

    /// What has parameters.
    fn layer(&self, instruction: &Instruction, at: &Place<'_>) {
        let images = at.images.len();
        match instruction {
            Instruction::Product { product, bias, from, to, finish } => {
                let kernel = &self.planned.products[*product].kernel;
                let mut epilogue = self.epilogue(finish, at);
                if let Some(conv) = bias {
                    epilogue = epilogue.bias(self.packed.bias(self.planned, *conv));
                }
                let scratch = self.scratch(kernel.scratch_len(images), at.thread);
                let packed = self.packed.weights(self.planned, *product);
                kernel.run(packed, images, self.read(*from, at), self.write(*to, at), &epilogue, scratch);
            }
            Instruction::Weight { weight, input, gradient } => {
                let Some(sum) = self.sum(Sums::Weight(*weight)) else { return };
                let kernel = &self.planned.weights[*weight].kernel;
                let scratch = self.scratch(kernel.scratch_len(images), at.thread);
                let (input, gradient) = (self.read(*input, at), self.read(*gradient, at));
                let part = Part { sums: self.floats(sum, at.part), begun: at.begun };
                kernel.run(images, input, gradient, part, scratch);
            }
            Instruction::Bias { conv, gradient } => {
                let Some(sum) = self.sum(Sums::Bias(*conv)) else { return };
                let pixel = self.value(*gradient).pixel;
                norm::channel_sums(self.isa, self.read(*gradient, at), pixel, self.doubles(sum, at.part));
            }
            Instruction::Moments { norm, from } => {
                let sum = self.sum(Sums::Moments(*norm)).expect("moments are always summed");
                let pixel = self.value(*from).pixel;
                norm::channel_sums(self.isa, self.read(*from, at), pixel, self.doubles(sum, at.part));
            }
            Instruction::Affine { norm, from, to, finish } => {
                let (epilogue, state) = (self.epilogue(finish, at), self.norm(*norm));
                norm::affine(self.isa, self.read(*from, at), &state.forward, self.write(*to, at), &epilogue);
            }
            Instruction::GradientMoments { norm, input, gradient } => {
                let sum = self.sum(Sums::GradientMoments(*norm)).expect("moments are always summed");
                let (pixel, centre) = (self.value(*input).pixel, &self.norm(*norm).forward);
                let (input, gradient) = (self.read(*input, at), self.read(*gradient, at));
                let sums = self.doubles(sum, at.part);
                norm::channel_gradient_sums(self.isa, gradient, input, centre, pixel, sums);
            }
            Instruction::AffineGradient { norm, input, gradient, to, finish } => {
                let (epilogue, state) = (self.epilogue(finish, at), self.norm(*norm));
                let (gradient, to) = (self.read(*gradient, at), self.write(*to, at));
                // Where the moments are constants the slope is 0: any map stands for the input.
                let input = input.map_or(gradient, |input| self.read(input, at));
                norm::affine_gradient(self.isa, gradient, input, &state.gradient, to, &epilogue);
            }
            _ => unreachable!("not a layer"),
        }
    }

    /// What has none.
    fn plain(&self, instruction: &Instruction, at: &Place<'_>) {
        let isa = self.isa;
        match instruction {
            Instruction::Activate { from, to, activation, bits } => {
                let mut epilogue = Epilogue::new().activation(*activation);
                if let Some(bits) = bits {
                    epilogue = epilogue.bits_out(self.halves(*bits, at));
                }
                map::store(
                    isa,
                    self.read(*from, at),
                    self.value(*from).pixel,
                    self.write(*to, at),
                    &epilogue,
                );
            }
            Instruction::Add { from: [a, b], to } => {
                let epilogue = Epilogue::new().residual(self.read(*b, at));
                map::store(isa, self.read(*a, at), self.value(*a).pixel, self.write(*to, at), &epilogue);
            }
            Instruction::Pass { from, to, finish } => {
                let epilogue = self.epilogue(finish, at);
                let pixel = self.value(*from).pixel;
                map::store(isa, self.read(*from, at), pixel, self.write(*to, at), &epilogue);
            }
            Instruction::Gate { slot, bits } => {
                let epilogue = Epilogue::new().gate(self.halves(*bits, at));
                map::rework(isa, self.write(*slot, at), self.value(*slot).pixel, &epilogue);
            }
            Instruction::Smooth { kind, from, to, slope } => {
                let slope = slope.map(|slope| self.write(slope, at));
                let (from, to) = (self.read(*from, at), self.write(*to, at));
                match kind {
                    Smooth::Silu => map::silu(isa, from, to, slope),
                    Smooth::Sigmoid => map::sigmoid(isa, from, to, slope),
                }
            }
            Instruction::SmoothGradient { slope, gradient, to, finish } => {
                let (epilogue, pixel) = (self.epilogue(finish, at), self.value(*to).pixel);
                let (slope, gradient) = (self.read(*slope, at), self.read(*gradient, at));
                map::multiply(isa, gradient, slope, pixel, self.write(*to, at), &epilogue);
            }
            Instruction::Mul { from: [a, b], to } => {
                let (of, epilogue) = (self.value(*a), Epilogue::new());
                let (map, factor, to) = (self.read(*a, at), self.read(*b, at), self.write(*to, at));
                if self.value(*b).shape == of.shape {
                    map::multiply(isa, map, factor, of.pixel, to, &epilogue);
                } else {
                    map::multiply_channels(isa, map, factor, [positions(of), of.pixel], to, &epilogue);
                }
            }
            Instruction::MulGradient { wanted, other, gradient, to, finish } => {
                let epilogue = self.epilogue(finish, at);
                let (of, target) = (self.value(*gradient), self.value(*to));
                let sizes = [positions(of), of.pixel];
                let same = self.value(*other).shape == target.shape;
                let (other, gradient, to) =
                    (self.read(*other, at), self.read(*gradient, at), self.write(*to, at));
                match wanted {
                    _ if same => map::multiply(isa, gradient, other, of.pixel, to, &epilogue),
                    0 => map::multiply_channels(isa, gradient, other, sizes, to, &epilogue),
                    _ => map::channel_products(isa, gradient, Some(other), 1.0, sizes, to, &epilogue),
                }
            }
            Instruction::Concat { from, to, start } => {
                let (channels, pixel) = (self.value(*from).shape[0], self.value(*to).pixel);
                map::channels_into(self.read(*from, at), channels, self.write(*to, at), pixel, *start);
            }
            Instruction::ConcatGradient { gradient, to, start, finish } => {
                let epilogue = self.epilogue(finish, at);
                let (channels, pixel) = (self.value(*to).shape[0], self.value(*gradient).pixel);
                let (gradient, to) = (self.read(*gradient, at), self.write(*to, at));
                map::take_channels(isa, gradient, pixel, *start, channels, to, &epilogue);
            }
            Instruction::Flatten { from, to } => {
                map::map_to_features(self.read(*from, at), self.value(*from).shape, self.write(*to, at));
            }
            Instruction::FlattenGradient { gradient, to, finish } => {
                let epilogue = self.epilogue(finish, at);
                let shape = self.value(*to).shape;
                map::features_to_map(isa, self.read(*gradient, at), shape, self.write(*to, at), &epilogue);
            }
            _ => self.pooling(instruction, at),
        }
    }

    fn pooling(&self, instruction: &Instruction, at: &Place<'_>) {
        let (isa, images) = (self.isa, at.images.len());
        match instruction {
            Instruction::MaxPool { pool, from, to, taps } => {
                let shape = PoolShape::new(pool, self.value(*from).shape);
                let taps = taps.map(|taps| self.halves(taps, at));
                pool::max_pool(isa, &shape, images, self.read(*from, at), self.write(*to, at), taps);
            }
            Instruction::MaxPoolGradient { pool, gradient, to, taps, finish } => {
                let epilogue = self.epilogue(finish, at);
                let shape = PoolShape::new(pool, self.value(*to).shape);
                let (taps, gradient) = (self.halves(*taps, at), self.read(*gradient, at));
                pool::max_pool_gradient(isa, &shape, images, taps, gradient, self.write(*to, at), &epilogue);
            }
            Instruction::AvgPool { pool, from, to } => {
                let (value, epilogue) = (self.value(*from), Epilogue::new());
                let (from, to) = (self.read(*from, at), self.write(*to, at));
                if is_global(pool, value) {
                    pool::global_average(isa, from, positions(value), value.pixel, to, &epilogue);
                } else {
                    let shape = PoolShape::new(pool, value.shape);
                    pool::average_pool(isa, &shape, images, from, to, &epilogue);
                }
            }
            Instruction::AvgPoolGradient { pool, gradient, to, finish } => {
                let (value, epilogue) = (self.value(*to), self.epilogue(finish, at));
                let (gradient, to) = (self.read(*gradient, at), self.write(*to, at));
                if is_global(pool, value) {
                    pool::global_average_gradient(
                        isa,
                        gradient,
                        positions(value),
                        value.pixel,
                        to,
                        &epilogue,
                    );
                } else {
                    let shape = PoolShape::new(pool, value.shape);
                    pool::average_pool_gradient(isa, &shape, images, gradient, to, &epilogue);
                }
            }
            _ => unreachable!("every other instruction was matched before"),
        }
    }
}

/// The images' part of what the caller gave.
fn own_images<'b>(memory: &'b [f32], value: &Value, at: &Place<'_>) -> &'b [f32] {
    let each: usize = value.shape.iter().product();
    &memory[at.images.start * each..at.images.end * each]
}

/// The images' part of the caller's memory, to fill.
#[allow(unsafe_code)]
fn callers_images<'b>(memory: &Shared<'b, f32>, value: &Value, at: &Place<'_>) -> &'b mut [f32] {
    let each: usize = value.shape.iter().product();
    // SAFETY: threads work on disjoint images.
    unsafe { memory.slice(at.images.start * each..at.images.end * each) }
}

fn positions(value: &Value) -> usize {
    value.shape[1] * value.shape[2]
}

/// Whether one window covers the whole map.
fn is_global(pool: &Pool, value: &Value) -> bool {
    pool.kernel == value.shape[1..]
}
