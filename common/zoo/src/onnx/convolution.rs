//! Convolutions and batch normalisation.

use engine::graph::{Conv2d, Op, Padding, Shape};
use weights::{Dtype, TensorData};

use super::attributes::Attributes;
use super::error::{OnnxError, PYTORCH};
use super::translate::Translation;
use super::value::Value;

impl<'m> Translation<'m> {
    /// `Conv`, with the zeros that lie around its map.
    pub(super) fn convolution(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let (input, around) = match self.value(at, 0)? {
            Value::Padded(map, around) => (map, around),
            _ => (self.map(at)?, Padding::default()),
        };
        let weight = self.constant(at, 1)?;
        let &[out, inputs, height, width] = weight.shape() else {
            return Err(at.refuse(
                format!("its weights are {:?}; wanted (out, in / groups, height, width)", weight.shape()),
                PYTORCH,
            ));
        };
        let kernel = [height, width];
        if at.sizes::<2>("dilations", 1)? != [1, 1] {
            return Err(at.refuse("a dilated convolution", PYTORCH));
        }
        if at.ints("kernel_shape")?.is_some() && at.sizes::<2>("kernel_shape", 0)? != kernel {
            return Err(at.refuse(
                format!("its kernel_shape is not its weights' {kernel:?}"),
                "export the model again",
            ));
        }
        let groups = usize::try_from(at.int("group", 1)?).unwrap_or(0);
        let shape = self.builder.shape(input);
        if inputs.checked_mul(groups) != Some(shape.channels()) {
            return Err(at.refuse(
                format!("weights for {inputs} channels in each of {groups} group(s), on a map of {shape}"),
                "export the model again",
            ));
        }
        let stride = at.sizes::<2>("strides", 1)?;
        let own = margin(at, shape, kernel, stride)?;
        let padding = Padding {
            top: own.top.saturating_add(around.top),
            bottom: own.bottom.saturating_add(around.bottom),
            left: own.left.saturating_add(around.left),
            right: own.right.saturating_add(around.right),
        };
        let bias = if Self::has(at, 2) { Some(self.constant(at, 2)?) } else { None };
        let conv = Conv2d { out, kernel, stride, padding, groups, bias: bias.is_some() };
        let name = self.owner(at, 1);
        let id = self.add_named(at, &name, &Op::Conv2d(conv), &[input])?;
        self.hold(&name, "weight", &weight, None);
        if let Some(bias) = bias {
            expect_shape(at, &bias, &[out])?;
            self.hold(&name, "bias", &bias, None);
        }
        Ok(Value::Node(id))
    }

    /// `BatchNormalization` with its running statistics: a node that can be trained.
    pub(super) fn batch_norm(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let input = self.input(at, 0)?;
        if at.int("training_mode", 0)? != 0 {
            return Err(at.refuse(
                "it normalises by the batch, as in training",
                "export it with training=torch.onnx.TrainingMode.PRESERVE after model.eval(): it can be trained here all the same",
            ));
        }
        at.only("spatial", 1)?;
        let channels = self.builder.shape(input).channels();
        let name = self.owner(at, 1);
        let eps = decimal(at.float("epsilon", 1e-5)?);
        // ONNX's is the share of the old statistics, PyTorch's of the new batch.
        let momentum = (1.0 - decimal(at.float("momentum", 0.9)?)).clamp(0.0, 1.0);
        let momentum = (momentum * 1e9).round() / 1e9;
        let id = self.add_named(at, &name, &Op::BatchNorm { eps, momentum }, &[input])?;
        for (place, role) in (1..).zip(["weight", "bias", "running_mean", "running_var"]) {
            let values = self.constant(at, place)?;
            expect_shape(at, &values, &[channels])?;
            self.hold(&name, role, &values, None);
        }
        Ok(Value::Node(id))
    }

    /// The name of the module that a weight belongs to, where its own name says it, else the node's; not taken yet.
    pub(super) fn owner(&mut self, at: Attributes<'m>, place: usize) -> String {
        let weight = at.node.inputs[place].as_str();
        let of_weight = weight.strip_suffix(".weight").filter(|owner| !owner.is_empty());
        let own = if at.node.name.is_empty() { &at.node.outputs[0] } else { &at.node.name };
        let name = self.free(of_weight.unwrap_or(own));
        // It is taken when its node is added.
        self.give_back(&name);
        name
    }

    /// Keeps a parameter of the node `name`; a matrix that has its inputs in rows is turned, as PyTorch has it.
    pub(super) fn hold(&mut self, name: &str, role: &str, tensor: &TensorData, turned: Option<[usize; 2]>) {
        let values = tensor.to_f64();
        let (shape, values) = match turned {
            Some([rows, columns]) => {
                let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
                (vec![columns, rows], turned.map(|place| values[place]).collect())
            }
            None => (tensor.shape().to_vec(), values),
        };
        let (dtype, bytes): (_, Vec<u8>) = if tensor.dtype() == Dtype::F64 {
            (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        } else {
            (Dtype::F32, values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect())
        };
        let tensor = TensorData::new(dtype, shape, bytes).expect("as many values as before");
        self.state.insert(format!("{name}.{role}"), tensor);
    }
}

/// The shortest decimal that means this f32, as it was typed.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The zeros around a map that a convolution or a pooling window asks for.
pub(super) fn margin(
    at: Attributes,
    shape: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Result<Padding, OnnxError> {
    let Shape::Map { height, width, .. } = shape else {
        return Err(at.refuse("a vector where a map (N, C, H, W) was wanted", PYTORCH));
    };
    let auto = at.text("auto_pad", "NOTSET")?;
    let [top, left, bottom, right] = match auto {
        "NOTSET" | "" => at.sizes::<4>("pads", 0)?,
        "VALID" => [0; 4],
        "SAME_UPPER" | "SAME_LOWER" if stride[0] > 0 && stride[1] > 0 => {
            // As many windows as steps fit into the map; an odd zero goes where the name says.
            let both = |size: usize, axis: usize| {
                let reach = (size.div_ceil(stride[axis]).saturating_sub(1)) * stride[axis] + kernel[axis];
                let all = reach.saturating_sub(size);
                let (less, more) = (all / 2, all - all / 2);
                if auto == "SAME_UPPER" { (less, more) } else { (more, less) }
            };
            let ((top, bottom), (left, right)) = (both(height, 0), both(width, 1));
            [top, left, bottom, right]
        }
        other => return Err(at.refuse(format!("its auto_pad is {other:?}"), PYTORCH)),
    };
    Ok(Padding { top, bottom, left, right })
}

/// Refuses a constant of another shape.
pub(super) fn expect_shape(at: Attributes, tensor: &TensorData, wanted: &[usize]) -> Result<(), OnnxError> {
    if tensor.shape() == wanted {
        return Ok(());
    }
    Err(at.refuse(
        format!("a constant of shape {:?} where {wanted:?} was wanted", tensor.shape()),
        "export the model again",
    ))
}
