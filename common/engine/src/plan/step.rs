//! A network as a fast engine sees it: values, and the fused steps that make them.

use super::conv::ConvShape;
use crate::graph::{Elementwise, NodeId, Pool};

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

/// One fused step: what it computes, from which values, into which.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) layer: Layer,
    /// What the layer reads; the tail's residual comes on top.
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) out: ValueId,
    pub(crate) tail: Tail,
}

impl Step {
    /// Every value it reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = ValueId> {
        self.inputs.iter().copied().chain(self.tail.residual)
    }
}

/// What a step computes before its tail.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    /// The images.
    Image,
    /// A convolution or fully connected layer: its place in [`Steps::convs`].
    Conv(usize),
    /// A normalisation that is not folded into a convolution: its place in [`Steps::norms`].
    Norm(usize),
    /// The input as it is: the tail does the work, an activation or a sum.
    Store,
    Elementwise(Elementwise),
    /// Values near their channel's mean become it: its place in [`Steps::bands`].
    MeanSparse(usize),
    /// The second input may be one value per channel.
    Mul,
    Concat,
    /// The input's channels from `before` on, zeros around them.
    PadChannels {
        before: usize,
    },
    Standardize,
    MaxPool(Pool),
    AvgPool(Pool),
    Flatten,
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
    /// The mean-sparse layers of the network.
    pub(crate) bands: Vec<NodeId>,
    /// The network's own normalisation (mean, deviation), where the images pass through it first and alone.
    pub(crate) normalise: Option<[Vec<f32>; 2]>,
    /// Logits, then taps.
    pub(crate) outputs: Vec<ValueId>,
}

impl Steps {
    pub(crate) fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }
}
