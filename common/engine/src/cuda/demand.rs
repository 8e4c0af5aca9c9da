//! What a plan asks of a GPU, counted without one: launches, bytes, operations; and a model of its time.
//!
//! A launch takes its bytes over the card's bandwidth or its operations over the tensor cores' rate, whichever is longer,
//! but never less than a launch itself does. It is a floor for these kernels, not a promise: what is measured lies above it by
//! what the kernels lose.

use super::card::Card;
use super::conv::Way;
use super::planned::Planned;
use super::precision::Storage;
use crate::engine::{Keep, Norm};
use crate::graph::Network;
use crate::plan::{Action, Instruction, Slot, SlotInfo, padded};

/// Seconds that a launch takes at least, inside a graph.
const LAUNCH: f64 = 1.2e-6;

/// What a pass over a batch asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Kernels.
    pub launches: usize,
    /// Bytes of maps, bits and weights that they read and write.
    pub bytes: f64,
    /// Floating-point operations of convolutions and fully connected layers, padding included.
    pub flop: f64,
    /// Seconds on the card, by the model.
    pub seconds: f64,
}

impl std::ops::AddAssign for Demand {
    fn add_assign(&mut self, other: Self) {
        self.launches += other.launches;
        self.bytes += other.bytes;
        self.flop += other.flop;
        self.seconds += other.seconds;
    }
}

impl Demand {
    /// So many times the same.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        let factor = count as f64;
        Self {
            launches: self.launches * count,
            bytes: self.bytes * factor,
            flop: self.flop * factor,
            seconds: self.seconds * factor,
        }
    }

    /// A launch that multiplies on tensor cores in this way.
    fn product(&mut self, bytes: f64, flop: f64, (way, storage): (Way, Storage), card: Card) {
        // A product of f32 is three of TF32, at half the rate, or of halves.
        let products = if storage == Storage::F32 { 3.0 } else { 1.0 };
        let each = if storage.is_float() && way != Way::Split { 2.0 } else { 1.0 };
        let seconds = (bytes / card.bandwidth).max(flop * products * each / card.tensor).max(LAUNCH);
        *self += Self { launches: 1, bytes, flop, seconds };
    }

    /// A launch that moves bytes.
    fn launch(&mut self, bytes: f64, card: Card) {
        *self += Self { launches: 1, bytes, flop: 0.0, seconds: (bytes / card.bandwidth).max(LAUNCH) };
    }
}

/// What is asked by a forward and, where anything is kept, of its backward.
pub(super) fn demand(
    network: &Network,
    norm: Norm,
    keep: Keep,
    storage: Storage,
    batch: usize,
    card: Card,
) -> Demand {
    let planned = Planned::new((storage, card.warpgroups), network, norm, keep, &[network.output()]);
    let mut demand = Demand::default();
    for instruction in planned.plan.forward.iter().chain(&planned.plan.backward) {
        instruction_demand(&planned, instruction, batch, card, &mut demand);
    }
    demand
}

fn instruction_demand(
    planned: &Planned,
    instruction: &Instruction,
    batch: usize,
    card: Card,
    demand: &mut Demand,
) {
    let storage = planned.storage;
    let bytes = |slot: Slot| -> f64 {
        let each = match planned.plan.slots[slot.0] {
            SlotInfo::Map { value, .. } => {
                let [channels, height, width] = planned.plan.steps.value(value).shape;
                padded(channels) * height * width * storage.bytes()
            }
            SlotInfo::Halves { len } => 2 * len,
        };
        (each * batch) as f64
    };
    let mut maps: f64 = instruction.slots().map(bytes).sum();
    if instruction.finish.accumulate {
        maps += instruction.to.map_or(0.0, bytes);
    }
    match instruction.action {
        Action::Product { product, .. } => {
            let (conv, direction) = planned.product(product);
            let [_, height, width] = conv.shape.output;
            let places = (batch * height * width) as f64;
            let products = (conv.taps() * conv.in_c * conv.out_c * conv.shape.groups) as f64;
            // A depthwise product is of memory, not of tensor cores.
            let flop = if conv.is_product() { 2.0 * places * products } else { 0.0 };
            let launches = conv.launches(direction);
            let weights = conv.packed_bytes(direction, storage) as f64;
            for _ in 0..launches {
                let [bytes, flop] = [maps + weights, flop].map(|all| all / launches as f64);
                demand.product(bytes, flop, (conv.way, storage), card);
            }
        }
        Action::Weight { weight } => {
            let conv = &planned.convs[planned.plan.weights[weight]];
            let [_, height, width] = conv.shape.output;
            let places = (batch * height * width) as f64;
            let products = (conv.taps() * conv.in_c * conv.out_c * conv.shape.groups) as f64;
            let flop = if conv.is_product() { 2.0 * places * products } else { 0.0 };
            let parts = (conv.parts(card.processors, batch) * conv.part_len() * 4) as f64;
            demand.product(maps + parts, flop, (Way::Product, storage), card);
            demand.launch(parts, card);
        }
        Action::Moments { .. } => demand.launch(0.0, card),
        Action::GradientMoments { .. } | Action::Bias { .. } => {
            demand.launch(maps, card);
            demand.launch(0.0, card);
        }
        Action::Export { .. } | Action::ExportImage | Action::Seed { .. } => {}
        _ => demand.launch(maps, card),
    }
}
