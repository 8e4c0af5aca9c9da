//! What a name of the model stands for while its graph is read.

use std::borrow::Cow;

use engine::graph::{NodeId, Padding};
use weights::TensorData;

use super::entry::Entry;
use super::whole::Whole;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value<'m> {
    /// The images, and what has been done to them before the first layer.
    Images(Entry),
    /// What a node of the network gives.
    Node(NodeId),
    /// The mean of each channel of a map: a vector for the layer behind it, or a map of one pixel.
    Mean(NodeId),
    /// The sigmoid of a node, which times the node is SiLU.
    Sigmoid(NodeId),
    /// A map with zeros around it: part of the convolution behind it.
    Padded(NodeId, Padding),
    /// A constant.
    Tensor(Cow<'m, TensorData>),
    /// Whole numbers on their way to a shape.
    Whole(Whole),
}
