//! A network as data: named nodes in topological order, with their shapes.
//!
//! Architectures build one with [`Builder`]; engines, the cost model and the weight files all read it. A node that
//! has parameters carries the name of the PyTorch module that owns them, so `layer1.0.conv1` here is
//! `layer1.0.conv1.weight` in a state dict.

mod builder;
pub mod cost;
mod layout;
mod module;
mod op;
mod summary;

pub use builder::{Builder, GraphError};
pub use layout::{Entry, Layout, Role};
pub use op::{Conv2d, Elementwise, Op, Padding, Pool};

use std::sync::Arc;

/// The place of a node in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// The node's index in [`Network::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// The shape of one image's value at a node; the batch dimension is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A feature map.
    Map {
        /// Channels.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A vector of this many features.
    Flat(usize),
}

impl Shape {
    /// Values per image.
    pub fn elements(self) -> usize {
        match self {
            Self::Map { channels, height, width } => channels * height * width,
            Self::Flat(features) => features,
        }
    }

    /// Channels of a map, features of a vector: what BatchNorm has one mean for.
    pub fn channels(self) -> usize {
        match self {
            Self::Map { channels, .. } => channels,
            Self::Flat(features) => features,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Map { channels, height, width } => write!(f, "{channels}x{height}x{width}"),
            Self::Flat(features) => write!(f, "{features}"),
        }
    }
}

/// One step of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The PyTorch module's name where the node has parameters, else a name of its own.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The nodes it reads, all before it.
    pub inputs: Vec<NodeId>,
    /// The shape of its value for one image.
    pub shape: Shape,
}

/// A network: nodes in topological order from the one input to the logits.
#[derive(Clone, Debug)]
pub struct Network {
    architecture: String,
    nodes: Vec<Node>,
    layout: Arc<Layout>,
}

impl Network {
    /// The architecture's name in the zoo, such as `resnet18` or `wrn-34-10`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Every node; the first is the input, the last gives the logits.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node called `name`, to tap it.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(NodeId)
    }

    /// The node whose value is the logits `(N, K)`.
    pub fn output(&self) -> NodeId {
        NodeId(self.nodes.len() - 1)
    }

    /// Channels, height and width of an input image.
    pub fn input(&self) -> [usize; 3] {
        match self.nodes[0].shape {
            Shape::Map { channels, height, width } => [channels, height, width],
            Shape::Flat(_) => unreachable!("the builder starts every network with an image"),
        }
    }

    /// The number of classes K.
    pub fn classes(&self) -> usize {
        self.nodes[self.nodes.len() - 1].shape.elements()
    }

    /// Names, shapes and places of the parameters and running statistics.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The mean and standard deviation that the network applies to its input, where it does.
    pub fn normalisation(&self) -> Option<(&[f64], &[f64])> {
        self.nodes.iter().find_map(|node| match &node.op {
            Op::Normalize { mean, std } => Some((mean.as_slice(), std.as_slice())),
            _ => None,
        })
    }

    /// The same network on images that are first normalised: `(x - mean) / std`, a value of each per channel.
    ///
    /// A normalisation that it already begins with is replaced: these are the constants that the network is to have. It
    /// keeps its name and its parameters. Refused where there is not one mean and one positive deviation per channel.
    pub fn normalised(mut self, mean: &[f64], std: &[f64]) -> Result<Self, GraphError> {
        let op = Op::Normalize { mean: mean.into(), std: std.into() };
        let image = NodeId(0);
        let shape = builder::output_shape("normalize", &op, &[self.nodes[0].shape])?;
        let is_first = |node: &Node| matches!(node.op, Op::Normalize { .. }) && node.inputs == [image];
        if self.nodes.get(1).is_some_and(is_first) {
            self.nodes[1].op = op;
            // Engines know a network by its layout: another network has another one.
            self.layout = Arc::new((*self.layout).clone());
            return Ok(self);
        }
        if self.find("normalize").is_some() {
            return Err(GraphError::Name("normalize".into()));
        }
        // Every node moves up by one, so what read the image reads the normalised one.
        for input in self.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
            input.0 += 1;
        }
        self.nodes.insert(1, Node { name: "normalize".into(), op, inputs: vec![image], shape });
        self.layout = Arc::new(Layout::of(&self.nodes));
        Ok(self)
    }

    /// The same network on images as they are: without the normalisation that it begins with, where it begins with one.
    #[must_use]
    pub fn plain(mut self) -> Self {
        let is_first = |node: &Node| matches!(node.op, Op::Normalize { .. }) && node.inputs == [NodeId(0)];
        if self.nodes.get(1).is_some_and(is_first) {
            self.nodes.remove(1);
            for input in self.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
                input.0 = input.0.saturating_sub(1);
            }
            self.layout = Arc::new(Layout::of(&self.nodes));
        }
        self
    }

    /// Whether any node's value for an image depends, under batch statistics, on the other images of the batch.
    pub fn has_batch_norm(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.op, Op::BatchNorm { .. }))
    }
}
