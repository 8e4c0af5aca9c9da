//! A plan: everything about running one network in one mode that depends neither on its values, nor on the batch, nor
//! on an engine's kernels.
//!
//! [`Draft::new`] fuses nodes into steps ([`fuse`]) and steps into instructions over slots ([`emit`]). An engine picks
//! kernels for the draft's products and weight gradients and says what each costs; [`Draft::place`] then cuts the
//! programs into segments and gives every slot its place ([`place`]).

mod block;
mod conv;
mod emit;
mod fuse;
mod instruction;
mod place;
mod recompute;
mod stage;
mod step;

pub(crate) use block::{BLOCK, padded};
pub(crate) use conv::ConvShape;
pub(crate) use emit::{Direction, SlotInfo};
pub(crate) use instruction::{Action, Finish, Instruction, Slot, Sums};
pub(crate) use place::{Cost, Place, Program, Segment};
pub(crate) use step::{Activation, Moments, Norm, Steps, Value};

use crate::engine::{self, Keep};
use crate::graph::{Network, NodeId};
use emit::Emitted;

/// Steps and instructions, without places.
pub(crate) struct Draft {
    pub(crate) steps: Steps,
    emitted: Emitted,
}

/// How to run one network in one mode.
pub(crate) struct Plan {
    pub(crate) steps: Steps,
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) places: Vec<Place>,
    pub(crate) forward: Program,
    pub(crate) backward: Program,
    /// f32 per image kept from forward to backward.
    pub(crate) tape_len: usize,
}

impl Draft {
    /// For one network and mode; `outputs` are the logits and the taps.
    pub(crate) fn new(network: &Network, norm: engine::Norm, keep: Keep, outputs: &[NodeId]) -> Self {
        let steps = fuse::fuse(network, norm, keep, outputs);
        let emitted = emit::emit(&steps, keep);
        Self { steps, emitted }
    }

    /// The same with a backward that forms normalised maps again where that keeps them off the tape; no result changes.
    pub(crate) fn recomputing(mut self) -> Self {
        recompute::recompute(&self.steps, &mut self.emitted);
        self
    }

    /// The products, each a convolution (a place in [`Steps::convs`]) in one direction.
    pub(crate) fn products(&self) -> &[(usize, Direction)] {
        &self.emitted.products
    }

    /// The convolutions that want weight gradients.
    pub(crate) fn weights(&self) -> &[usize] {
        &self.emitted.weights
    }

    /// The plan, given what each product and each weight gradient costs.
    pub(crate) fn place(self, products: &[Cost], weights: &[Cost]) -> Plan {
        let Emitted { mut slots, mut forward, mut backward, .. } = self.emitted;
        let cost = |instruction: &Instruction, is_backward: bool| match instruction.action {
            Action::Product { product, .. } => products[product],
            Action::Weight { weight } => weights[weight],
            // A map that is formed again must not change how sums beside it are cut.
            Action::Affine { .. } => Cost { follows: is_backward, ..Cost::default() },
            // Nor must one that is handed on.
            _ => {
                Cost { follows: instruction.sums().is_some() && instruction.to.is_some(), ..Cost::default() }
            }
        };
        let mut staged = stage::stage(&mut forward, &mut slots, |one| cost(one, false).cooperative);
        staged.extend(stage::stage(&mut backward, &mut slots, |one| cost(one, true).cooperative));
        let mut places = vec![Place::Nowhere; slots.len()];
        let lens: Vec<usize> = slots.iter().map(|slot| slot.reserved()).collect();
        let tape_len = place::place_tape(&forward, &backward, &lens, &mut places);
        let [forward, backward] = [(forward, false), (backward, true)].map(|(program, is_backward)| {
            let costs: Vec<Cost> = program.iter().map(|one| cost(one, is_backward)).collect();
            place::place(program, &slots, &costs, &mut places)
        });
        for (stage, map) in staged {
            places[stage.0] = places[stage.0].staging(map);
        }
        Plan { steps: self.steps, slots, places, forward, backward, tape_len }
    }

    /// The plan for a machine that runs each instruction on the whole batch, given the bytes per image of each slot.
    pub(crate) fn whole(self, bytes: impl Fn(&Steps, SlotInfo) -> usize) -> Whole {
        let Emitted { slots, forward, backward, products, weights } = self.emitted;
        let mut places = vec![Place::Nowhere; slots.len()];
        let lens: Vec<usize> = slots.iter().map(|&slot| bytes(&self.steps, slot)).collect();
        let tape_len = place::place_tape(&forward, &backward, &lens, &mut places);
        let batch_len = [&forward, &backward].map(|program| place::place_whole(program, &lens, &mut places));
        let batch_len = batch_len[0].max(batch_len[1]);
        Whole { steps: self.steps, slots, places, forward, backward, products, weights, tape_len, batch_len }
    }
}

/// How to run one network in one mode, an instruction at a time for the whole batch.
pub(crate) struct Whole {
    pub(crate) steps: Steps,
    pub(crate) slots: Vec<SlotInfo>,
    /// Offsets in bytes per image.
    pub(crate) places: Vec<Place>,
    pub(crate) forward: Vec<Instruction>,
    pub(crate) backward: Vec<Instruction>,
    /// The products: the convolution and its direction.
    pub(crate) products: Vec<(usize, Direction)>,
    /// The weight gradients: the convolution.
    pub(crate) weights: Vec<usize>,
    /// Bytes per image kept from forward to backward.
    pub(crate) tape_len: usize,
    /// Bytes per image that a program needs besides.
    pub(crate) batch_len: usize,
}
