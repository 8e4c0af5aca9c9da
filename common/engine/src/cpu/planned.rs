//! A plan with the kernels that this machine runs it with.

use super::kernel::choice::{self, Precise};
use super::kernel::conv::{MapProduct, WeightGradient};
use super::vector::simd::{Isa, padded};
use crate::engine::{Keep, Norm};
use crate::graph::{Network, NodeId};
use crate::plan::{Cost, Draft, Plan};
use crate::process;

/// A plan and its kernels.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) products: Vec<Product>,
    pub(crate) weights: Vec<Weight>,
    /// f32 of all packed weights.
    pub(crate) packed_len: usize,
    /// Where the padded bias of each convolution begins, and the length of all.
    pub(crate) biases: (Vec<usize>, usize),
}

/// A convolution in one direction, with the place of its packed weights.
pub(crate) struct Product {
    /// The convolution's place in [`Steps::convs`](crate::plan::Steps::convs).
    pub(crate) conv: usize,
    pub(crate) kernel: Box<dyn MapProduct>,
    /// Where its packed weights begin.
    pub(crate) start: usize,
}

/// The weight gradient of a convolution.
pub(crate) struct Weight {
    /// The convolution's place in [`Steps::convs`](crate::plan::Steps::convs).
    pub(crate) conv: usize,
    pub(crate) kernel: Box<dyn WeightGradient>,
}

impl Planned {
    /// For one network and mode on one instruction set; `outputs` are the logits and the taps. With `recompute` the backward
    /// forms normalised maps again.
    pub(crate) fn new(
        isa: Isa,
        network: &Network,
        norm: Norm,
        keep: Keep,
        outputs: &[NodeId],
        precise: Precise,
        recompute: bool,
    ) -> Self {
        let draft = Draft::new(network, norm, keep, outputs);
        let draft = if recompute { draft.recomputing() } else { draft };
        let shape = |conv: usize| draft.steps.convs[conv].shape;
        let mut packed_len = 0;
        let products = draft.products().iter().map(|&(conv, direction)| {
            let kernel = choice::product(isa, shape(conv), direction, precise);
            let start = packed_len;
            packed_len += padded(kernel.packed_len());
            Product { conv, kernel, start }
        });
        let products: Vec<Product> = products.collect();
        let weights = draft.weights().iter();
        let weights: Vec<Weight> =
            weights.map(|&conv| Weight { conv, kernel: choice::weight(isa, shape(conv), precise) }).collect();
        let biases = starts(draft.steps.convs.iter().map(|conv| padded(conv.shape.output[0])));
        let cost =
            |len: usize, cooperative| Cost { bytes: len * size_of::<f32>(), cooperative, ..Cost::default() };
        let product = |product: &Product| cost(product.kernel.packed_len(), product.kernel.cooperative());
        let weight = |weight: &Weight| cost(weight.kernel.part_len(), weight.kernel.cooperative());
        let costs: [Vec<Cost>; 2] =
            [products.iter().map(product).collect(), weights.iter().map(weight).collect()];
        let plan = draft.place(&costs[0], &costs[1]);
        // Buffers for it are asked of the system next: what a file that was read left free would stay beside them.
        process::give_back_freed_memory();
        Self { plan, products, weights, packed_len, biases }
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
