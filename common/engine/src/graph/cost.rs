//! What a network costs: multiply-accumulates, parameters, activation bytes.
//!
//! MACs count convolutions and fully connected layers, as the literature's numbers do (555.42 M for the CIFAR
//! ResNet-18); normalisation, activations and pooling are left out.

use super::{Network, NodeId, Op, Shape};

/// The cost of one image through a node or a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-accumulates of convolutions and fully connected layers.
    pub macs: u64,
    /// Trainable parameters; running statistics are not counted.
    pub parameters: u64,
    /// Values written by the node, or by all nodes, for one image.
    pub activations: u64,
}

/// The cost of one node.
pub fn node(network: &Network, id: NodeId) -> Cost {
    let node = network.node(id);
    let input = node.inputs.first().map(|&input| network.node(input).shape);
    let macs = match (&node.op, node.shape, input) {
        (Op::Conv2d(conv), Shape::Map { height, width, .. }, Some(input)) => {
            conv.out * height * width * (input.channels() / conv.groups) * conv.kernel[0] * conv.kernel[1]
        }
        (Op::Linear { out, .. }, _, Some(input)) => out * input.elements(),
        _ => 0,
    };
    let parameters =
        network.layout().trainable().iter().filter(|e| e.node == id).map(|e| e.range.len() as u64).sum();
    Cost { macs: macs as u64, parameters, activations: node.shape.elements() as u64 }
}

/// The cost of the whole network.
pub fn network(network: &Network) -> Cost {
    (0..network.nodes().len()).map(|index| node(network, NodeId(index))).fold(Cost::default(), |sum, cost| {
        Cost {
            macs: sum.macs + cost.macs,
            parameters: sum.parameters + cost.parameters,
            activations: sum.activations + cost.activations,
        }
    })
}
