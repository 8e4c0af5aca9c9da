//! Fusing: from a network's nodes to steps that touch memory as rarely as they can.
//!
//! A convolution or a normalisation takes along what follows it alone: BatchNorm under running statistics (folded
//! into weights and bias, unless parameters want gradients), the sum with a value that is there already, and ReLU.

use super::block::padded;
use super::conv::ConvShape;
use super::step::{Activation, Conv, Layer, Moments, Norm as NormStep, Step, Steps, Tail, Value, ValueId};
use crate::engine::{Keep, Norm};
use crate::graph::{Network, NodeId, Op, Pool, Shape};

/// Fuses a network for one mode; `outputs` are the logits and the taps.
pub(crate) fn fuse(network: &Network, norm: Norm, keep: Keep, outputs: &[NodeId]) -> Steps {
    let mut consumers = vec![Vec::new(); network.nodes().len()];
    for (index, node) in network.nodes().iter().enumerate() {
        for input in &node.inputs {
            consumers[input.index()].push(NodeId(index));
        }
    }
    let mut fusing = Fusing {
        network,
        norm,
        keep,
        outputs,
        consumers,
        made: vec![None; network.nodes().len()],
        steps: Steps {
            values: vec![],
            steps: vec![],
            convs: vec![],
            norms: vec![],
            bands: vec![],
            normalise: None,
            outputs: vec![],
        },
    };
    for index in 0..network.nodes().len() {
        if fusing.made[index].is_none() && !fusing.is_absorbed(NodeId(index)) {
            fusing.node(NodeId(index));
        }
    }
    fusing.steps.outputs = outputs.iter().map(|&id| fusing.value_of(id)).collect();
    fusing.steps
}

struct Fusing<'a> {
    network: &'a Network,
    norm: Norm,
    keep: Keep,
    outputs: &'a [NodeId],
    consumers: Vec<Vec<NodeId>>,
    /// The value of each node that has one; a node inside a fused step has none.
    made: Vec<Option<Made>>,
    steps: Steps,
}

#[derive(Clone, Copy)]
enum Made {
    Value(ValueId),
    /// Inside a step that ends with a later node.
    Absorbed,
}

impl Fusing<'_> {
    fn is_absorbed(&self, id: NodeId) -> bool {
        matches!(self.made[id.index()], Some(Made::Absorbed))
    }

    fn known(&self, id: NodeId) -> Option<ValueId> {
        match self.made[id.index()] {
            Some(Made::Value(value)) => Some(value),
            _ => None,
        }
    }

    fn value_of(&self, id: NodeId) -> ValueId {
        self.known(id).expect("nodes come in topological order, and what others read is not absorbed")
    }

    /// The one node that reads `id`, if it is the only one and the caller does not want the value.
    fn sole_reader(&self, id: NodeId) -> Option<NodeId> {
        match self.consumers[id.index()].as_slice() {
            &[only] if !self.outputs.contains(&id) => Some(only),
            _ => None,
        }
    }

    fn op(&self, id: NodeId) -> &Op {
        &self.network.node(id).op
    }

    /// Registers the value of `id`, which ends a step that reads `inputs`.
    fn make(&mut self, id: NodeId, inputs: &[ValueId], params: bool, activation: Activation) -> ValueId {
        let shape = match self.network.node(id).shape {
            Shape::Map { channels, height, width } => [channels, height, width],
            Shape::Flat(features) => [features, 1, 1],
        };
        let needs_gradient = (params && self.keep.params())
            || inputs.iter().any(|&input| self.steps.value(input).needs_gradient);
        self.push(id, Value { shape, pixel: padded(shape[0]), activation, needs_gradient })
    }

    fn push(&mut self, id: NodeId, value: Value) -> ValueId {
        let made = ValueId(self.steps.values.len());
        self.steps.values.push(value);
        self.made[id.index()] = Some(Made::Value(made));
        made
    }

    /// Takes along a sum and an activation that follow `id` alone; gives the node that the step ends with.
    fn tail(&mut self, mut id: NodeId) -> (NodeId, Tail) {
        let mut tail = Tail::default();
        if let Some(next) = self.sole_reader(id)
            && matches!(self.op(next), Op::Add)
            && let Some(other) = self.network.node(next).inputs.iter().find(|&&input| input != id)
            && let Some(residual) = self.known(*other)
        {
            tail.residual = Some(residual);
            self.made[id.index()] = Some(Made::Absorbed);
            id = next;
        }
        if let Some(next) = self.sole_reader(id)
            && let Some(activation) = activation(self.op(next))
        {
            tail.activation = activation;
            self.made[id.index()] = Some(Made::Absorbed);
            id = next;
        }
        (id, tail)
    }

    fn node(&mut self, id: NodeId) {
        let node = self.network.node(id);
        let inputs: Vec<ValueId> = node.inputs.iter().map(|&input| self.value_of(input)).collect();
        match &node.op {
            Op::Input => self.image(id),
            Op::Conv2d(conv) => {
                let value = self.steps.value(inputs[0]);
                let shape = ConvShape::new(conv, value.shape, value.pixel != padded(value.shape[0]));
                self.conv(id, shape, conv.bias, inputs[0]);
            }
            Op::Linear { out, bias } => {
                let features = self.steps.value(inputs[0]).shape[0];
                self.conv(id, ConvShape::linear(features, *out), *bias, inputs[0]);
            }
            Op::BatchNorm { eps, .. } => {
                let moments = if self.norm == Norm::Batch { Moments::Batch } else { Moments::Running };
                self.normalise(id, inputs[0], moments, *eps);
            }
            Op::Normalize { mean, std } => {
                let (scale, shift) = fixed(mean, std);
                self.normalise(id, inputs[0], Moments::Fixed { scale, shift }, 0.0);
            }
            Op::Relu => self.store(id, inputs[0], Tail { residual: None, activation: Activation::Relu }),
            Op::Relu6 => self.store(id, inputs[0], Tail { residual: None, activation: Activation::Relu6 }),
            Op::Add => {
                let tail = Tail { residual: Some(inputs[1]), activation: Activation::None };
                self.store(id, inputs[0], tail);
            }
            Op::Elementwise(function) => self.plain(id, Layer::Elementwise(*function), inputs),
            Op::MeanSparse => {
                self.steps.bands.push(id);
                self.plain(id, Layer::MeanSparse(self.steps.bands.len() - 1), inputs);
            }
            Op::Mul => self.plain(id, Layer::Mul, inputs),
            Op::Concat => self.plain(id, Layer::Concat, inputs),
            Op::PadChannels { before, .. } => {
                self.plain(id, Layer::PadChannels { before: *before }, inputs);
            }
            Op::Standardize => self.plain(id, Layer::Standardize, inputs),
            Op::MaxPool(pool) => self.plain(id, Layer::MaxPool(*pool), inputs),
            Op::AvgPool(pool) => self.plain(id, Layer::AvgPool(*pool), inputs),
            Op::GlobalAvgPool => {
                let [_, height, width] = self.steps.value(inputs[0]).shape;
                let pool = Pool { kernel: [height, width], stride: [1, 1] };
                self.plain(id, Layer::AvgPool(pool), inputs);
            }
            Op::Flatten => self.plain(id, Layer::Flatten, inputs),
        }
    }

    /// A step that takes nothing along.
    fn plain(&mut self, id: NodeId, layer: Layer, inputs: Vec<ValueId>) {
        let out = self.make(id, &inputs, false, Activation::None);
        self.steps.steps.push(Step { layer, inputs, out, tail: Tail::default() });
    }

    /// A step that is nothing but its tail.
    fn store(&mut self, id: NodeId, input: ValueId, tail: Tail) {
        self.step(id, Layer::Store, input, false, tail);
    }

    /// A step of one input that ends with the node `end`.
    fn step(&mut self, end: NodeId, layer: Layer, input: ValueId, params: bool, tail: Tail) {
        let reads: Vec<ValueId> = std::iter::once(input).chain(tail.residual).collect();
        let out = self.make(end, &reads, params, tail.activation);
        self.steps.steps.push(Step { layer, inputs: vec![input], out, tail });
    }

    fn image(&mut self, id: NodeId) {
        let [channels, height, width] = self.network.input();
        let mut end = id;
        if let Some(next) = self.sole_reader(id)
            && let Op::Normalize { mean, std } = self.op(next)
        {
            self.steps.normalise = Some([mean, std].map(|of| of.iter().map(|&v| v as f32).collect()));
            self.made[id.index()] = Some(Made::Absorbed);
            end = next;
        }
        // Dense channels save the first convolution most of its products with zeros; others want whole blocks.
        let convolved = |reader: &NodeId| matches!(self.op(*reader), Op::Conv2d(conv) if conv.groups == 1);
        let dense = self.consumers[end.index()].iter().all(convolved) && !self.outputs.contains(&end);
        let value = Value {
            shape: [channels, height, width],
            pixel: if dense { channels } else { padded(channels) },
            activation: Activation::None,
            needs_gradient: self.keep.image(),
        };
        let out = self.push(end, value);
        self.steps.steps.push(Step { layer: Layer::Image, inputs: vec![], out, tail: Tail::default() });
    }

    fn conv(&mut self, id: NodeId, shape: ConvShape, bias: bool, input: ValueId) {
        let mut end = id;
        let mut fold = None;
        if self.norm == Norm::Running
            && !self.keep.params()
            && let Some(next) = self.sole_reader(id)
            && let Op::BatchNorm { eps, .. } = *self.op(next)
        {
            fold = Some((next, eps));
            self.made[id.index()] = Some(Made::Absorbed);
            end = next;
        }
        let (end, tail) = self.tail(end);
        self.steps.convs.push(Conv { node: id, shape, bias, fold });
        self.step(end, Layer::Conv(self.steps.convs.len() - 1), input, true, tail);
    }

    fn normalise(&mut self, id: NodeId, input: ValueId, moments: Moments, eps: f64) {
        let Value { shape, pixel, .. } = *self.steps.value(input);
        let (end, tail) = self.tail(id);
        let params = !matches!(moments, Moments::Fixed { .. });
        let positions = shape[1] * shape[2];
        self.steps.norms.push(NormStep { node: id, eps, channels: shape[0], pixel, positions, moments });
        self.step(end, Layer::Norm(self.steps.norms.len() - 1), input, params, tail);
    }
}

fn activation(op: &Op) -> Option<Activation> {
    match op {
        Op::Relu => Some(Activation::Relu),
        Op::Relu6 => Some(Activation::Relu6),
        _ => None,
    }
}

/// `(x - mean) / std` as `x * scale + shift`.
fn fixed(mean: &[f64], std: &[f64]) -> (Vec<f32>, Vec<f32>) {
    let scale = std.iter().map(|std| (1.0 / std) as f32).collect();
    let shift = mean.iter().zip(std).map(|(mean, std)| (-mean / std) as f32).collect();
    (scale, shift)
}
