//! From a model's graph to a network, node by node.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use engine::Network;
use engine::graph::{Builder, NodeId, Op, Shape};
use weights::onnx::{Image, Model, Node};
use weights::{StateDict, TensorData};

use super::attributes::Attributes;
use super::entry::Entry;
use super::error::{OnnxError, PYTORCH};
use super::outline::{images_of, needed, operators};
use super::value::Value;
use super::whole::Whole;
use crate::architecture::Task;
use crate::blueprint;

/// A graph that is being read.
pub(super) struct Translation<'m> {
    pub(super) model: &'m Model,
    pub(super) opset: i64,
    pub(super) builder: Builder,
    image: NodeId,
    /// What each name stands for; constants of the file are looked up behind it.
    values: HashMap<&'m str, Value<'m>>,
    /// How many nodes read a name.
    readers: HashMap<&'m str, Vec<&'m Node>>,
    /// Names of nodes that are taken.
    taken: HashSet<String>,
    /// The number of images that the file was exported for, where it is fixed.
    pub(super) batch: Option<i64>,
    /// Parameters under the names of the network's layout.
    pub(super) state: StateDict,
    /// Names whose node is done already: what an earlier node took along.
    pub(super) done: HashSet<&'m str>,
}

/// The network of a model for these images and classes, and its values.
pub(super) fn translate(model: &Model, task: Task) -> Result<(Network, StateDict), OnnxError> {
    let opset = model.opset().filter(|opset| (7..=OPSET).contains(opset)).ok_or_else(|| {
        OnnxError::graph(
            format!("operators of ONNX's sets 7 to {OPSET} run here; the model uses {}", operators(model)),
            "export it with opset_version=17",
        )
    })?;
    if model.nodes.len() > blueprint::NODES {
        return Err(OnnxError::graph(
            format!("it has {} nodes; graphs of {} at most are read", model.nodes.len(), blueprint::NODES),
            PYTORCH,
        ));
    }
    if let Some(name) = model.functions.first() {
        let what = format!("it defines functions of its own, such as {name}");
        return Err(OnnxError::graph(what, "export it with inlined functions: onnx.inliner in Python"));
    }
    let fed: Vec<&Image> =
        model.inputs.iter().filter(|input| !model.tensors.contains_key(&input.name)).collect();
    let ([images], [logits]) = (&fed[..], &model.outputs[..]) else {
        let names = |values: &[&Image]| values.iter().map(|v| v.name.clone()).collect::<Vec<_>>().join(", ");
        return Err(OnnxError::graph(
            format!(
                "it takes {} and gives {}; wanted one tensor of images and one of logits",
                names(&fed),
                names(&model.outputs.iter().collect::<Vec<_>>())
            ),
            "export the classifier alone",
        ));
    };
    let (batch, task_of_file) = images_of(images, task)?;
    if task_of_file.input != task.input {
        return Err(OnnxError::Task { found: task_of_file, wanted: task });
    }
    let (builder, image) = Builder::new(task.input);
    let mut readers: HashMap<&str, Vec<&Node>> = HashMap::new();
    let needed = needed(model, &logits.name);
    for (node, _) in model.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
        for input in node.inputs.iter().filter(|name| !name.is_empty()) {
            readers.entry(input).or_default().push(node);
        }
    }
    let mut translation = Translation {
        model,
        opset,
        builder,
        image,
        values: [(images.name.as_str(), Value::Images(Entry::new(task.input[0])))].into(),
        readers,
        taken: HashSet::new(),
        batch,
        state: StateDict::default(),
        done: HashSet::new(),
    };
    for (node, _) in model.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
        translation.node(node)?;
    }
    translation.finish(logits, task)
}

/// Signs of a node's name, at most, before the number that tells it from others.
const MOST_OF_A_NAME: usize = 256;

/// The newest set of operators whose meanings are those below.
const OPSET: i64 = 25;

impl<'m> Translation<'m> {
    /// Reads one node, whose inputs were read before.
    fn node(&mut self, node: &'m Node) -> Result<(), OnnxError> {
        let at = Attributes { node, opset: self.opset };
        let Some(output) = node.outputs.first().map(String::as_str) else {
            return Err(at.refuse("it gives nothing", "export the model again"));
        };
        if self.done.contains(output) {
            return Ok(());
        }
        if let Some(more) = node.outputs[1..].iter().find(|name| self.readers.contains_key(name.as_str())) {
            return Err(at.refuse(format!("its further output {more} is read"), PYTORCH));
        }
        let value = if node.is_own() { self.own(at)? } else { None };
        let value = value.ok_or_else(|| at.refuse("no such operator runs here", hint_of(&node.operator)))?;
        if self.values.insert(output, value).is_some() {
            return Err(at.refuse(format!("a second value called {output}"), "export the model again"));
        }
        Ok(())
    }

    /// What one of ONNX's own operators gives; none of an operator that is not known.
    fn own(&mut self, at: Attributes<'m>) -> Result<Option<Value<'m>>, OnnxError> {
        Ok(Some(match at.node.operator.as_str() {
            "Conv" => self.convolution(at)?,
            "BatchNormalization" => self.batch_norm(at)?,
            "Gemm" => self.gemm(at)?,
            "MatMul" => self.product(at)?,
            "Relu" => self.single(at, &Op::Relu)?,
            "Clip" => self.clip(at)?,
            "Sigmoid" => match self.value(at, 0)? {
                Value::Whole(_) | Value::Tensor(_) => return Ok(None),
                _ => Value::Sigmoid(self.input(at, 0)?),
            },
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(at)?,
            "MaxPool" => self.max_pool(at)?,
            "AveragePool" => self.average_pool(at)?,
            "GlobalAveragePool" => Value::Mean(self.map(at)?),
            "ReduceMean" => self.mean(at)?,
            "Pad" => self.pad(at)?,
            "Flatten" => self.flatten(at)?,
            "Reshape" => self.reshape(at)?,
            "Squeeze" | "Unsqueeze" => self.squeeze(at)?,
            "Concat" => self.concat(at)?,
            "Constant" => constant(at)?,
            "Identity" => self.value(at, 0)?,
            "Dropout" => self.dropout(at)?,
            "Cast" => self.cast(at)?,
            "Shape" => self.shape(at)?,
            "ConstantOfShape" | "Gather" | "Slice" | "Transpose" => self.rearranged(at)?,
            _ => return Ok(None),
        }))
    }

    /// What the input at this place stands for.
    pub(super) fn value(&self, at: Attributes<'m>, place: usize) -> Result<Value<'m>, OnnxError> {
        let name = at.node.inputs.get(place).map_or("", String::as_str);
        if name.is_empty() {
            return Err(at.refuse(format!("its input {place} is missing"), "export the model again"));
        }
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        match self.model.tensors.get(name) {
            Some(tensor) => Ok(Value::Tensor(Cow::Borrowed(tensor))),
            None => {
                Err(at.refuse(format!("its input `{name}` comes from nowhere"), "export the model again"))
            }
        }
    }

    /// Whether there is an input at this place: an optional one may be left out.
    pub(super) fn has(at: Attributes, place: usize) -> bool {
        at.node.inputs.get(place).is_some_and(|name| !name.is_empty())
    }

    /// The constant at this place.
    pub(super) fn constant(
        &self,
        at: Attributes<'m>,
        place: usize,
    ) -> Result<Cow<'m, TensorData>, OnnxError> {
        match self.value(at, place)? {
            Value::Tensor(tensor) if tensor.dtype().is_float() => Ok(tensor),
            _ => Err(at.refuse(
                format!("its input {} is no constant of the file", at.node.inputs[place]),
                "export the model in evaluation mode, with its weights in it and not quantised",
            )),
        }
    }

    /// The whole numbers at this place.
    pub(super) fn whole(&self, at: Attributes<'m>, place: usize) -> Result<Whole, OnnxError> {
        let whole = match self.value(at, place)? {
            Value::Whole(whole) => Some(whole),
            Value::Tensor(tensor) => Whole::of(&tensor),
            _ => None,
        };
        whole.ok_or_else(|| {
            at.refuse(format!("its input {} is no small list of numbers", at.node.inputs[place]), PYTORCH)
        })
    }

    /// The node at this place, made if it only has a name yet.
    pub(super) fn input(&mut self, at: Attributes<'m>, place: usize) -> Result<NodeId, OnnxError> {
        let value = self.value(at, place)?;
        let id = match value {
            Value::Node(id) => return Ok(id),
            Value::Images(entry) => match entry.op() {
                None => return Ok(self.image),
                Some(op) => self.add_named(at, "normalize", &op, &[self.image])?,
            },
            Value::Mean(map) => {
                let Shape::Map { height, width, .. } = self.builder.shape(map) else {
                    unreachable!("means are of maps")
                };
                let pool = engine::graph::Pool { kernel: [height, width], stride: [1, 1] };
                self.add(at, &Op::AvgPool(pool), &[map])?
            }
            Value::Sigmoid(of) => {
                self.add(at, &Op::Elementwise(engine::graph::Elementwise::Sigmoid), &[of])?
            }
            Value::Padded(..) => {
                return Err(at.refuse("zeros around a map run here before a convolution alone", PYTORCH));
            }
            Value::Tensor(_) | Value::Whole(_) => {
                let name = &at.node.inputs[place];
                return Err(at.refuse(format!("its input {name} is a constant"), PYTORCH));
            }
        };
        // Whoever reads the name again finds the node.
        self.values.insert(&at.node.inputs[place], Value::Node(id));
        Ok(id)
    }

    /// The first input, which must be a map.
    pub(super) fn map(&mut self, at: Attributes<'m>) -> Result<NodeId, OnnxError> {
        let id = self.input(at, 0)?;
        match self.builder.shape(id) {
            Shape::Map { .. } => Ok(id),
            Shape::Flat(_) => Err(at.refuse("a vector where a map (N, C, H, W) was wanted", PYTORCH)),
        }
    }

    /// An operation of one input.
    fn single(&mut self, at: Attributes<'m>, op: &Op) -> Result<Value<'m>, OnnxError> {
        let input = self.input(at, 0)?;
        Ok(Value::Node(self.add(at, op, &[input])?))
    }

    /// Adds an operation without parameters, named after the model's node.
    pub(super) fn add(&mut self, at: Attributes, op: &Op, inputs: &[NodeId]) -> Result<NodeId, OnnxError> {
        let name = if at.node.name.is_empty() { &at.node.outputs[0] } else { &at.node.name };
        self.add_named(at, name, op, inputs)
    }

    /// Adds an operation; the name is made one of PyTorch's kind, and another if it is taken.
    pub(super) fn add_named(
        &mut self,
        at: Attributes,
        name: &str,
        op: &Op,
        inputs: &[NodeId],
    ) -> Result<NodeId, OnnxError> {
        let name = self.free(name);
        let added = blueprint::add(&mut self.builder, &name, op, inputs);
        added.map_err(|what| at.refuse(what, PYTORCH))
    }

    /// A name of a node that no other node has.
    pub(super) fn free(&mut self, name: &str) -> String {
        // Exporters write paths, and quotes and colons where they please.
        let part = |part: &str| -> String {
            part.chars().map(|sign| if blueprint::is_of_name(sign) { sign } else { '_' }).collect()
        };
        let parts = name.split(['/', '.']).filter(|part| !part.is_empty()).map(part);
        let plain: String = parts.collect::<Vec<_>>().join(".").chars().take(MOST_OF_A_NAME).collect();
        let plain = plain.trim_matches('.').to_owned();
        let plain = if plain.is_empty() { "node".to_owned() } else { plain };
        let names = (2..).map(|number| format!("{plain}_{number}"));
        let free = std::iter::once(plain.clone()).chain(names).find(|name| {
            // The image's own.
            name != "input" && !self.taken.contains(name)
        });
        let free = free.expect("there is always another number");
        self.taken.insert(free.clone());
        free
    }

    /// Frees a name that was only asked for.
    pub(super) fn give_back(&mut self, name: &str) {
        self.taken.remove(name);
    }

    /// The node that reads this name, where there is no other.
    pub(super) fn sole_reader(&self, name: &str) -> Option<&'m Node> {
        let is_output = self.model.outputs.iter().any(|output| output.name == name);
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[only]) if !is_output => Some(only),
            _ => None,
        }
    }

    /// Says what a later node gives, which this one takes along.
    pub(super) fn take_along(&mut self, node: &'m Node, value: Value<'m>) {
        let output = node.outputs[0].as_str();
        self.values.insert(output, value);
        self.done.insert(output);
    }

    fn finish(mut self, logits: &'m Image, task: Task) -> Result<(Network, StateDict), OnnxError> {
        let none = || {
            let what = format!("its output {} is no vector of logits", logits.name);
            OnnxError::graph(what, "export the classifier alone, up to its logits")
        };
        let last = match self.values.get(logits.name.as_str()) {
            Some(&Value::Node(id)) => id,
            Some(&Value::Mean(map)) => {
                let name = self.free("logits");
                blueprint::add(&mut self.builder, &name, &Op::GlobalAvgPool, &[map]).map_err(|_| none())?
            }
            _ => return Err(none()),
        };
        let Shape::Flat(classes) = self.builder.shape(last) else { return Err(none()) };
        if classes != task.classes {
            return Err(OnnxError::Task { found: Task { classes, ..task }, wanted: task });
        }
        let network =
            self.builder.finish("onnx").map_err(|error| OnnxError::graph(error.to_string(), PYTORCH))?;
        if network.output() != last {
            return Err(none());
        }
        Ok((network, self.state))
    }
}

/// What `Constant` holds.
fn constant(at: Attributes<'_>) -> Result<Value<'_>, OnnxError> {
    if let Some(tensor) = at.tensor("value") {
        return Ok(Value::Tensor(Cow::Borrowed(tensor)));
    }
    if let Some(values) = at.ints("value_ints")? {
        return Ok(Value::Whole(Whole::list(values.iter().copied().map(Some).collect())));
    }
    if at.node.attributes.contains_key("value_int") {
        let number = Whole::list(vec![Some(at.int("value_int", 0)?)]);
        return number.flat(false).map(Value::Whole).map_err(|what| at.refuse(what, PYTORCH));
    }
    if at.node.attributes.contains_key("value_float") {
        let bytes = at.float("value_float", 0.0)?.to_le_bytes().to_vec();
        let tensor = TensorData::new(weights::Dtype::F32, vec![], bytes).expect("one float");
        return Ok(Value::Tensor(Cow::Owned(tensor)));
    }
    Err(at.refuse("a constant of a kind that no classifier has", PYTORCH))
}

/// What to do about an operator that is not known.
fn hint_of(operator: &str) -> &'static str {
    match operator {
        "Softmax" | "LogSoftmax" | "ArgMax" => {
            "export the network up to its logits: robustness is measured, and students learn, from them"
        }
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" => {
            "pass the model as it was before it was quantised"
        }
        _ => PYTORCH,
    }
}
