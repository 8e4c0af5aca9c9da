//! What changes shapes and no values, and the whole numbers that shapes are computed from.

use engine::graph::{Op, Padding, Shape};

use super::attributes::Attributes;
use super::error::{OnnxError, PYTORCH};
use super::translate::Translation;
use super::value::Value;
use super::whole::Whole;

impl<'m> Translation<'m> {
    /// Whole numbers out of whole numbers.
    pub(super) fn computed(
        &self,
        at: Attributes<'m>,
        compute: impl FnOnce(&dyn Fn(usize) -> Result<Whole, String>) -> Result<Whole, String>,
    ) -> Result<Value<'m>, OnnxError> {
        let shapes = |place| self.whole(at, place).map_err(|error| error.to_string());
        compute(&shapes).map(Value::Whole).map_err(|what| {
            let what = what.lines().next().unwrap_or_default().to_owned();
            at.refuse(what, PYTORCH)
        })
    }

    /// `Flatten` of all but the images.
    pub(super) fn flatten(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        at.only("axis", 1)?;
        self.vector(at)
    }

    /// The first input as a vector.
    fn vector(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        if let Value::Mean(map) = self.value(at, 0)? {
            return Ok(Value::Node(self.add(at, &Op::GlobalAvgPool, &[map])?));
        }
        let input = self.input(at, 0)?;
        Ok(Value::Node(match self.builder.shape(input) {
            Shape::Flat(_) => input,
            Shape::Map { .. } => self.add(at, &Op::Flatten, &[input])?,
        }))
    }

    /// `Reshape` to a vector, or of numbers.
    pub(super) fn reshape(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let value = self.value(at, 0)?;
        if self.whole(at, 0).is_ok() {
            return self.computed(at, |shapes| shapes(0)?.reshape(&shapes(1)?));
        }
        let to = self.whole(at, 1)?;
        let shape = if let Value::Mean(map) = value {
            Shape::Flat(self.builder.shape(map).channels())
        } else {
            let input = self.input(at, 0)?;
            self.builder.shape(input)
        };
        let elements = shape.elements() as i64;
        let keeps_zero = at.int("allowzero", 0)? == 1;
        // The images stay apart: as many as there are, as many as the file was exported for, or what is left over.
        let is_batch = |size: Option<i64>| match size {
            None => true,
            Some(0) => !keeps_zero,
            Some(size) => size == -1 || Some(size) == self.batch,
        };
        match to.values() {
            &[images, Some(features)]
                if is_batch(images) && (features == elements || features == -1 && images != Some(-1)) =>
            {
                self.vector(at)
            }
            &[images, Some(c), Some(h), Some(w)]
                if is_batch(images)
                    && matches!(shape, Shape::Map { channels, height, width }
                        if [c, h, w] == [channels as i64, height as i64, width as i64]) =>
            {
                self.value(at, 0)
            }
            values => {
                let size = |size: &Option<i64>| size.map_or("N".into(), |size| size.to_string());
                let to = values.iter().map(size).collect::<Vec<_>>().join(", ");
                Err(at.refuse(format!("a map of {shape} to ({to}); to (N, {elements}) it runs"), PYTORCH))
            }
        }
    }

    /// `Squeeze` of the mean of a map, and of numbers; `Unsqueeze` of numbers.
    pub(super) fn squeeze(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        if self.whole(at, 0).is_ok() {
            return self.computed(at, |shapes| shapes(0)?.flat(at.node.operator == "Unsqueeze"));
        }
        let axes = if Self::has(at, 1) {
            self.whole(at, 1)?.known().map_err(|what| at.refuse(what, PYTORCH))?
        } else {
            at.ints("axes")?.unwrap_or_default().to_vec()
        };
        let mut axes: Vec<i64> =
            axes.into_iter().map(|axis| if axis < 0 { axis + 4 } else { axis }).collect();
        axes.sort_unstable();
        let is_pixel = match self.value(at, 0)? {
            Value::Mean(_) => true,
            Value::Node(id) => matches!(self.builder.shape(id), Shape::Map { height: 1, width: 1, .. }),
            _ => false,
        };
        if at.node.operator == "Squeeze" && axes == [2, 3] && is_pixel {
            return self.vector(at);
        }
        Err(at.refuse(format!("of axes {axes:?}; maps of one pixel lose both of theirs here"), PYTORCH))
    }

    /// `Pad` with zeros: channels, or a margin that belongs to the next convolution.
    pub(super) fn pad(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        if at.text("mode", "constant")? != "constant" {
            return Err(at.refuse("it pads with other than zeros", PYTORCH));
        }
        let pads = if Self::has(at, 1) {
            self.whole(at, 1)?.known().map_err(|what| at.refuse(what, PYTORCH))?
        } else {
            at.ints("pads")?.unwrap_or_default().to_vec()
        };
        let with = if Self::has(at, 2) {
            self.constant(at, 2)?.to_f64().first().copied().unwrap_or(0.0)
        } else {
            f64::from(at.float("value", 0.0)?)
        };
        let sizes: Option<Vec<usize>> = pads.iter().map(|&size| usize::try_from(size).ok()).collect();
        let &[0, before, top, left, 0, after, bottom, right] = sizes.as_deref().unwrap_or_default() else {
            return Err(at.refuse(format!("pads {pads:?}; wanted eight, around maps"), PYTORCH));
        };
        if with != 0.0 || Self::has(at, 3) {
            return Err(at.refuse("it pads with other than zeros, or along chosen axes", PYTORCH));
        }
        let around = Padding { top, bottom, left, right };
        let (mut map, mut margin) = match self.value(at, 0)? {
            Value::Padded(map, margin) => (map, margin),
            _ => (self.map(at)?, Padding::default()),
        };
        if before + after > 0 {
            if margin != Padding::default() {
                return Err(at.refuse("channels around a map that has a margin already", PYTORCH));
            }
            map = self.add(at, &Op::PadChannels { before, after }, &[map])?;
        }
        margin.top = margin.top.saturating_add(around.top);
        margin.bottom = margin.bottom.saturating_add(around.bottom);
        margin.left = margin.left.saturating_add(around.left);
        margin.right = margin.right.saturating_add(around.right);
        Ok(if margin == Padding::default() { Value::Node(map) } else { Value::Padded(map, margin) })
    }

    /// `Dropout`, which does nothing to what is judged.
    pub(super) fn dropout(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let trains = Self::has(at, 2)
            && match self.value(at, 2)? {
                Value::Tensor(tensor) => tensor.to_f64().first() != Some(&0.0),
                _ => true,
            };
        if trains {
            return Err(at.refuse("it drops values, as in training", "export the model after model.eval()"));
        }
        self.value(at, 0)
    }

    /// `Cast` between types of one kind: shapes stay whole, the network computes in one precision anyway.
    pub(super) fn cast(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        // FLOAT, FLOAT16, DOUBLE and BFLOAT16; INT32 and INT64.
        let (floats, wholes) = ([1, 10, 11, 16], [6, 7]);
        let to = at.int("to", 0)?;
        let value = self.value(at, 0)?;
        let is_whole = match &value {
            Value::Whole(_) => true,
            Value::Tensor(tensor) => !tensor.dtype().is_float(),
            _ => false,
        };
        let fits = if is_whole { wholes.contains(&to) } else { floats.contains(&to) };
        if fits {
            return Ok(value);
        }
        Err(at.refuse(format!("to ONNX's type {to}"), PYTORCH))
    }

    /// `Shape`.
    pub(super) fn shape(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        if at.node.attributes.contains_key("start") || at.node.attributes.contains_key("end") {
            return Err(at.refuse("of a part of the sizes", PYTORCH));
        }
        let sizes = |of: &[usize]| of.iter().map(|&size| Some(size as i64)).collect::<Vec<_>>();
        let values = match self.value(at, 0)? {
            Value::Tensor(tensor) => sizes(tensor.shape()),
            Value::Mean(map) => [vec![None], sizes(&[self.builder.shape(map).channels(), 1, 1])].concat(),
            Value::Whole(whole) => vec![Some(whole.values().len() as i64)],
            _ => {
                let input = self.input(at, 0)?;
                let own = match self.builder.shape(input) {
                    Shape::Map { channels, height, width } => sizes(&[channels, height, width]),
                    Shape::Flat(features) => sizes(&[features]),
                };
                [vec![None], own].concat()
            }
        };
        Ok(Value::Whole(Whole::list(values)))
    }

    /// What rearranges numbers on their way to a shape.
    pub(super) fn rearranged(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let operator = at.node.operator.as_str();
        if self.whole(at, 0).is_err() {
            return Err(at.refuse("of maps, where numbers on the way to a shape were expected", PYTORCH));
        }
        match operator {
            "ConstantOfShape" => {
                let value = match at.tensor("value") {
                    None => 0,
                    Some(tensor) => tensor.to_f64().first().map_or(0, |&value| value as i64),
                };
                self.computed(at, |shapes| shapes(0)?.filled(value))
            }
            "Gather" => {
                let axis = at.int("axis", 0)?;
                self.computed(at, |shapes| shapes(0)?.gather(&shapes(1)?, axis))
            }
            "Transpose" => {
                if at.ints("perm")?.is_some_and(|order| order != [1, 0]) {
                    return Err(at.refuse("of other than rows and columns", PYTORCH));
                }
                self.computed(at, |shapes| shapes(0)?.transposed())
            }
            _ => self.computed(at, |shapes| {
                let one = |place: usize, usual: i64| {
                    if !Self::has(at, place) {
                        return Ok(usual);
                    }
                    match shapes(place)?.known()?.as_slice() {
                        &[one] => Ok(one),
                        _ => Err("Slice along several axes".to_owned()),
                    }
                };
                shapes(0)?.slice([one(1, 0)?, one(2, i64::MAX)?, one(3, 0)?, one(4, 1)?])
            }),
        }
    }
}
