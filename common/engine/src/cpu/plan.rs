//! A plan: everything about running one network in one mode that does not depend on its values or on the batch.

mod emit;
mod fuse;
mod instruction;
mod kernels;
mod place;
mod step;

pub(crate) use emit::SlotInfo;
pub(crate) use instruction::{Finish, Instruction, Slot, Sums};
pub(crate) use kernels::Precise;
pub(crate) use place::{Place, Program, Segment};
pub(crate) use step::{Moments, Norm, Smooth, Step, Steps, Value};

use super::kernel::conv::{MapProduct, WeightGradient};
use super::vector::simd::{Isa, padded};
use crate::engine::{self, Keep};
use crate::graph::{Network, NodeId};

/// A convolution in one direction, with the place of its packed weights.
pub(crate) struct Product {
    /// The convolution's place in [`Steps::convs`].
    pub(crate) conv: usize,
    pub(crate) kernel: Box<dyn MapProduct>,
    /// Where its packed weights begin.
    pub(crate) start: usize,
}

/// The weight gradient of a convolution.
pub(crate) struct Weight {
    /// The convolution's place in [`Steps::convs`].
    pub(crate) conv: usize,
    pub(crate) kernel: Box<dyn WeightGradient>,
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
    pub(crate) products: Vec<Product>,
    pub(crate) weights: Vec<Weight>,
    /// f32 of all packed weights.
    pub(crate) packed_len: usize,
    /// Where the padded bias of each convolution begins, and the length of all.
    pub(crate) biases: (Vec<usize>, usize),
}

impl Plan {
    pub(crate) fn new(
        isa: Isa,
        network: &Network,
        norm: engine::Norm,
        keep: Keep,
        outputs: &[NodeId],
        precise: Precise,
    ) -> Self {
        let steps = fuse::fuse(network, norm, keep, outputs);
        let emitted = emit::emit(&steps, keep);
        let mut packed_len = 0;
        let products: Vec<Product> = emitted
            .products
            .iter()
            .map(|&(conv, direction)| {
                let kernel = kernels::product(isa, steps.convs[conv].shape, direction, precise);
                let start = packed_len;
                packed_len += padded(kernel.packed_len());
                Product { conv, kernel, start }
            })
            .collect();
        let weights: Vec<Weight> = emitted
            .weights
            .iter()
            .map(|&conv| Weight { conv, kernel: kernels::weight(isa, steps.convs[conv].shape, precise) })
            .collect();
        let mut places = vec![Place::Nowhere; emitted.slots.len()];
        let tape_len = place::place_tape(&emitted.forward, &emitted.backward, &emitted.slots, &mut places);
        let heavy = Heavy { products: &products, weights: &weights };
        let forward = place::place(emitted.forward, &emitted.slots, &heavy, &mut places);
        let backward = place::place(emitted.backward, &emitted.slots, &heavy, &mut places);
        let biases = starts(steps.convs.iter().map(|conv| padded(conv.shape.output[0])));
        Self {
            steps,
            slots: emitted.slots,
            places,
            forward,
            backward,
            tape_len,
            products,
            weights,
            packed_len,
            biases,
        }
    }
}

/// Where pieces of these lengths begin, and the length of all.
fn starts(lens: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut total = 0;
    let starts = lens
        .map(|len| {
            total += len;
            total - len
        })
        .collect();
    (starts, total)
}

struct Heavy<'a> {
    products: &'a [Product],
    weights: &'a [Weight],
}

impl place::Weights for Heavy<'_> {
    fn bytes(&self, instruction: &Instruction) -> usize {
        let len = match *instruction {
            Instruction::Product { product, .. } => self.products[product].kernel.packed_len(),
            Instruction::Weight { weight, .. } => self.weights[weight].kernel.part_len(),
            _ => 0,
        };
        len * size_of::<f32>()
    }

    fn cooperative(&self, instruction: &Instruction) -> bool {
        match *instruction {
            Instruction::Product { product, .. } => self.products[product].kernel.cooperative(),
            Instruction::Weight { weight, .. } => self.weights[weight].kernel.cooperative(),
            _ => false,
        }
    }
}
