//! From fused steps to instructions: the forward in order, the backward in reverse.
//!
//! A value's gradient is the sum of what its readers contribute. The first contribution (of the last reader) writes,
//! later ones add, and the last one also applies the bits of the value's own activation, so that a gradient is
//! complete when the step that made the value is reached. A residual passes its gradient on without a copy where
//! it can.

mod backward;

use super::block::{BLOCK, padded};
use super::instruction::{Action, Finish, Instruction, Slot};
use super::step::{Activation, Layer, Moments, Step, Steps, ValueId};
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
        emitting.to.forward.push(Instruction::reading(Action::Export { output }, [Slot(value.0)]));
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
    /// What each step keeps for its own backward: the taps of a max pool, the slope of an elementwise function.
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

    /// The finish of a step's value.
    fn finish(&mut self, step: &Step) -> Finish {
        Finish {
            residual: step.tail.residual.map(|value| Slot(value.0)),
            accumulate: false,
            activation: step.tail.activation,
            bits_out: self.bits_of(step.out),
            gate: None,
        }
    }

    fn product(&mut self, conv: usize, direction: Direction) -> usize {
        self.to.products.push((conv, direction));
        self.to.products.len() - 1
    }

    /// Whether a step's first input wants a gradient, so that its backward will want what the forward keeps.
    fn keeps(&self, step: &Step) -> bool {
        self.steps.value(step.inputs[0]).needs_gradient
    }

    fn forward(&mut self, index: usize, step: &Step) {
        let finish = self.finish(step);
        let mut kept = None;
        let action = match &step.layer {
            Layer::Image => Action::Import,
            &Layer::Conv(conv) => {
                let known = &self.steps.convs[conv];
                let bias = (known.bias || known.fold.is_some()).then_some(conv);
                Action::Product { product: self.product(conv, Direction::Forward), bias }
            }
            &Layer::Norm(norm) => {
                if matches!(self.steps.norms[norm].moments, Moments::Batch) {
                    self.to
                        .forward
                        .push(Instruction::reading(Action::Moments { norm }, [Slot(step.inputs[0].0)]));
                }
                Action::Affine { norm }
            }
            Layer::Store => Action::Store,
            Layer::Elementwise(function) => {
                if self.keeps(step) {
                    kept = Some(self.slot(step.out));
                }
                Action::Elementwise(*function)
            }
            &Layer::MeanSparse(band) => {
                if self.keeps(step) {
                    kept = Some(self.slot(step.out));
                }
                Action::MeanSparse { band }
            }
            Layer::Mul if self.is_per_channel(step) => Action::MultiplyChannels,
            Layer::Mul => Action::Multiply,
            Layer::Concat => return self.concat(step),
            &Layer::PadChannels { before } => Action::PadChannels { before },
            Layer::Standardize => Action::Standardize,
            Layer::MaxPool(pool) => {
                if self.keeps(step) {
                    kept = Some(self.halves(self.steps.value(step.out).len()));
                }
                Action::MaxPool(*pool)
            }
            Layer::AvgPool(pool) => Action::AvgPool(*pool),
            Layer::Flatten => Action::Flatten,
        };
        self.kept[index] = kept;
        let mut from = step.inputs.iter().map(|value| Slot(value.0));
        let from = [from.next(), from.next()];
        self.to.forward.push(Instruction { action, from, to: Some(Slot(step.out.0)), kept, finish });
    }

    /// Each input into its channels.
    fn concat(&mut self, step: &Step) {
        let mut start = 0;
        for input in &step.inputs {
            let part = Instruction::reading(Action::Concat { start }, [Slot(input.0)]);
            self.to.forward.push(part.into(Slot(step.out.0)));
            start += self.steps.value(*input).shape[0];
        }
    }

    /// Whether the second factor of a product is one value per channel.
    fn is_per_channel(&self, step: &Step) -> bool {
        self.steps.value(step.inputs[0]).shape != self.steps.value(step.inputs[1]).shape
    }
}
