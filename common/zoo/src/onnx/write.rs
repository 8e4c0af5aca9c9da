//! A network as an ONNX model: operators of set 17, which every runtime since 2022 knows.
//!
//! BatchNorm stays a node: runtimes fold it themselves, and a model that is read again can be trained.

use std::collections::BTreeMap;

use engine::graph::{Conv2d, Elementwise, Op, Padding, Pool, Shape};
use engine::params::{Arena, Role};
use engine::{Network, NodeId, Params};
use weights::onnx::{Attribute, Dimension, Image, Model, Node, Operators};
use weights::{Dtype, TensorData};

/// The set of operators.
const OPSET: i64 = 17;
/// The version of the format that belongs to it.
const IR: i64 = 8;
/// What goes in and comes out.
pub(super) const IMAGES: &str = "images";
pub(super) const LOGITS: &str = "logits";

/// The model of a network with its values in f32: `images` `(N, C, H, W)`, pixels in [0, 1], to `logits` `(N, K)`, for
/// any N. What the network normalises with is part of it; `notes` are its metadata.
pub fn model_of(network: &Network, params: &Params, notes: BTreeMap<String, String>) -> Model {
    let [channels, height, width] = network.input().map(|size| Dimension::Known(size as i64));
    let images = || Dimension::Any("N".into());
    let float = |name: &str, shape| Image { name: name.into(), element: 1, shape: Some(shape) };
    let mut writing = Writing { network, params, model: Model::default() };
    for index in 1..network.nodes().len() {
        writing.node(index);
    }
    Model {
        ir_version: IR,
        producer: "rslad".into(),
        operators: vec![Operators { domain: String::new(), version: OPSET }],
        metadata: notes,
        name: network.architecture().into(),
        inputs: vec![float(IMAGES, vec![images(), channels, height, width])],
        outputs: vec![float(LOGITS, vec![images(), Dimension::Known(network.classes() as i64)])],
        ..writing.model
    }
}

/// A tensor of f32.
pub(super) fn floats(shape: Vec<usize>, values: &[f32]) -> TensorData {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorData::new(Dtype::F32, shape, bytes).expect("as many values as the shape has")
}

/// A list of whole numbers.
fn wholes(values: &[usize]) -> TensorData {
    let bytes = values.iter().flat_map(|&value| (value as i64).to_le_bytes()).collect();
    TensorData::new(Dtype::I64, vec![values.len()], bytes).expect("as many values as the shape has")
}

struct Writing<'a> {
    network: &'a Network,
    params: &'a Params,
    model: Model,
}

/// An attribute of whole numbers.
fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}

impl Writing<'_> {
    /// The name of what a node gives. Nodes that hold parameters have PyTorch's names, so that theirs end otherwise.
    fn value(&self, id: NodeId) -> String {
        if id == self.network.output() {
            LOGITS.into()
        } else if id.index() == 0 {
            IMAGES.into()
        } else {
            format!("{}:value", self.network.node(id).name)
        }
    }

    /// Keeps a constant of the node and gives its name.
    fn constant(&mut self, node: &str, role: &str, tensor: TensorData) -> String {
        let name = format!("{node}.{role}");
        self.model.tensors.insert(name.clone(), tensor);
        name
    }

    /// Keeps a parameter of the node and gives its name.
    fn parameter(&mut self, id: NodeId, role: Role) -> String {
        let entry = self.params.layout().find(id, role).expect("the layout lists every parameter");
        let arena: &Arena =
            if role.is_learned() { self.params.trainable() } else { self.params.statistics() };
        let values: Vec<f32> = entry.range.clone().map(|place| arena.get(place) as f32).collect();
        self.model.tensors.insert(entry.name.clone(), floats(entry.shape.clone(), &values));
        entry.name.clone()
    }

    fn values(&self, id: NodeId, role: Role) -> Vec<f32> {
        let entry = self.params.layout().find(id, role).expect("the layout lists every parameter");
        entry.range.clone().map(|place| self.params.statistics().get(place) as f32).collect()
    }

    /// Adds an operator.
    fn push(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[String],
        output: &str,
        settings: &[(&str, Attribute)],
    ) {
        self.model.nodes.push(Node {
            name: name.into(),
            operator: operator.into(),
            inputs: inputs.to_vec(),
            outputs: vec![output.into()],
            attributes: settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            ..Node::default()
        });
    }

    /// Adds an operator on the way to a node's value, and gives the name of what it gives.
    fn step(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[String],
        settings: &[(&str, Attribute)],
    ) -> String {
        let own = format!("{name}:{}", operator.to_lowercase());
        let taken = self.model.nodes.iter().filter(|node| node.name.starts_with(&own)).count();
        let own = if taken == 0 { own } else { format!("{own}{}", taken + 1) };
        self.push(&own, operator, inputs, &own, settings);
        own
    }

    fn node(&mut self, index: usize) {
        let node = self.network.nodes()[index].clone();
        let id = self.network.find(&node.name).expect("it is one of the network's");
        let (name, output) = (node.name.as_str(), self.value(id));
        let inputs: Vec<String> = node.inputs.iter().map(|&input| self.value(input)).collect();
        let with = |more: &[String]| [&inputs[..], more].concat();
        let shape = self.network.node(node.inputs[0]).shape;
        match &node.op {
            Op::Input => {}
            Op::Normalize { mean, std } => {
                let f32s = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
                let sizes = vec![1, mean.len(), 1, 1];
                let mean = self.constant(name, "mean", floats(sizes.clone(), &f32s(mean)));
                let std = self.constant(name, "std", floats(sizes, &f32s(std)));
                let centred = self.step(name, "Sub", &with(&[mean]), &[]);
                self.push(name, "Div", &[centred, std], &output, &[]);
            }
            Op::Standardize => self.standardise(name, &inputs[0], shape, &output),
            Op::Conv2d(conv) => self.convolution(id, *conv, inputs, &output),
            &Op::BatchNorm { eps, momentum } => {
                let roles = [Role::Weight, Role::Bias, Role::RunningMean, Role::RunningVar];
                let parameters = roles.map(|role| self.parameter(id, role));
                let settings = [
                    ("epsilon", Attribute::Float(eps as f32)),
                    ("momentum", Attribute::Float((1.0 - momentum) as f32)),
                ];
                self.push(name, "BatchNormalization", &with(&parameters), &output, &settings);
            }
            Op::MeanSparse => {
                let mean = self.values(id, Role::RunningMean);
                let threshold = self.values(id, Role::Threshold)[0];
                let variance = self.values(id, Role::RunningVar);
                let band: Vec<f32> = variance.iter().map(|variance| variance.sqrt() * threshold).collect();
                let sizes = vec![1, mean.len(), 1, 1];
                let mean = self.constant(name, "mean", floats(sizes.clone(), &mean));
                let band = self.constant(name, "band", floats(sizes, &band));
                let centred = self.step(name, "Sub", &with(std::slice::from_ref(&mean)), &[]);
                let distance = self.step(name, "Abs", &[centred], &[]);
                let is_near = self.step(name, "Less", &[distance, band], &[]);
                self.push(name, "Where", &[is_near, mean, inputs[0].clone()], &output, &[]);
            }
            Op::Relu => self.push(name, "Relu", &inputs, &output, &[]),
            Op::Relu6 => {
                let low = self.constant(name, "low", floats(vec![], &[0.0]));
                let high = self.constant(name, "high", floats(vec![], &[6.0]));
                self.push(name, "Clip", &with(&[low, high]), &output, &[]);
            }
            Op::Elementwise(Elementwise::Sigmoid) => self.push(name, "Sigmoid", &inputs, &output, &[]),
            Op::Elementwise(Elementwise::Silu) => {
                let gate = self.step(name, "Sigmoid", &inputs, &[]);
                self.push(name, "Mul", &with(&[gate]), &output, &[]);
            }
            Op::Add => self.push(name, "Add", &inputs, &output, &[]),
            Op::Mul => self.push(name, "Mul", &inputs, &output, &[]),
            Op::Concat => self.push(name, "Concat", &inputs, &output, &[("axis", Attribute::Int(1))]),
            &Op::PadChannels { before, after } => {
                let pads = self.constant(name, "pads", wholes(&[0, before, 0, 0, 0, after, 0, 0]));
                self.push(name, "Pad", &with(&[pads]), &output, &[]);
            }
            Op::MaxPool(pool) => self.push(name, "MaxPool", &inputs, &output, &windows(*pool)),
            Op::AvgPool(pool) => self.push(name, "AveragePool", &inputs, &output, &windows(*pool)),
            Op::GlobalAvgPool => {
                let mean = self.step(name, "GlobalAveragePool", &inputs, &[]);
                self.push(name, "Flatten", &[mean], &output, &[]);
            }
            Op::Flatten => self.push(name, "Flatten", &inputs, &output, &[]),
            &Op::Linear { bias, .. } => {
                let mut all = with(&[self.parameter(id, Role::Weight)]);
                if bias {
                    all.push(self.parameter(id, Role::Bias));
                }
                self.push(name, "Gemm", &all, &output, &[("transB", Attribute::Int(1))]);
            }
        }
    }

    fn convolution(&mut self, id: NodeId, conv: Conv2d, mut inputs: Vec<String>, output: &str) {
        inputs.push(self.parameter(id, Role::Weight));
        if conv.bias {
            inputs.push(self.parameter(id, Role::Bias));
        }
        let Padding { top, bottom, left, right } = conv.padding;
        let settings = [
            ("kernel_shape", ints(&conv.kernel)),
            ("strides", ints(&conv.stride)),
            ("pads", ints(&[top, left, bottom, right])),
            ("group", Attribute::Int(conv.groups as i64)),
        ];
        let name = self.network.node(id).name.clone();
        self.push(&name, "Conv", &inputs, output, &settings);
    }

    /// Each image less its mean, over its deviation, which is that of a sample, and no less than 1 / sqrt(n).
    fn standardise(&mut self, name: &str, images: &str, shape: Shape, output: &str) {
        let count = shape.elements() as f32;
        let axes = [("axes", ints(&[1, 2, 3]))];
        let mean = self.step(name, "ReduceMean", &[images.into()], &axes);
        let centred = self.step(name, "Sub", &[images.into(), mean], &[]);
        let square = self.step(name, "Mul", &[centred.clone(), centred.clone()], &[]);
        let variance = self.step(name, "ReduceMean", &[square], &axes);
        let share = self.constant(name, "share", floats(vec![], &[count / (count - 1.0)]));
        let variance = self.step(name, "Mul", &[variance, share], &[]);
        let deviation = self.step(name, "Sqrt", &[variance], &[]);
        let least = self.constant(name, "least", floats(vec![], &[1.0 / count.sqrt()]));
        let deviation = self.step(name, "Max", &[deviation, least], &[]);
        self.push(name, "Div", &[centred, deviation], output, &[]);
    }
}

fn windows(pool: Pool) -> [(&'static str, Attribute); 2] {
    [("kernel_shape", ints(&pool.kernel)), ("strides", ints(&pool.stride))]
}
