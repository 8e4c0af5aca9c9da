//! Eight-bit models: weights in 127 steps to each side for each output channel, what a layer reads in 256 steps between
//! the least and the largest value that calibration saw.
//!
//! They are written as quantising and dequantising nodes (QDQ) around convolutions and layers, which runtimes turn into
//! integer arithmetic where they have it. Everything else stays f32. Source of the scheme: Jacob et al., arXiv:1712.05877.

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::{Result, Tensor};
use weights::onnx::{Attribute, Model, Node};
use weights::{Dtype, TensorData};

use super::evaluate::evaluate;
use super::write::floats;

/// The least and the largest value of what each layer reads.
pub type Ranges = BTreeMap<String, [f32; 2]>;

/// Whether an operator multiplies by weights: these are quantised.
fn has_weights(node: &Node) -> bool {
    matches!(node.operator.as_str(), "Conv" | "Gemm")
}

/// The model with each BatchNorm that alone reads a convolution made part of it, so that eight bits hold the product.
pub fn folded(model: &Model) -> Model {
    let mut model = model.clone();
    let mut reads: HashMap<String, usize> = HashMap::new();
    for input in model.nodes.iter().flat_map(|node| &node.inputs) {
        *reads.entry(input.clone()).or_default() += 1;
    }
    let mut kept: Vec<Node> = Vec::with_capacity(model.nodes.len());
    for node in std::mem::take(&mut model.nodes) {
        let conv = kept.iter_mut().rfind(|conv| conv.operator == "Conv" && conv.outputs[0] == node.inputs[0]);
        match conv {
            Some(conv) if node.operator == "BatchNormalization" && reads[&node.inputs[0]] == 1 => {
                fold(&mut model.tensors, conv, &node);
            }
            _ => kept.push(node),
        }
    }
    model.nodes = kept;
    let read: HashSet<String> = model.nodes.iter().flat_map(|node| node.inputs.clone()).collect();
    model.tensors.retain(|name, _| read.contains(name));
    model
}

fn fold(tensors: &mut BTreeMap<String, TensorData>, conv: &mut Node, norm: &Node) {
    let values = |name: &String| tensors[name].to_f64();
    let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|place| values(&norm.inputs[place]));
    let eps =
        if let Some(Attribute::Float(eps)) = norm.attributes.get("epsilon") { f64::from(*eps) } else { 1e-5 };
    let by: Vec<f64> =
        scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + eps).sqrt()).collect();
    let bias = conv.inputs.get(2).map_or_else(|| vec![0.0; by.len()], values);
    let bias: Vec<f32> =
        (0..by.len()).map(|out| ((bias[out] - mean[out]) * by[out] + shift[out]) as f32).collect();
    let weight = &tensors[&conv.inputs[1]];
    let row = weight.to_f64().len() / by.len();
    let scaled: Vec<f32> =
        weight.to_f64().iter().enumerate().map(|(place, weight)| (weight * by[place / row]) as f32).collect();
    let (weight, shape) = (format!("{}.folded.weight", norm.name), weight.shape().to_vec());
    let name = format!("{}.folded.bias", norm.name);
    conv.inputs.truncate(1);
    conv.inputs.extend([weight.clone(), name.clone()]);
    conv.outputs.clone_from(&norm.outputs);
    tensors.insert(weight, floats(shape, &scaled));
    tensors.insert(name, floats(vec![by.len()], &bias));
}

/// What the layers of a model read of these images, `(N, C, H, W)` f32, beside what `ranges` has seen.
pub fn widen(model: &Model, images: &Tensor, ranges: &mut Ranges) -> Result<()> {
    let wanted: HashSet<&str> =
        model.nodes.iter().filter(|node| has_weights(node)).map(|node| node.inputs[0].as_str()).collect();
    evaluate(model, images, &mut |name, value| {
        if wanted.contains(name) {
            let values = value.flatten_all()?;
            let [low, high] = ranges.entry(name.to_owned()).or_insert([0.0; 2]);
            *low = low.min(values.min(0)?.to_scalar()?);
            *high = high.max(values.max(0)?.to_scalar()?);
        }
        Ok(())
    })
    .map(drop)
}

/// The model in eight bits, with the ranges of what its layers read.
pub fn quantised(model: &Model, ranges: &Ranges) -> Model {
    let mut made = Model { nodes: Vec::new(), ..model.clone() };
    let mut read: HashMap<String, f32> = HashMap::new();
    for node in &model.nodes {
        let mut node = node.clone();
        if has_weights(&node) {
            let input = node.inputs[0].clone();
            let step =
                *read.entry(input.clone()).or_insert_with(|| activation(&mut made, &input, ranges[&input]));
            let steps = weight(&mut made, &node.inputs[1].clone());
            node.inputs[0] = format!("{input}:f32");
            if let Some(name) = node.inputs.get(2).cloned() {
                bias(&mut made, &name, step, &steps);
                node.inputs[2] = format!("{name}:f32");
            }
            node.inputs[1] = format!("{}:f32", node.inputs[1]);
        }
        made.nodes.push(node);
    }
    made
}

fn operator(operator: &str, inputs: [&str; 3], output: &str, axis: Option<i64>) -> Node {
    Node {
        name: output.into(),
        operator: operator.into(),
        inputs: inputs.map(String::from).to_vec(),
        outputs: vec![output.into()],
        attributes: axis.map(|axis| ("axis".to_owned(), Attribute::Int(axis))).into_iter().collect(),
        ..Node::default()
    }
}

fn tensor(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> TensorData {
    TensorData::new(dtype, shape, bytes).expect("as many values as the shape has")
}

/// Rounds what a layer reads to 256 steps, of which one is zero; gives the size of a step.
fn activation(model: &mut Model, name: &str, [low, high]: [f32; 2]) -> f32 {
    let step = ((high.max(0.0) - low.min(0.0)) / 255.0).max(f32::MIN_POSITIVE);
    let zero = (-low.min(0.0) / step).round_ties_even().clamp(0.0, 255.0) as u8;
    let [scale, point, whole] = ["scale", "zero", "u8"].map(|what| format!("{name}:{what}"));
    model.tensors.insert(scale.clone(), floats(vec![], &[step]));
    model.tensors.insert(point.clone(), tensor(Dtype::U8, vec![], vec![zero]));
    model.nodes.push(operator("QuantizeLinear", [name, &scale, &point], &whole, None));
    model.nodes.push(operator("DequantizeLinear", [&whole, &scale, &point], &format!("{name}:f32"), None));
    step
}

/// Rounds weights to 127 steps to each side of zero for each output channel; gives the sizes of the steps.
fn weight(model: &mut Model, name: &str) -> Vec<f32> {
    let weight = model.tensors.remove(name).expect("weights are constants");
    let (values, out) = (weight.to_f32(), weight.shape()[0]);
    let rows = values.chunks(values.len() / out);
    let steps: Vec<f32> = rows
        .clone()
        .map(|row| row.iter().fold(0f32, |most, value| most.max(value.abs())) / 127.0)
        .map(|step| step.max(f32::MIN_POSITIVE))
        .collect();
    let whole = rows.zip(&steps).flat_map(|(row, step)| {
        row.iter().map(move |value| (value / step).round_ties_even().clamp(-127.0, 127.0) as i8 as u8)
    });
    let whole = tensor(Dtype::I8, weight.shape().to_vec(), whole.collect());
    let zero = tensor(Dtype::I8, vec![out], vec![0; out]);
    dequantised(model, name, whole, (&steps, zero));
    steps
}

/// Rounds a bias to the steps of its layer's products.
fn bias(model: &mut Model, name: &str, step: f32, steps: &[f32]) {
    let values = model.tensors.remove(name).expect("a bias is a constant").to_f32();
    let steps: Vec<f32> = steps.iter().map(|each| (each * step).max(f32::MIN_POSITIVE)).collect();
    let whole = values.iter().zip(&steps).flat_map(|(value, step)| {
        // A cast saturates, as the format's integers would.
        ((value / step).round_ties_even() as i32).to_le_bytes()
    });
    let whole = tensor(Dtype::I32, vec![values.len()], whole.collect());
    let zero = tensor(Dtype::I32, vec![values.len()], vec![0; 4 * values.len()]);
    dequantised(model, name, whole, (&steps, zero));
}

/// A constant in whole numbers, and the node that makes it f32 again under `name:f32`.
fn dequantised(model: &mut Model, name: &str, whole: TensorData, (steps, zero): (&[f32], TensorData)) {
    let [scale, point, number] = ["scale", "zero", "whole"].map(|what| format!("{name}:{what}"));
    model.tensors.insert(scale.clone(), floats(vec![steps.len()], steps));
    model.tensors.insert(point.clone(), zero);
    model.tensors.insert(number.clone(), whole);
    model.nodes.push(operator(
        "DequantizeLinear",
        [&number, &scale, &point],
        &format!("{name}:f32"),
        Some(0),
    ));
}
