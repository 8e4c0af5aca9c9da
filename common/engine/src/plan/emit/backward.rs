//! The backward of each step, from the last to the first.

use super::{Direction, Emitting};
use crate::plan::instruction::{Action, Finish, Instruction, Slot};
use crate::plan::step::{Layer, Moments, Step, ValueId};

impl Emitting<'_> {
    /// Emits the backward of everything that an output depends on.
    pub(super) fn backward(&mut self) {
        let steps = self.steps;
        // What no output depends on contributes nothing, and must not be waited for.
        let mut live = vec![false; steps.values.len()];
        for output in &steps.outputs {
            live[output.0] = true;
            self.contributions[output.0] += 1;
        }
        for step in steps.steps.iter().rev().filter(|step| steps.value(step.out).needs_gradient) {
            if live[step.out.0] {
                for input in step.reads() {
                    live[input.0] = true;
                    self.contributions[input.0] += 1;
                }
            }
        }
        for (output, value) in steps.outputs.iter().enumerate() {
            if steps.value(*value).needs_gradient {
                let to = self.slot(*value);
                self.to.backward.push(Instruction::reading(Action::Seed { output }, []).into(to));
                self.pass(to, *value, true);
            }
        }
        for (index, step) in steps.steps.iter().enumerate().rev() {
            if let Some(gradient) = self.gradients[step.out.0] {
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

    /// Contributes what an instruction computes to a value's gradient.
    fn add(&mut self, value: ValueId, instruction: Instruction) {
        let (to, finish) = self.contribute(value);
        self.to.backward.push(instruction.into(to).finished(finish));
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
                let finish = Finish { gate: Some(bits), ..Finish::default() };
                self.to
                    .backward
                    .push(Instruction::reading(Action::Rework, []).into(gradient).finished(finish));
            }
        } else {
            self.add(value, Instruction::reading(Action::Store, [gradient]));
        }
    }

    fn reverse(&mut self, index: usize, step: &Step, gradient: Slot) {
        // The gradient of the first input, for layers that have one and nothing else to do.
        let action = match &step.layer {
            Layer::Image => {
                self.to.backward.push(Instruction::reading(Action::ExportImage, [gradient]));
                return;
            }
            Layer::Conv(conv) => return self.reverse_conv(*conv, step, gradient),
            Layer::Norm(norm) => return self.reverse_norm(*norm, step, gradient),
            Layer::Store => {
                self.pass(gradient, step.inputs[0], step.tail.residual.is_none());
                return self.pass_residual(step, gradient);
            }
            Layer::Mul => return self.reverse_mul(step, gradient),
            Layer::Concat => return self.reverse_concat(step, gradient),
            Layer::Standardize => {
                if self.keeps(step) {
                    let from = [gradient, Slot(step.inputs[0].0)];
                    self.add(step.inputs[0], Instruction::reading(Action::StandardizeGradient, from));
                }
                return;
            }
            &Layer::PadChannels { before } => Action::ConcatGradient { start: before },
            Layer::Elementwise(_) | Layer::MeanSparse(_) => Action::MultiplyKept,
            Layer::MaxPool(pool) => Action::MaxPoolGradient(*pool),
            Layer::AvgPool(pool) => Action::AvgPoolGradient(*pool),
            Layer::Flatten => Action::FlattenGradient,
        };
        if self.keeps(step) {
            let kept = self.kept[index];
            self.add(step.inputs[0], Instruction::reading(action, [gradient]).keeping(kept));
        }
    }

    fn pass_residual(&mut self, step: &Step, gradient: Slot) {
        if let Some(residual) = step.tail.residual {
            self.pass(gradient, residual, true);
        }
    }

    fn reverse_conv(&mut self, conv: usize, step: &Step, gradient: Slot) {
        let input = step.inputs[0];
        if self.keep.params() {
            self.to.weights.push(conv);
            let weight = self.to.weights.len() - 1;
            let part = Instruction::reading(Action::Weight { weight }, [Slot(input.0), gradient]);
            self.to.backward.push(part);
            if self.steps.convs[conv].bias {
                self.to.backward.push(Instruction::reading(Action::Bias { conv }, [gradient]));
            }
        }
        if self.steps.value(input).needs_gradient {
            let product = self.product(conv, Direction::Image);
            self.add(input, Instruction::reading(Action::Product { product, bias: None }, [gradient]));
        }
        self.pass_residual(step, gradient);
    }

    fn reverse_norm(&mut self, norm: usize, step: &Step, gradient: Slot) {
        let (input, value) = (step.inputs[0], Slot(step.inputs[0].0));
        let moments = &self.steps.norms[norm].moments;
        let batch = matches!(moments, Moments::Batch);
        if batch || (self.keep.params() && matches!(moments, Moments::Running)) {
            let part = Instruction::reading(Action::GradientMoments { norm }, [value, gradient]);
            self.to.backward.push(part);
        }
        if self.steps.value(input).needs_gradient {
            let mut instruction = Instruction::reading(Action::AffineGradient { norm }, [gradient]);
            instruction.from[1] = batch.then_some(value);
            self.add(input, instruction);
        }
        self.pass_residual(step, gradient);
    }

    fn reverse_mul(&mut self, step: &Step, gradient: Slot) {
        let actions = if self.is_per_channel(step) {
            [Action::MultiplyChannels, Action::ChannelProducts]
        } else {
            [Action::Multiply, Action::Multiply]
        };
        for (wanted, action) in actions.into_iter().enumerate() {
            if self.steps.value(step.inputs[wanted]).needs_gradient {
                let other = Slot(step.inputs[1 - wanted].0);
                self.add(step.inputs[wanted], Instruction::reading(action, [gradient, other]));
            }
        }
    }

    fn reverse_concat(&mut self, step: &Step, gradient: Slot) {
        let mut start = 0;
        for &input in &step.inputs {
            if self.steps.value(input).needs_gradient {
                self.add(input, Instruction::reading(Action::ConcatGradient { start }, [gradient]));
            }
            start += self.steps.value(input).shape[0];
        }
    }
}
