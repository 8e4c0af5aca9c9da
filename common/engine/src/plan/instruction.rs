//! What a fast engine executes: instructions over slots, for forwards and backwards alike.

use crate::graph::{Elementwise, Pool};

use super::step::Activation;

/// A piece of memory per image: a value, its gradient, its bits or its indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub(crate) usize);

/// One instruction: what is done, and every slot that it touches.
///
/// Slots share memory where their lives allow it, and an engine makes exclusive references of them: so an action has
/// no slots of its own, and whoever executes it finds them here or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) action: Action,
    /// Slots that are read.
    pub(crate) from: [Option<Slot>; 2],
    /// The slot that is written.
    pub(crate) to: Option<Slot>,
    /// What a forward keeps for its backward besides values: written by the one, read by the other.
    pub(crate) kept: Option<Slot>,
    /// What happens to a value on its way to `to`.
    pub(crate) finish: Finish,
}

/// The finish of an instruction that writes a map. In this order: residual, what the destination held, activation and
/// its bits out, a gate's bits in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finish {
    pub(crate) residual: Option<Slot>,
    /// Adds to what the destination holds.
    pub(crate) accumulate: bool,
    pub(crate) activation: Activation,
    pub(crate) bits_out: Option<Slot>,
    pub(crate) gate: Option<Slot>,
}

/// What an instruction does. Indices are places in the plan's tables; `a` and `b` are the slots of
/// [`from`](Instruction::from).
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The caller's images.
    Import,
    /// `a` as the caller's output.
    Export {
        output: usize,
    },
    /// The caller's gradient of an output.
    Seed {
        output: usize,
    },
    /// The gradient of the images, `a`, to the caller.
    ExportImage,
    /// A convolution of `a`, or its image gradient.
    Product {
        product: usize,
        bias: Option<usize>,
    },
    /// Part of a weight gradient: of input `a`, gradient of the output `b`.
    Weight {
        weight: usize,
    },
    /// Part of a bias gradient, of the gradient `a`.
    Bias {
        conv: usize,
    },
    /// Part of the batch's moments, of the value `a`; where there is a `to`, `a` goes there past the caches.
    Moments {
        norm: usize,
    },
    /// A normalisation of `a` with known scale and shift.
    Affine {
        norm: usize,
    },
    /// Part of the sums that the gradient of a normalisation needs: of input `a`, gradient `b`; where there is a `to`, `b` goes
    /// there past the caches.
    GradientMoments {
        norm: usize,
    },
    /// The gradient of a normalisation's input, from the gradient `a` of its output; it needs the input `b` where the
    /// moments are the batch's.
    AffineGradient {
        norm: usize,
    },
    /// `a` as it is, finished: a copy, a sum, an activation.
    Store,
    /// `to` finished in place.
    Rework,
    /// A function of each value of `a`; keeps its slope where a backward will want it.
    Elementwise(Elementwise),
    /// `a`, values near their channel's mean replaced by it; keeps where the slope is 1 and where 0.
    MeanSparse {
        band: usize,
    },
    /// `a * b`, of one shape.
    Multiply,
    /// `a * b`, one value per image and channel in `b`.
    MultiplyChannels,
    /// `a * b` summed over positions: one value per image and channel.
    ChannelProducts,
    /// `a` times the slope that was kept.
    MultiplyKept,
    /// `a` as channels `start..` of a joined map.
    Concat {
        start: usize,
    },
    /// Channels `start..` of `a`.
    ConcatGradient {
        start: usize,
    },
    /// `a` as channels `before..`, zeros in the others.
    PadChannels {
        before: usize,
    },
    /// Each image of `a` less its mean, over its deviation.
    Standardize,
    /// Its gradient: of the gradient `a` and the input `b`.
    StandardizeGradient,
    /// Keeps which value of each window was largest, where a backward will want it.
    MaxPool(Pool),
    MaxPoolGradient(Pool),
    AvgPool(Pool),
    AvgPoolGradient(Pool),
    Flatten,
    FlattenGradient,
}

impl Instruction {
    /// Reads slots, and writes none.
    pub(crate) fn reading<const N: usize>(action: Action, from: [Slot; N]) -> Self {
        const { assert!(N <= 2, "an instruction reads two slots at most") }
        let mut slots = [None; 2];
        for (to, slot) in slots.iter_mut().zip(from) {
            *to = Some(slot);
        }
        Self { action, from: slots, to: None, kept: None, finish: Finish::default() }
    }

    /// The same, written to a slot.
    pub(crate) fn into(self, to: Slot) -> Self {
        Self { to: Some(to), ..self }
    }

    /// The same with a finish.
    pub(crate) fn finished(self, finish: Finish) -> Self {
        Self { finish, ..self }
    }

    /// The same with what a backward reads.
    pub(crate) fn keeping(self, kept: Option<Slot>) -> Self {
        Self { kept, ..self }
    }

    /// Every slot it touches.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        // Every field by name: one more does not compile until it is listed.
        let Self { action: _, from: [a, b], to, kept, finish } = self;
        let Finish { residual, bits_out, gate, accumulate: _, activation: _ } = finish;
        [*a, *b, *to, *kept, *residual, *bits_out, *gate].into_iter().flatten()
    }

    /// The same with another slot wherever it touches this one.
    pub(crate) fn replace(&mut self, slot: Slot, by: Slot) {
        let Self { action: _, from: [a, b], to, kept, finish } = self;
        let Finish { residual, bits_out, gate, accumulate: _, activation: _ } = finish;
        let touched = [a, b, to, kept, residual, bits_out, gate];
        touched.into_iter().filter(|one| **one == Some(slot)).for_each(|one| *one = Some(by));
    }

    /// The sum over the batch that it adds to, if any.
    pub(crate) fn sums(&self) -> Option<Sums> {
        match self.action {
            Action::Moments { norm } => Some(Sums::Moments(norm)),
            Action::GradientMoments { norm } => Some(Sums::GradientMoments(norm)),
            Action::Weight { weight } => Some(Sums::Weight(weight)),
            Action::Bias { conv } => Some(Sums::Bias(conv)),
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
