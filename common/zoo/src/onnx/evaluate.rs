//! A model evaluated as it stands, operator by operator, with candle: what a runtime that knows nothing of our engines
//! makes of an exported file. Slow, and only for operators that [`model_of`](super::model_of) and
//! [`quantised`](super::quantised) write.
//!
//! Source of the meanings: ONNX's operator reference, sets 13 to 17.

use std::collections::HashMap;

use candle_core::{DType, Device, Error, Result, Tensor};
use weights::onnx::{Attribute, Model, Node};
use weights::{Dtype, TensorData};

use super::write::{IMAGES, LOGITS};

/// What the model gives for `images` `(N, C, H, W)` f32: the logits `(N, K)` f32. `watch` sees the name and value of
/// everything that is computed on the way.
pub fn evaluate(
    model: &Model,
    images: &Tensor,
    watch: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    let mut reads: HashMap<&str, usize> = HashMap::new();
    for input in model.nodes.iter().flat_map(|node| &node.inputs) {
        *reads.entry(input).or_default() += 1;
    }
    let mut known: HashMap<&str, Tensor> = [(IMAGES, images.clone())].into();
    watch(IMAGES, images)?;
    for node in &model.nodes {
        let value = |name: &String| match known.get(name.as_str()) {
            Some(value) => Ok(value.clone()),
            None => constant(model, name),
        };
        let inputs = node.inputs.iter().map(value).collect::<Result<Vec<_>>>()?;
        let output = computed(model, node, &inputs)?;
        watch(&node.outputs[0], &output)?;
        for input in &node.inputs {
            let left = reads.get_mut(input.as_str()).expect("it was counted");
            *left -= 1;
            if *left == 0 {
                known.remove(input.as_str());
            }
        }
        known.insert(&node.outputs[0], output);
    }
    known.remove(LOGITS).ok_or_else(|| Error::Msg("the model gives no logits".into()))
}

fn constant(model: &Model, name: &str) -> Result<Tensor> {
    let tensor = model.tensors.get(name).ok_or_else(|| Error::Msg(format!("{name} comes from nowhere")))?;
    Tensor::from_vec(tensor.to_f32(), tensor.shape(), &Device::Cpu)
}

fn sizes<const N: usize>(node: &Node, name: &str) -> Result<[usize; N]> {
    let values = match node.attributes.get(name) {
        Some(Attribute::Ints(values)) => values.iter().map(|&value| value as usize).collect::<Vec<_>>(),
        _ => vec![],
    };
    values.try_into().map_err(|_| Error::Msg(format!("{} has no {N} {name}", node.name)))
}

fn int(node: &Node, name: &str, usual: i64) -> i64 {
    if let Some(Attribute::Int(value)) = node.attributes.get(name) { *value } else { usual }
}

fn computed(model: &Model, node: &Node, inputs: &[Tensor]) -> Result<Tensor> {
    let x = &inputs[0];
    match node.operator.as_str() {
        "Sub" => x.broadcast_sub(&inputs[1]),
        "Div" => x.broadcast_div(&inputs[1]),
        "Mul" => x.broadcast_mul(&inputs[1]),
        "Add" => x.broadcast_add(&inputs[1]),
        "Max" => x.broadcast_maximum(&inputs[1]),
        "Less" => x.broadcast_lt(&inputs[1])?.to_dtype(DType::F32),
        "Where" => {
            let condition = x.to_dtype(DType::U8)?;
            condition.where_cond(&inputs[1].broadcast_as(x.shape())?.contiguous()?, &inputs[2])
        }
        "Abs" => x.abs(),
        "Sqrt" => x.sqrt(),
        "Relu" => x.relu(),
        "Clip" => x.broadcast_maximum(&inputs[1])?.broadcast_minimum(&inputs[2]),
        "Sigmoid" => ((x.neg()?.exp()? + 1.0)?).recip(),
        "Concat" => Tensor::cat(inputs, 1),
        "Flatten" => x.flatten_from(1),
        "GlobalAveragePool" => x.mean_keepdim((2, 3)),
        "ReduceMean" => x.mean_keepdim((1, 2, 3)),
        "MaxPool" => {
            x.max_pool2d_with_stride(pair(sizes(node, "kernel_shape")?), pair(sizes(node, "strides")?))
        }
        "AveragePool" => {
            x.avg_pool2d_with_stride(pair(sizes(node, "kernel_shape")?), pair(sizes(node, "strides")?))
        }
        "Pad" => {
            let pads = inputs[1].to_vec1::<f32>()?;
            x.pad_with_zeros(1, pads[1] as usize, pads[5] as usize)
        }
        "Conv" => convolution(node, inputs),
        "BatchNormalization" => {
            let eps =
                if let Some(Attribute::Float(eps)) = node.attributes.get("epsilon") { *eps } else { 1e-5 };
            let along = |tensor: &Tensor| match x.rank() {
                4 => tensor.reshape((1, tensor.elem_count(), 1, 1)),
                _ => Ok(tensor.clone()),
            };
            let deviation = (&inputs[4] + f64::from(eps))?.sqrt()?;
            let centred = x.broadcast_sub(&along(&inputs[3])?)?.broadcast_div(&along(&deviation)?)?;
            centred.broadcast_mul(&along(&inputs[1])?)?.broadcast_add(&along(&inputs[2])?)
        }
        "Gemm" => {
            let product = x.matmul(&inputs[1].t()?)?;
            inputs.get(2).map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))
        }
        "QuantizeLinear" => {
            let [low, high] = if is_signed(model, &node.inputs[2]) { [-128.0, 127.0] } else { [0.0, 255.0] };
            let (scale, zero) = (one(&inputs[1])?, one(&inputs[2])?);
            let values = x.flatten_all()?.to_vec1::<f32>()?.into_iter();
            let whole = values.map(|value| ((value / scale).round_ties_even() + zero).clamp(low, high));
            Tensor::from_vec(whole.collect::<Vec<_>>(), x.shape(), x.device())
        }
        "DequantizeLinear" => {
            // A scale for each slice along the axis; one for all without.
            let mut shape = vec![1; x.rank()];
            if inputs[1].elem_count() > 1 {
                shape[int(node, "axis", 1) as usize] = inputs[1].elem_count();
            }
            let [scale, zero] = [&inputs[1], &inputs[2]].map(|tensor| tensor.reshape(shape.as_slice()));
            x.broadcast_sub(&zero?)?.broadcast_mul(&scale?)
        }
        other => Err(Error::Msg(format!("{}: no {other} is written", node.name))),
    }
}

fn pair(values: [usize; 2]) -> (usize, usize) {
    values.into()
}

fn one(tensor: &Tensor) -> Result<f32> {
    tensor.flatten_all()?.get(0)?.to_scalar()
}

fn is_signed(model: &Model, name: &str) -> bool {
    model.tensors.get(name).is_some_and(|tensor: &TensorData| tensor.dtype() == Dtype::I8)
}

fn convolution(node: &Node, inputs: &[Tensor]) -> Result<Tensor> {
    let [top, left, bottom, right] = sizes(node, "pads")?;
    let [down, across] = sizes(node, "strides")?;
    let padded = inputs[0].pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let groups = int(node, "group", 1) as usize;
    // candle has one stride for both ways.
    let step = down.min(across);
    let mut output = padded.conv2d(&inputs[1], 0, step, 1, groups)?;
    for (axis, stride) in [(2, down), (3, across)] {
        if stride != step {
            let size = output.dim(axis)?;
            let places: Vec<u32> = (0..size).step_by(stride / step).map(|place| place as u32).collect();
            output = output.index_select(&Tensor::new(places, output.device())?, axis)?;
        }
    }
    match inputs.get(2) {
        None => Ok(output),
        Some(bias) => output.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?),
    }
}
