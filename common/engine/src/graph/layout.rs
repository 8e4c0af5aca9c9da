//! Where each named parameter and statistic lies in the arenas.

use std::collections::HashMap;
use std::ops::Range;

use super::{Node, NodeId, Op, Shape};

/// What an entry is to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `NAME.weight`.
    Weight,
    /// `NAME.bias`.
    Bias,
    /// `NAME.running_mean`.
    RunningMean,
    /// `NAME.running_var`.
    RunningVar,
    /// `NAME.threshold`, one number: how many deviations a mean-sparse layer takes for none.
    Threshold,
    /// `NAME.flag_update_statistics`, one number that a mean-sparse layer carries and no forward reads.
    UpdateFlag,
    /// `NAME.batch_num`, likewise.
    BatchNumber,
}

impl Role {
    /// Whether it is learned; the others are statistics.
    pub const fn is_learned(self) -> bool {
        matches!(self, Self::Weight | Self::Bias)
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
            Self::Threshold => "threshold",
            Self::UpdateFlag => "flag_update_statistics",
            Self::BatchNumber => "batch_num",
        }
    }
}

/// One named tensor inside an arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name in a PyTorch state dict.
    pub name: String,
    /// The node it belongs to.
    pub node: NodeId,
    /// Weight, bias, mean or variance.
    pub role: Role,
    /// PyTorch's shape; values lie row-major.
    pub shape: Vec<usize>,
    /// Where it lies in its arena.
    pub range: Range<usize>,
    /// Inputs that feed one output value of the node: the fan-in of PyTorch's initialisers. 0 for BatchNorm.
    pub fan_in: usize,
}

/// The entries of a network, in the order in which PyTorch would register them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    trainable: Vec<Entry>,
    statistics: Vec<Entry>,
    counters: Vec<String>,
    by_place: HashMap<(NodeId, Role), (bool, usize)>,
}

impl Layout {
    /// The layout of nodes in topological order.
    pub(crate) fn of(nodes: &[Node]) -> Self {
        let mut layout = Self::default();
        for (index, node) in nodes.iter().enumerate() {
            let id = NodeId(index);
            let input = node.inputs.first().map(|input| nodes[input.0].shape);
            match (&node.op, input) {
                (Op::Conv2d(conv), Some(input)) => {
                    let [kh, kw] = conv.kernel;
                    let shape = vec![conv.out, input.channels() / conv.groups, kh, kw];
                    layout.affine(node, id, shape, conv.bias);
                }
                (Op::Linear { out, bias }, Some(input)) => {
                    layout.affine(node, id, vec![*out, input.elements()], *bias);
                }
                (Op::BatchNorm { .. }, Some(input)) => layout.batch_norm(node, id, input),
                (Op::MeanSparse, Some(input)) => layout.mean_sparse(node, id, input),
                _ => {}
            }
        }
        layout
    }

    fn affine(&mut self, node: &Node, id: NodeId, shape: Vec<usize>, bias: bool) {
        let fan_in = shape[1..].iter().product();
        let out = shape[0];
        self.push(true, node, id, Role::Weight, shape, fan_in);
        if bias {
            self.push(true, node, id, Role::Bias, vec![out], fan_in);
        }
    }

    fn batch_norm(&mut self, node: &Node, id: NodeId, input: Shape) {
        let shape = vec![input.channels()];
        self.push(true, node, id, Role::Weight, shape.clone(), 0);
        self.push(true, node, id, Role::Bias, shape.clone(), 0);
        self.push(false, node, id, Role::RunningMean, shape.clone(), 0);
        self.push(false, node, id, Role::RunningVar, shape, 0);
        self.counters.push(format!("{}.num_batches_tracked", node.name));
    }

    fn mean_sparse(&mut self, node: &Node, id: NodeId, input: Shape) {
        for role in [Role::RunningMean, Role::RunningVar] {
            self.push(false, node, id, role, vec![input.channels()], 0);
        }
        for role in [Role::Threshold, Role::UpdateFlag, Role::BatchNumber] {
            self.push(false, node, id, role, vec![], 0);
        }
    }

    fn push(
        &mut self,
        trainable: bool,
        node: &Node,
        id: NodeId,
        role: Role,
        shape: Vec<usize>,
        fan_in: usize,
    ) {
        let entries = if trainable { &mut self.trainable } else { &mut self.statistics };
        let start = entries.last().map_or(0, |entry| entry.range.end);
        let range = start..start + shape.iter().product::<usize>();
        self.by_place.insert((id, role), (trainable, entries.len()));
        entries.push(Entry {
            name: format!("{}.{}", node.name, role.suffix()),
            node: id,
            role,
            shape,
            range,
            fan_in,
        });
    }

    /// Weights and biases.
    pub fn trainable(&self) -> &[Entry] {
        &self.trainable
    }

    /// Running means and variances.
    pub fn statistics(&self) -> &[Entry] {
        &self.statistics
    }

    /// The names of the `num_batches_tracked` counters, one per BatchNorm.
    pub fn counters(&self) -> &[String] {
        &self.counters
    }

    /// How many trainable values.
    pub fn trainable_len(&self) -> usize {
        self.trainable.last().map_or(0, |entry| entry.range.end)
    }

    /// How many running values.
    pub fn statistics_len(&self) -> usize {
        self.statistics.last().map_or(0, |entry| entry.range.end)
    }

    /// The place among [`trainable`](Self::trainable) of what a node learns in a role, where it does.
    pub(crate) fn place(&self, node: NodeId, role: Role) -> Option<usize> {
        self.by_place.get(&(node, role)).and_then(|&(trainable, place)| trainable.then_some(place))
    }

    /// The entry of a node in a role, where it has one.
    pub fn find(&self, node: NodeId, role: Role) -> Option<&Entry> {
        let &(trainable, index) = self.by_place.get(&(node, role))?;
        Some(if trainable { &self.trainable[index] } else { &self.statistics[index] })
    }
}
