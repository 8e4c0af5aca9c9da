//! Pooling: windows without margins, and means over whole maps.

use engine::graph::{Op, Padding, Pool, Shape};

use super::attributes::Attributes;
use super::convolution::margin;
use super::error::{OnnxError, PYTORCH};
use super::translate::Translation;
use super::value::Value;

impl<'m> Translation<'m> {
    /// `MaxPool`.
    pub(super) fn max_pool(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        at.only("storage_order", 0)?;
        let (map, pool) = self.windows(at)?;
        Ok(Value::Node(self.add(at, &Op::MaxPool(pool), &[map])?))
    }

    /// `AveragePool`; of a window as large as the map it is the mean of each channel.
    pub(super) fn average_pool(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let (map, pool) = self.windows(at)?;
        if matches!(self.builder.shape(map), Shape::Map { height, width, .. } if pool.kernel == [height, width])
        {
            return Ok(Value::Mean(map));
        }
        Ok(Value::Node(self.add(at, &Op::AvgPool(pool), &[map])?))
    }

    fn windows(&mut self, at: Attributes<'m>) -> Result<(engine::NodeId, Pool), OnnxError> {
        let map = self.map(at)?;
        let shape = self.builder.shape(map);
        let (kernel, stride) = (at.sizes::<2>("kernel_shape", 0)?, at.sizes::<2>("strides", 1)?);
        if at.sizes::<2>("dilations", 1)? != [1, 1] {
            return Err(at.refuse("a dilated window", PYTORCH));
        }
        let margin = margin(at, shape, kernel, stride)?;
        if margin != Padding::default() {
            return Err(at.refuse("windows that reach over the map's edge do not run here", PYTORCH));
        }
        let pool = Pool { kernel, stride };
        if let (1, Shape::Map { height, width, .. }) = (at.int("ceil_mode", 0)?, shape) {
            // Where the windows fill the map, rounding up and down are the same.
            let fills = |size: usize, axis: usize| {
                size.checked_sub(kernel[axis]).is_some_and(|rest| rest.checked_rem(stride[axis]) == Some(0))
            };
            if !(fills(height, 0) && fills(width, 1)) {
                return Err(
                    at.refuse("windows that reach over the map's edge (ceil_mode) do not run here", PYTORCH)
                );
            }
        }
        Ok((map, pool))
    }

    /// `ReduceMean` over height and width.
    pub(super) fn mean(&mut self, at: Attributes<'m>) -> Result<Value<'m>, OnnxError> {
        let map = self.map(at)?;
        let axes = if Self::has(at, 1) {
            self.whole(at, 1)?.known().map_err(|what| at.refuse(what, PYTORCH))?
        } else {
            at.ints("axes")?.unwrap_or_default().to_vec()
        };
        let mut axes: Vec<i64> =
            axes.into_iter().map(|axis| if axis < 0 { axis + 4 } else { axis }).collect();
        axes.sort_unstable();
        if axes != [2, 3] {
            return Err(at.refuse(
                format!("a mean over axes {axes:?}; over height and width (2, 3) it runs"),
                PYTORCH,
            ));
        }
        if at.int("keepdims", 1)? == 1 {
            return Ok(Value::Mean(map));
        }
        Ok(Value::Node(self.add(at, &Op::GlobalAvgPool, &[map])?))
    }
}
