//! What a fast engine executes: instructions over slots, for forwards and backwards alike.

use super::step::{Activation, Smooth};
use crate::graph::Pool;

/// A piece of memory per image: a value, its gradient, its bits or its indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub(crate) usize);

/// The finish of an instruction that writes a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finish {
    pub(crate) residual: Option<Slot>,
    /// Adds to what the destination holds.
    pub(crate) accumulate: bool,
    pub(crate) activation: Activation,
    pub(crate) bits_out: Option<Slot>,
    pub(crate) gate: Option<Slot>,
}

impl Finish {
    fn slots(&self) -> impl Iterator<Item = Slot> {
        [self.residual, self.bits_out, self.gate].into_iter().flatten()
    }
}

/// One instruction. Indices are places in the plan's tables.
#[derive(Clone, Debug)]
pub(crate) enum Instruction {
    /// The caller's images.
    Import {
        to: Slot,
    },
    /// A value as the caller's output.
    Export {
        output: usize,
        from: Slot,
    },
    /// The caller's gradient of an output.
    Seed {
        output: usize,
        to: Slot,
    },
    /// The gradient of the images to the caller.
    ExportImage {
        from: Slot,
    },
    /// A convolution, or its image gradient.
    Product {
        product: usize,
        bias: Option<usize>,
        from: Slot,
        to: Slot,
        finish: Finish,
    },
    /// Part of a weight gradient.
    Weight {
        weight: usize,
        input: Slot,
        gradient: Slot,
    },
    /// Part of a bias gradient.
    Bias {
        conv: usize,
        gradient: Slot,
    },
    /// Part of the batch's moments.
    Moments {
        norm: usize,
        from: Slot,
    },
    /// A normalisation with known scale and shift.
    Affine {
        norm: usize,
        from: Slot,
        to: Slot,
        finish: Finish,
    },
    /// Part of the sums that the gradient of a normalisation needs.
    GradientMoments {
        norm: usize,
        input: Slot,
        gradient: Slot,
    },
    /// The gradient of a normalisation's input; it needs the input where the moments are the batch's.
    AffineGradient {
        norm: usize,
        input: Option<Slot>,
        gradient: Slot,
        to: Slot,
        finish: Finish,
    },
    Activate {
        from: Slot,
        to: Slot,
        activation: Activation,
        bits: Option<Slot>,
    },
    /// A smooth activation, and its slope where a backward will want it.
    Smooth {
        kind: Smooth,
        from: Slot,
        to: Slot,
        slope: Option<Slot>,
    },
    SmoothGradient {
        slope: Slot,
        gradient: Slot,
        to: Slot,
        finish: Finish,
    },
    Add {
        from: [Slot; 2],
        to: Slot,
    },
    /// Adds (or copies) a gradient.
    Pass {
        from: Slot,
        to: Slot,
        finish: Finish,
    },
    /// Zeros where a bit is not set.
    Gate {
        slot: Slot,
        bits: Slot,
    },
    Mul {
        from: [Slot; 2],
        to: Slot,
    },
    /// The gradient of factor `wanted`, which needs the other one.
    MulGradient {
        wanted: usize,
        other: Slot,
        gradient: Slot,
        to: Slot,
        finish: Finish,
    },
    /// Channels `start..` of a joined map.
    Concat {
        from: Slot,
        to: Slot,
        start: usize,
    },
    ConcatGradient {
        gradient: Slot,
        to: Slot,
        start: usize,
        finish: Finish,
    },
    MaxPool {
        pool: Pool,
        from: Slot,
        to: Slot,
        taps: Option<Slot>,
    },
    MaxPoolGradient {
        pool: Pool,
        gradient: Slot,
        to: Slot,
        taps: Slot,
        finish: Finish,
    },
    AvgPool {
        pool: Pool,
        from: Slot,
        to: Slot,
    },
    AvgPoolGradient {
        pool: Pool,
        gradient: Slot,
        to: Slot,
        finish: Finish,
    },
    Flatten {
        from: Slot,
        to: Slot,
    },
    FlattenGradient {
        gradient: Slot,
        to: Slot,
        finish: Finish,
    },
}

impl Instruction {
    /// Every slot it touches.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        let finish = match self {
            Self::Import { to } | Self::Seed { to, .. } => {
                slots.push(*to);
                None
            }
            Self::Export { from, .. } | Self::ExportImage { from } | Self::Moments { from, .. } => {
                slots.push(*from);
                None
            }
            Self::Product { from, to, finish, .. }
            | Self::Affine { from, to, finish, .. }
            | Self::Pass { from, to, finish } => {
                slots.extend([*from, *to]);
                Some(finish)
            }
            Self::Weight { input, gradient, .. } | Self::GradientMoments { input, gradient, .. } => {
                slots.extend([*input, *gradient]);
                None
            }
            Self::Bias { gradient, .. } => {
                slots.push(*gradient);
                None
            }
            Self::AffineGradient { input, gradient, to, finish, .. } => {
                slots.extend([*gradient, *to]);
                slots.extend(*input);
                Some(finish)
            }
            Self::Activate { from, to, bits, .. }
            | Self::MaxPool { from, to, taps: bits, .. }
            | Self::Smooth { from, to, slope: bits, .. } => {
                slots.extend([*from, *to]);
                slots.extend(*bits);
                None
            }
            Self::Concat { from, to, .. } | Self::AvgPool { from, to, .. } | Self::Flatten { from, to } => {
                slots.extend([*from, *to]);
                None
            }
            Self::SmoothGradient { slope: other, gradient, to, finish, .. }
            | Self::MulGradient { other, gradient, to, finish, .. }
            | Self::MaxPoolGradient { taps: other, gradient, to, finish, .. } => {
                slots.extend([*other, *gradient, *to]);
                Some(finish)
            }
            Self::Add { from, to } | Self::Mul { from, to } => {
                slots.extend([from[0], from[1], *to]);
                None
            }
            Self::Gate { slot, bits } => {
                slots.extend([*slot, *bits]);
                None
            }
            Self::ConcatGradient { gradient, to, finish, .. }
            | Self::AvgPoolGradient { gradient, to, finish, .. }
            | Self::FlattenGradient { gradient, to, finish } => {
                slots.extend([*gradient, *to]);
                Some(finish)
            }
        };
        slots.extend(finish.into_iter().flat_map(Finish::slots));
        slots
    }

    /// The sum over the batch that it adds to, if any.
    pub(crate) fn sums(&self) -> Option<Sums> {
        match *self {
            Self::Moments { norm, .. } => Some(Sums::Moments(norm)),
            Self::GradientMoments { norm, .. } => Some(Sums::GradientMoments(norm)),
            Self::Weight { weight, .. } => Some(Sums::Weight(weight)),
            Self::Bias { conv, .. } => Some(Sums::Bias(conv)),
            _ => None,
        }
    }
}

/// A sum over the batch, formed in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sums {
    Moments(usize),
    GradientMoments(usize),
    Weight(usize),
    Bias(usize),
}

impl Sums {
    /// Whether every image must have passed before the next instruction, which may depend on it.
    pub(crate) fn is_barrier(self) -> bool {
        matches!(self, Self::Moments(_) | Self::GradientMoments(_))
    }
}
