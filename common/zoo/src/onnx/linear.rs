//! Fully connected layers: `Gemm`, and `MatMul` with the sum behind it.

use engine::graph::{Op, Shape};
use weights::TensorData;

use super::attributes::Attributes;
use super::error::{OnnxError, PYTORCH};
use super::translate::Translation;
use super::value::Value;

impl<'m> Translation<'m> {
    /// `Gemm` of features and constants.
    pub(super) fn gemm(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        at.only("transA", 0)?;
        let is_one = |value: f32| (value - 1.0).abs() < f32::EPSILON;
        if !is_one(at.float("alpha", 1.0)?) || !is_one(at.float("beta", 1.0)?) {
            return Err(at.refuse("its alpha or beta is not 1", PYTORCH));
        }
        let weight = self.constant(at, 1)?;
        let bias = if Self::has(at, 2) { Some(self.constant(at, 2)?) } else { None };
        let is_turned = at.int("transB", 0)? == 0;
        self.layer(at, &weight, is_turned, bias.as_deref())
    }

    /// `MatMul` of features and a constant; a constant that is then added is its bias.
    pub(super) fn product(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let weight = self.constant(at, 1)?;
        let sum =
            self.sole_reader(&at.node.outputs[0]).filter(|node| node.operator == "Add" && node.is_own());
        let bias = sum.and_then(|sum| {
            let other = sum.inputs.iter().position(|name| *name != at.node.outputs[0])?;
            self.constant(Attributes { node: sum, ..at }, other).ok()
        });
        let value = self.layer(at, &weight, true, bias.as_deref())?;
        if let (Some(sum), Some(_)) = (sum, bias) {
            self.take_along(sum, value.clone());
        }
        Ok(value)
    }

    fn layer(
        &mut self,
        at: Attributes<'m>,
        weight: &TensorData,
        is_turned: bool,
        bias: Option<&TensorData>,
    ) -> Result<Value<'m>, OnnxError> {
        let input = self.input(at, 0)?;
        let Shape::Flat(features) = self.builder.shape(input) else {
            return Err(at.refuse("a layer on a map; wanted features (N, F)", PYTORCH));
        };
        let (inputs, out) = match (weight.shape(), is_turned) {
            (&[inputs, out], true) | (&[out, inputs], false) => (inputs, out),
            (shape, _) => return Err(at.refuse(format!("weights of shape {shape:?}"), PYTORCH)),
        };
        if inputs != features {
            let what = format!("weights for {inputs} features, of which there are {features}");
            return Err(at.refuse(what, "export the model again"));
        }
        let name = self.owner(at, 1);
        let id = self.add_named(at, &name, &Op::Linear { out, bias: bias.is_some() }, &[input])?;
        self.hold(&name, "weight", weight, is_turned.then_some([inputs, out]));
        if let Some(bias) = bias {
            let shape = bias.shape();
            if !(shape == [out] || shape == [1, out]) {
                return Err(at.refuse(format!("a bias of shape {shape:?}; wanted [{out}]"), PYTORCH));
            }
            let row = TensorData::new(bias.dtype(), vec![out], bias.bytes().to_vec());
            self.hold(&name, "bias", &row.expect("as many values as before"), None);
        }
        Ok(Value::Node(id))
    }
}
