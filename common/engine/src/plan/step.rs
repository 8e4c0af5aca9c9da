//! A network as a fast engine sees it: values, and the fused steps that make them.

use super::conv::ConvShape;
use crate::graph::{NodeId, Pool};

/// The place of a value in [`Steps::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ValueId(pub(crate) usize);

/// A map or vector that some step writes to memory.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Channels, rows, columns; a vector is one pixel.
    pub(crate) shape: [usize; 3],
    /// f32 from one pixel to the next.
    pub(crate) pixel: usize,
    /// The activation that its step ended with: its gradient goes through the kept bits.
    pub(crate) activation: Activation,
    /// Whether a backward wants its gradient.
    pub(crate) needs_gradient: bool,
}

impl Value {
    /// f32 per image.
    pub(crate) fn len(&self) -> usize {
        self.pixel * self.shape[1] * self.shape[2]
    }
}

/// An activation that a step can apply to its result on the way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activation {
    #[default]
    None,
    Relu,
    Relu6,
}

/// What a step does to its result on the way out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tail {
    pub(crate) residual: Option<ValueId>,
    pub(crate) activation: Activation,
}

/// A smooth activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Smooth {
    Silu,
    Sigmoid,
}

/// One fused step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The images, with the network's own normalisation (mean, deviation) where it comes first.
    Image {
        out: ValueId,
        normalise: Option<[Vec<f32>; 2]>,
    },
    /// A convolution or fully connected layer.
    Conv {
        conv: usize,
        input: ValueId,
        out: ValueId,
        tail: Tail,
    },
    /// A normalisation that is not folded into a convolution.
    Norm {
        norm: usize,
        input: ValueId,
        out: ValueId,
        tail: Tail,
    },
    Activate {
        input: ValueId,
        out: ValueId,
    },
    Smooth {
        kind: Smooth,
        input: ValueId,
        out: ValueId,
    },
    Add {
        inputs: [ValueId; 2],
        out: ValueId,
    },
    /// The second may be one value per channel.
    Mul {
        inputs: [ValueId; 2],
        out: ValueId,
    },
    Concat {
        inputs: Vec<ValueId>,
        out: ValueId,
    },
    MaxPool {
        pool: Pool,
        input: ValueId,
        out: ValueId,
    },
    AvgPool {
        pool: Pool,
        input: ValueId,
        out: ValueId,
    },
    Flatten {
        input: ValueId,
        out: ValueId,
    },
}

/// A convolution of the network.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) node: NodeId,
    pub(crate) shape: ConvShape,
    pub(crate) bias: bool,
    /// The BatchNorm whose running statistics are folded in, and its eps.
    pub(crate) fold: Option<(NodeId, f64)>,
}

/// Where a normalisation's scale and shift come from.
#[derive(Clone, Debug)]
pub(crate) enum Moments {
    /// The batch.
    Batch,
    /// The running statistics.
    Running,
    /// Constants: `x * scale + shift`.
    Fixed { scale: Vec<f32>, shift: Vec<f32> },
}

/// A normalisation of the network.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) node: NodeId,
    pub(crate) eps: f64,
    pub(crate) channels: usize,
    /// f32 from one pixel to the next.
    pub(crate) pixel: usize,
    /// Positions per image.
    pub(crate) positions: usize,
    pub(crate) moments: Moments,
}

/// A network in fused steps, for one mode.
#[derive(Debug)]
#[allow(clippy::struct_field_names)]
pub(crate) struct Steps {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    pub(crate) convs: Vec<Conv>,
    pub(crate) norms: Vec<Norm>,
    /// Logits, then taps.
    pub(crate) outputs: Vec<ValueId>,
}

impl Steps {
    pub(crate) fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }
}
