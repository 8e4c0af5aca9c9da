//! From fused steps to instructions: the forward in order, the backward in reverse.
//!
//! A value's gradient is the sum of what its readers contribute. The first contribution (of the last reader) writes,
//! later ones add, and the last one also applies the bits of the value's own activation, so that a gradient is
//! complete when the step that made the value is reached. A residual passes its gradient on without a copy where
//! it can.

use super::block::{BLOCK, padded};
use super::instruction::{Finish, Instruction, Slot};
use super::step::{Activation, Moments, Step, Steps, Tail, ValueId};
use crate::engine::Keep;

/// What a slot holds, and how much of it per image, one image's after the other's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SlotInfo {
    /// A value, or the gradient of one: f32.
    Map { value: ValueId, len: usize },
    /// Bits or taps: u16.
    Halves { len: usize },
}

impl SlotInfo {
    /// f32 per image that are set aside for it, in whole blocks.
    pub(crate) fn reserved(self) -> usize {
        let floats = match self {
            Self::Map { len, .. } => len,
            Self::Halves { len } => len.div_ceil(2),
        };
        floats.next_multiple_of(BLOCK)
    }
}

/// Instructions and the tables they point into.
pub(crate) struct Emitted {
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) forward: Vec<Instruction>,
    pub(crate) backward: Vec<Instruction>,
    /// Products: the convolution and whether it is the image gradient.
    pub(crate) products: Vec<(usize, Direction)>,
    /// Weight gradients: the convolution.
    pub(crate) weights: Vec<usize>,
}

/// Which way a convolution runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Image,
}

/// Emits both programs; the backward is empty where nothing is kept.
pub(crate) fn emit(steps: &Steps, keep: Keep) -> Emitted {
    let values = steps.values.iter().enumerate();
    let slots = values.map(|(i, value)| SlotInfo::Map { value: ValueId(i), len: value.len() });
    let mut emitting = Emitting {
        steps,
        keep,
        bits: vec![None; steps.values.len()],
        kept: vec![None; steps.steps.len()],
        gradients: vec![None; steps.values.len()],
        contributions: vec![0; steps.values.len()],
        to: Emitted {
            slots: slots.collect(),
            forward: vec![],
            backward: vec![],
            products: vec![],
            weights: vec![],
        },
    };
    for (index, step) in steps.steps.iter().enumerate() {
        emitting.forward(index, step);
    }
    for (output, value) in steps.outputs.iter().enumerate() {
        emitting.to.forward.push(Instruction::Export { output, from: Slot(value.0) });
    }
    if keep.image() || keep.params() {
        emitting.backward();
    }
    emitting.to
}

struct Emitting<'a> {
    steps: &'a Steps,
    keep: Keep,
    /// The bits of each value's activation.
    bits: Vec<Option<Slot>>,
    /// What each step keeps for its own backward: the taps of a max pool, the slope of a smooth activation.
    kept: Vec<Option<Slot>>,
    /// The gradient of each value, once something contributed.
    gradients: Vec<Option<Slot>>,
    /// Contributions still to come.
    contributions: Vec<usize>,
    to: Emitted,
}

impl Emitting<'_> {
    /// A slot for a value's gradient, whose channels are always padded.
    fn slot(&mut self, value: ValueId) -> Slot {
        let [channels, height, width] = self.steps.value(value).shape;
        let len = padded(channels) * height * width;
        self.to.slots.push(SlotInfo::Map { value, len });
        Slot(self.to.slots.len() - 1)
    }

    /// A slot of so many u16 per image.
    fn halves(&mut self, len: usize) -> Slot {
        self.to.slots.push(SlotInfo::Halves { len });
        Slot(self.to.slots.len() - 1)
    }

    /// Bits for a value's activation, where a backward will need them.
    fn bits_of(&mut self, out: ValueId) -> Option<Slot> {
        let value = self.steps.value(out);
        if value.activation == Activation::None || !value.needs_gradient {
            return None;
        }
        let bits = self.halves(value.len() / BLOCK);
        self.bits[out.0] = Some(bits);
        Some(bits)
    }

    fn finish(&mut self, out: ValueId, tail: &Tail) -> Finish {
        Finish {
            residual: tail.residual.map(|value| Slot(value.0)),
            accumulate: false,
            activation: tail.activation,
            bits_out: self.bits_of(out),
            gate: None,
        }
    }

    fn product(&mut self, conv: usize, direction: Direction) -> usize {
        self.to.products.push((conv, direction));
        self.to.products.len() - 1
    }

    fn forward(&mut self, index: usize, step: &Step) {
        let at = |value: &ValueId| Slot(value.0);
        let instruction = match step {
            Step::Image { out, .. } => Instruction::Import { to: at(out) },
            Step::Conv { conv, input, out, tail } => {
                let known = &self.steps.convs[*conv];
                let bias = (known.bias || known.fold.is_some()).then_some(*conv);
                let product = self.product(*conv, Direction::Forward);
                let finish = self.finish(*out, tail);
                Instruction::Product { product, bias, from: at(input), to: at(out), finish }
            }
            Step::Norm { norm, input, out, tail } => {
                if matches!(self.steps.norms[*norm].moments, Moments::Batch) {
                    self.to.forward.push(Instruction::Moments { norm: *norm, from: at(input) });
                }
                let finish = self.finish(*out, tail);
                Instruction::Affine { norm: *norm, from: at(input), to: at(out), finish }
            }
            Step::Activate { input, out } => {
                let activation = self.steps.value(*out).activation;
                Instruction::Activate { from: at(input), to: at(out), activation, bits: self.bits_of(*out) }
            }
            Step::Smooth { kind, input, out } => {
                if self.steps.value(*input).needs_gradient {
                    self.kept[index] = Some(self.slot(*out));
                }
                Instruction::Smooth { kind: *kind, from: at(input), to: at(out), slope: self.kept[index] }
            }
            Step::Add { inputs, out } => {
                Instruction::Add { from: [at(&inputs[0]), at(&inputs[1])], to: at(out) }
            }
            Step::Mul { inputs, out } => {
                Instruction::Mul { from: [at(&inputs[0]), at(&inputs[1])], to: at(out) }
            }
            Step::Concat { inputs, out } => {
                let mut start = 0;
                for input in inputs {
                    self.to.forward.push(Instruction::Concat { from: at(input), to: at(out), start });
                    start += self.steps.value(*input).shape[0];
                }
                return;
            }
            Step::MaxPool { pool, input, out } => {
                if self.steps.value(*input).needs_gradient {
                    self.kept[index] = Some(self.halves(self.steps.value(*out).len()));
                }
                Instruction::MaxPool { pool: *pool, from: at(input), to: at(out), taps: self.kept[index] }
            }
            Step::AvgPool { pool, input, out } => {
                Instruction::AvgPool { pool: *pool, from: at(input), to: at(out) }
            }
            Step::Flatten { input, out } => Instruction::Flatten { from: at(input), to: at(out) },
        };
        self.to.forward.push(instruction);
    }

    fn backward(&mut self) {
        // What no output depends on contributes nothing, and must not be waited for.
        let mut live = vec![false; self.steps.values.len()];
        for output in &self.steps.outputs {
            live[output.0] = true;
            self.contributions[output.0] += 1;
        }
        for step in self.steps.steps.iter().rev().filter(|step| self.steps.value(output(step)).needs_gradient)
        {
            if live[output(step).0] {
                for input in inputs(step) {
                    live[input.0] = true;
                    self.contributions[input.0] += 1;
                }
            }
        }
        for (output, value) in self.steps.outputs.iter().enumerate() {
            if self.steps.value(*value).needs_gradient {
                let to = self.slot(*value);
                self.to.backward.push(Instruction::Seed { output, to });
                self.pass(to, *value, true);
            }
        }
        for (index, step) in self.steps.steps.iter().enumerate().rev() {
            if let Some(gradient) = self.gradients[output(step).0] {
                self.reverse(index, step, gradient);
            }
        }
    }

    /// Where a contribution to a value's gradient goes, and how.
    fn contribute(&mut self, value: ValueId) -> (Slot, Finish) {
        self.contributions[value.0] -= 1;
        let gate = if self.contributions[value.0] == 0 { self.bits[value.0] } else { None };
        let (slot, accumulate) = match self.gradients[value.0] {
            Some(slot) => (slot, true),
            None => (self.slot(value), false),
        };
        self.gradients[value.0] = Some(slot);
        (slot, Finish { accumulate, gate, ..Finish::default() })
    }

    /// Contributes a gradient as it is; `last` says that its slot is free afterwards.
    fn pass(&mut self, gradient: Slot, value: ValueId, last: bool) {
        if !self.steps.value(value).needs_gradient {
            return;
        }
        if last && self.gradients[value.0].is_none() {
            self.contributions[value.0] -= 1;
            self.gradients[value.0] = Some(gradient);
            if let (0, Some(bits)) = (self.contributions[value.0], self.bits[value.0]) {
                self.to.backward.push(Instruction::Gate { slot: gradient, bits });
            }
        } else {
            let (to, finish) = self.contribute(value);
            self.to.backward.push(Instruction::Pass { from: gradient, to, finish });
        }
    }

    fn reverse(&mut self, index: usize, step: &Step, gradient: Slot) {
        let at = |value: &ValueId| Slot(value.0);
        let params = self.keep.params();
        match step {
            Step::Image { .. } => self.to.backward.push(Instruction::ExportImage { from: gradient }),
            Step::Conv { conv, input, tail, .. } => {
                if params {
                    self.to.weights.push(*conv);
                    let weight = self.to.weights.len() - 1;
                    self.to.backward.push(Instruction::Weight { weight, input: at(input), gradient });
                    if self.steps.convs[*conv].bias {
                        self.to.backward.push(Instruction::Bias { conv: *conv, gradient });
                    }
                }
                if self.steps.value(*input).needs_gradient {
                    let product = self.product(*conv, Direction::Image);
                    let (to, finish) = self.contribute(*input);
                    let from = gradient;
                    self.to.backward.push(Instruction::Product { product, bias: None, from, to, finish });
                }
                if let Some(residual) = tail.residual {
                    self.pass(gradient, residual, true);
                }
            }
            Step::Norm { norm, input, tail, .. } => {
                let norm = *norm;
                let moments = &self.steps.norms[norm].moments;
                let batch = matches!(moments, Moments::Batch);
                if batch || (params && matches!(moments, Moments::Running)) {
                    let input = at(input);
                    self.to.backward.push(Instruction::GradientMoments { norm, input, gradient });
                }
                if self.steps.value(*input).needs_gradient {
                    let (to, finish) = self.contribute(*input);
                    let input = batch.then_some(at(input));
                    self.to.backward.push(Instruction::AffineGradient { norm, input, gradient, to, finish });
                }
                if let Some(residual) = tail.residual {
                    self.pass(gradient, residual, true);
                }
            }
            Step::Activate { input, .. } => self.pass(gradient, *input, true),
            Step::Add { inputs, .. } => {
                self.pass(gradient, inputs[0], false);
                self.pass(gradient, inputs[1], true);
            }
            Step::Mul { inputs, .. } => {
                for wanted in 0..2 {
                    if self.steps.value(inputs[wanted]).needs_gradient {
                        let other = at(&inputs[1 - wanted]);
                        let (to, finish) = self.contribute(inputs[wanted]);
                        self.to.backward.push(Instruction::MulGradient {
                            wanted,
                            other,
                            gradient,
                            to,
                            finish,
                        });
                    }
                }
            }
            Step::Concat { inputs, .. } => {
                let mut start = 0;
                for input in inputs {
                    if self.steps.value(*input).needs_gradient {
                        let (to, finish) = self.contribute(*input);
                        self.to.backward.push(Instruction::ConcatGradient { gradient, to, start, finish });
                    }
                    start += self.steps.value(*input).shape[0];
                }
            }
            Step::Smooth { input, .. }
            | Step::MaxPool { input, .. }
            | Step::AvgPool { input, .. }
            | Step::Flatten { input, .. } => {
                if self.steps.value(*input).needs_gradient {
                    let (to, finish) = self.contribute(*input);
                    let kept = || self.kept[index].expect("kept because the input wants a gradient");
                    self.to.backward.push(match step {
                        Step::Smooth { .. } => {
                            Instruction::SmoothGradient { slope: kept(), gradient, to, finish }
                        }
                        Step::MaxPool { pool, .. } => {
                            Instruction::MaxPoolGradient { pool: *pool, gradient, to, taps: kept(), finish }
                        }
                        Step::AvgPool { pool, .. } => {
                            Instruction::AvgPoolGradient { pool: *pool, gradient, to, finish }
                        }
                        _ => Instruction::FlattenGradient { gradient, to, finish },
                    });
                }
            }
        }
    }
}

/// The values that a step reads.
fn inputs(step: &Step) -> Vec<ValueId> {
    match step {
        Step::Image { .. } => vec![],
        Step::Conv { input, tail, .. } | Step::Norm { input, tail, .. } => {
            std::iter::once(*input).chain(tail.residual).collect()
        }
        Step::Add { inputs, .. } | Step::Mul { inputs, .. } => inputs.to_vec(),
        Step::Concat { inputs, .. } => inputs.clone(),
        Step::Activate { input, .. }
        | Step::Smooth { input, .. }
        | Step::MaxPool { input, .. }
        | Step::AvgPool { input, .. }
        | Step::Flatten { input, .. } => vec![*input],
    }
}

/// The value that a step makes.
fn output(step: &Step) -> ValueId {
    match step {
        Step::Image { out, .. }
        | Step::Conv { out, .. }
        | Step::Norm { out, .. }
        | Step::Activate { out, .. }
        | Step::Smooth { out, .. }
        | Step::Add { out, .. }
        | Step::Mul { out, .. }
        | Step::Concat { out, .. }
        | Step::MaxPool { out, .. }
        | Step::AvgPool { out, .. }
        | Step::Flatten { out, .. } => *out,
    }
}
