//! What takes two values: sums and products of maps, constants at the entry, maps side by side, and activations that are
//! written as two operators.

use engine::graph::{Elementwise, Op, Shape};

use super::attributes::Attributes;
use super::error::{OnnxError, PYTORCH};
use super::translate::Translation;
use super::value::Value;
use super::whole::Whole;

impl<'m> Translation<'m> {
    /// `Add`, `Sub`, `Mul` and `Div`.
    pub(super) fn arithmetic(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let operator = at.node.operator.as_str();
        let commutes = matches!(operator, "Add" | "Mul");
        match (self.value(at, 0)?, self.value(at, 1)?) {
            (Value::Images(entry), Value::Tensor(constant)) => {
                entry.then(operator, &constant).map(Value::Images).map_err(|what| at.refuse(what, PYTORCH))
            }
            (Value::Tensor(constant), Value::Images(entry)) if commutes => {
                entry.then(operator, &constant).map(Value::Images).map_err(|what| at.refuse(what, PYTORCH))
            }
            (Value::Node(of), Value::Sigmoid(under)) | (Value::Sigmoid(under), Value::Node(of))
                if operator == "Mul" && of == under =>
            {
                Ok(Value::Node(self.add(at, &Op::Elementwise(Elementwise::Silu), &[of])?))
            }
            (Value::Whole(_), _) | (_, Value::Whole(_)) => self.computed(at, |shapes| {
                let [a, b] = [shapes(0)?, shapes(1)?];
                a.with(&b, operator)
            }),
            (Value::Tensor(a), Value::Tensor(b)) if !a.dtype().is_float() && !b.dtype().is_float() => {
                self.computed(at, |shapes| shapes(0)?.with(&shapes(1)?, operator))
            }
            (Value::Tensor(_), _) | (_, Value::Tensor(_)) => Err(at.refuse(
                "a constant behind the first layer; the images alone may be normalised so",
                "export the model in evaluation mode, which folds such constants",
            )),
            _ if !commutes => Err(at.refuse("of two maps; sums and products of maps run", PYTORCH)),
            _ => self.maps(at),
        }
    }

    /// A sum or a product of two values of the network.
    fn maps(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let (a, b) = (self.input(at, 0)?, self.input(at, 1)?);
        if at.node.operator == "Add" {
            return Ok(Value::Node(self.add(at, &Op::Add, &[a, b])?));
        }
        // One value a channel comes second here.
        let is_gate = |id| matches!(self.builder.shape(id), Shape::Map { height: 1, width: 1, .. });
        let inputs = if is_gate(a) { [b, a] } else { [a, b] };
        Ok(Value::Node(self.add(at, &Op::Mul, &inputs)?))
    }

    /// `Concat` of maps along their channels, or of numbers.
    pub(super) fn concat(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let count = at.node.inputs.len();
        if count > 0 && (0..count).all(|place| self.whole(at, place).is_ok()) {
            return self
                .computed(at, |shapes| Whole::join(&(0..count).map(shapes).collect::<Result<Vec<_>, _>>()?));
        }
        at.only("axis", 1)?;
        let inputs = (0..count).map(|place| self.input(at, place)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Node(self.add(at, &Op::Concat, &inputs)?))
    }

    /// `Clip`: a ReLU, or a ReLU6.
    pub(super) fn clip(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let bound = |place: usize, name: &str, usual: f32| {
            if Self::has(at, place) {
                let tensor = self.constant(at, place)?;
                return Ok(tensor.to_f64().first().map_or(usual, |&bound| bound as f32));
            }
            at.float(name, usual)
        };
        let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
        let is = |bound: f32, wanted: f32| (bound - wanted).abs() < f32::EPSILON;
        let op = match high {
            _ if !is(low, 0.0) => None,
            _ if is(high, 6.0) => Some(Op::Relu6),
            _ => (high >= f32::MAX).then_some(Op::Relu),
        };
        let op = op.ok_or_else(|| {
            at.refuse(
                format!("it keeps values in [{low}, {high}]; from 0 up (ReLU) or to 6 (ReLU6) it runs"),
                PYTORCH,
            )
        })?;
        let input = self.input(at, 0)?;
        Ok(Value::Node(self.add(at, &op, &[input])?))
    }
}
