//! Building a network node by node, with every shape checked as it goes.

use std::sync::Arc;

use super::{Conv2d, Layout, Network, Node, NodeId, Op, Pool, Shape};

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum GraphError {
    #[error("node {node}: {op} cannot take {found}; wanted {wanted}")]
    Shape { node: String, op: &'static str, wanted: String, found: String },
    #[error("node {0}: the name is taken by an earlier node")]
    Name(String),
    #[error("architecture {architecture}: the last node gives {found}; wanted a vector of logits")]
    Output { architecture: String, found: String },
}

/// Values in the window of a max pool, at most: which one was largest is kept in 16 bits.
const MAX_POOL_TAPS: usize = 1 << 16;

/// Collects nodes; every method adds one and returns its place.
pub struct Builder {
    nodes: Vec<Node>,
}

impl Builder {
    /// Starts with an input of `[channels, height, width]`.
    pub fn new(input: [usize; 3]) -> (Self, NodeId) {
        let [channels, height, width] = input;
        let shape = Shape::Map { channels, height, width };
        (Self { nodes: vec![Node { name: "input".into(), op: Op::Input, inputs: vec![], shape }] }, NodeId(0))
    }

    /// The shape at a node so far.
    pub fn shape(&self, id: NodeId) -> Shape {
        self.nodes[id.0].shape
    }

    /// Adds any operation.
    pub fn node(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId, GraphError> {
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(GraphError::Name(name.into()));
        }
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.shape(id)).collect();
        let shape = output_shape(name, &op, &shapes)?;
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), shape });
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// Adds a convolution.
    pub fn conv(&mut self, name: &str, conv: Conv2d, input: NodeId) -> Result<NodeId, GraphError> {
        self.node(name, Op::Conv2d(conv), &[input])
    }

    /// Adds batch normalisation with PyTorch's eps 1e-5 and momentum 0.1.
    pub fn batch_norm(&mut self, name: &str, input: NodeId) -> Result<NodeId, GraphError> {
        self.node(name, Op::BatchNorm { eps: 1e-5, momentum: 0.1 }, &[input])
    }

    /// Adds a ReLU named after the node it follows.
    pub fn relu(&mut self, input: NodeId) -> Result<NodeId, GraphError> {
        let name = format!("{}.relu", self.nodes[input.0].name);
        self.node(&name, Op::Relu, &[input])
    }

    /// Adds a sum named after its first term.
    pub fn add(&mut self, a: NodeId, b: NodeId) -> Result<NodeId, GraphError> {
        let name = format!("{}.add", self.nodes[a.0].name);
        self.node(&name, Op::Add, &[a, b])
    }

    /// Adds max pooling named after the node it follows.
    pub fn max_pool(&mut self, kernel: usize, input: NodeId) -> Result<NodeId, GraphError> {
        let name = format!("{}.pool", self.nodes[input.0].name);
        self.node(&name, Op::MaxPool(Pool::new(kernel)), &[input])
    }

    /// Adds a fully connected layer with a bias.
    pub fn linear(&mut self, name: &str, out: usize, input: NodeId) -> Result<NodeId, GraphError> {
        self.node(name, Op::Linear { out, bias: true }, &[input])
    }

    /// Closes the network: its last node gives the logits.
    pub fn finish(self, architecture: &str) -> Result<Network, GraphError> {
        match self.nodes.last().map(|node| node.shape) {
            Some(Shape::Flat(_)) => {
                let layout = Arc::new(Layout::of(&self.nodes));
                Ok(Network { architecture: architecture.into(), nodes: self.nodes, layout })
            }
            found => Err(GraphError::Output {
                architecture: architecture.into(),
                found: found.map_or_else(|| "nothing".into(), |shape| shape.to_string()),
            }),
        }
    }
}

/// The shape that the operation of the node `name` gives.
pub(super) fn output_shape(name: &str, op: &Op, inputs: &[Shape]) -> Result<Shape, GraphError> {
    shape_or_wanted(op, inputs).map_err(|wanted| GraphError::Shape {
        node: name.into(),
        op: op.name(),
        wanted: wanted.into(),
        found: inputs.iter().map(Shape::to_string).collect::<Vec<_>>().join(" and "),
    })
}

/// The shape an operation gives, or what it would have wanted.
fn shape_or_wanted(op: &Op, inputs: &[Shape]) -> Result<Shape, &'static str> {
    use Shape::{Flat, Map};
    match (op, inputs) {
        (Op::Normalize { mean, std }, [Map { channels, .. }]) => {
            let finite = mean.iter().chain(std).all(|v| v.is_finite());
            if mean.len() == *channels && std.len() == *channels && finite && std.iter().all(|&s| s > 0.0) {
                Ok(inputs[0])
            } else {
                Err("one mean and one positive deviation per channel")
            }
        }
        (Op::Standardize, [Map { .. }]) if inputs[0].elements() > 1 => Ok(inputs[0]),
        (Op::Standardize, _) => Err("a map of two values or more"),
        (Op::Conv2d(conv), [Map { channels, height, width }]) => {
            if conv.groups == 0 || channels % conv.groups != 0 || conv.out % conv.groups != 0 || conv.out == 0
            {
                return Err("input and output channels that the groups divide");
            }
            let [height, width] =
                conv.output(*height, *width).ok_or("an image no smaller than the kernel")?;
            Ok(Map { channels: conv.out, height, width })
        }
        (Op::BatchNorm { .. } | Op::MeanSparse | Op::Relu | Op::Relu6 | Op::Elementwise(_), [shape]) => {
            Ok(*shape)
        }
        (Op::Add, [a, b]) if a == b => Ok(*a),
        (Op::Add, _) => Err("two equal shapes"),
        (Op::Mul, [a, b]) if a == b => Ok(*a),
        (Op::Mul, [Map { channels, .. }, Map { channels: gates, height: 1, width: 1 }])
            if channels == gates =>
        {
            Ok(inputs[0])
        }
        (Op::Mul, _) => Err("two equal shapes, or a map and one value per channel"),
        (Op::Concat, [Map { height, width, .. }, ..]) => {
            let mut channels = 0;
            for shape in inputs {
                match shape {
                    Map { channels: c, height: h, width: w } if h == height && w == width => channels += c,
                    _ => return Err("maps of one height and width"),
                }
            }
            Ok(Map { channels, height: *height, width: *width })
        }
        (Op::PadChannels { before, after }, [Map { channels, height, width }]) => {
            Ok(Map { channels: before + channels + after, height: *height, width: *width })
        }
        (Op::MaxPool(pool), [Map { .. }])
            if pool.kernel[0].saturating_mul(pool.kernel[1]) > MAX_POOL_TAPS =>
        {
            Err("a window of at most 65,536 values")
        }
        (Op::MaxPool(pool) | Op::AvgPool(pool), [Map { channels, height, width }]) => {
            let [height, width] =
                pool.output(*height, *width).ok_or("an image no smaller than the window")?;
            Ok(Map { channels: *channels, height, width })
        }
        (Op::GlobalAvgPool, [Map { channels, .. }]) => Ok(Flat(*channels)),
        (Op::Flatten, [shape @ Map { .. }]) => Ok(Flat(shape.elements())),
        (Op::Linear { out, .. }, [Flat(_)]) => Ok(Flat(*out)),
        (Op::Linear { .. }, _) => Err("one vector"),
        (Op::Input, _) => Err("to be the first node"),
        _ => Err("one feature map"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Padding;

    #[test]
    fn shapes_follow_pytorchs_floor_rule() {
        let (mut b, x) = Builder::new([3, 7, 5]);
        let conv = Conv2d {
            padding: Padding { top: 0, bottom: 1, left: 0, right: 1 },
            ..Conv2d::new(6, 3).stride(2)
        };
        let y = b.conv("c", conv, x).unwrap();
        assert_eq!(b.shape(y), Shape::Map { channels: 6, height: 3, width: 2 });
        let z = b.max_pool(2, y).unwrap();
        assert_eq!(b.shape(z), Shape::Map { channels: 6, height: 1, width: 1 });
    }

    #[test]
    fn a_bad_shape_names_the_node_and_both_shapes() {
        let (mut b, x) = Builder::new([3, 8, 8]);
        let y = b.conv("stem", Conv2d::new(4, 3), x).unwrap();
        let error = b.add(x, y).unwrap_err().to_string();
        assert_eq!(error, "node input.add: add cannot take 3x8x8 and 4x6x6; wanted two equal shapes");
        assert!(b.conv("big", Conv2d::new(4, 9), x).is_err());
        assert!(b.conv("groups", Conv2d::new(4, 1).groups(2), x).is_err());
        assert!(b.conv("stem", Conv2d::new(4, 3), x).is_err(), "a name may be used once");
        assert!(b.finish("maps").is_err(), "logits are a vector");
    }

    #[test]
    fn a_normalisation_in_front_takes_the_place_of_one_that_is_there() {
        let plain = || {
            let (mut b, x) = Builder::new([2, 4, 4]);
            let y = b.conv("c", Conv2d::new(2, 3).padding(1), x)?;
            let y = b.add(y, x)?;
            let y = b.node("mean", Op::GlobalAvgPool, &[y])?;
            b.linear("l", 3, y)?;
            b.finish("plain")
        };
        let once = plain().unwrap().normalised(&[0.5, 0.4], &[0.2, 0.1]).unwrap();
        assert_eq!(once.normalisation(), Some((&[0.5, 0.4][..], &[0.2, 0.1][..])));
        let inputs: Vec<Vec<usize>> =
            once.nodes().iter().map(|node| node.inputs.iter().map(|i| i.index()).collect()).collect();
        assert_eq!(inputs, [vec![], vec![0], vec![1], vec![2, 1], vec![3], vec![4]]);
        assert_eq!(once.layout().trainable()[0].node, once.find("c").unwrap());
        let names = |n: &Network| n.layout().trainable().iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&once), names(&plain().unwrap()));

        let bare = once.clone().plain();
        assert_eq!((bare.normalisation(), bare.nodes()), (None, plain().unwrap().nodes()));
        assert_eq!(bare.layout(), plain().unwrap().layout());
        let twice = once.normalised(&[0.1, 0.1], &[1.0, 1.0]).unwrap();
        assert_eq!(twice.nodes().len(), 6);
        assert_eq!(twice.normalisation(), Some((&[0.1, 0.1][..], &[1.0, 1.0][..])));
        for (mean, std) in
            [(&[0.5][..], &[0.2][..]), (&[0.5, 0.5], &[0.2, 0.0]), (&[0.5, f64::NAN], &[1.0; 2])]
        {
            let error = plain().unwrap().normalised(mean, std).unwrap_err().to_string();
            assert!(error.contains("one mean and one positive deviation per channel"), "{error}");
        }
    }

    #[test]
    fn a_max_pool_whose_taps_cannot_be_numbered_is_refused() {
        let (mut b, x) = Builder::new([1, 300, 300]);
        assert!(b.node("most", Op::MaxPool(Pool::new(256)), &[x]).is_ok());
        let error = b.node("more", Op::MaxPool(Pool::new(257)), &[x]).unwrap_err().to_string();
        assert!(error.contains("65,536"), "{error}");
    }
}
