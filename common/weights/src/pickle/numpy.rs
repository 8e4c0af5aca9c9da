//! Numpy arrays inside a pickle, as CIFAR's python batches hold their pixels.

use std::borrow::Cow;

use super::Item;
use crate::state::{Dtype, TensorData};
use crate::strided::Strided;

impl Item<'_> {
    /// The numpy array this value is: row-major, little-endian, whatever order it was pickled in. `None` for
    /// anything else, for element types without a [`Dtype`], and where the bytes are not the shape's.
    pub fn as_array(self) -> Option<TensorData> {
        let call = self.as_call()?;
        let (shape, dtype, column_major, bytes) = match (call.module, call.name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                let state: Vec<Item> = call.state?.elements()?.collect();
                // The version came first from numpy 1.0 on.
                let &[shape, dtype, order, bytes] = state.last_chunk()?;
                (shape, dtype, order.as_bool().or(order.as_int().map(|flag| flag != 0))?, bytes)
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
                let arguments: Vec<Item> = call.arguments.elements()?.collect();
                let &[bytes, dtype, shape, order] = arguments.first_chunk()?;
                (shape, dtype, order.as_str()? == "F", bytes)
            }
            _ => return None,
        };
        let (dtype, big_endian) = dtype_of(dtype)?;
        let shape: Option<Vec<usize>> =
            shape.elements()?.map(|n| usize::try_from(n.as_int()?).ok()).collect();
        let shape = shape?;
        let mut bytes: Cow<[u8]> = bytes.as_bytes()?;
        if big_endian {
            bytes.to_mut().chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
        }
        if column_major {
            let mut strides = Strided::row_major(&shape.iter().rev().copied().collect::<Vec<_>>());
            strides.reverse();
            let view = Strided::new(&shape, &strides, 0, dtype.size(), bytes.len() / dtype.size()).ok()?;
            // Only an array that fills its bytes may be gathered, so no more is allocated than was read.
            (view.bytes() == bytes.len()).then_some(())?;
            bytes = Cow::Owned(view.gather(&bytes));
        }
        TensorData::new(dtype, shape, bytes.into_owned())
    }
}

/// The element type, and whether its bytes are the other way round.
fn dtype_of(item: Item) -> Option<(Dtype, bool)> {
    let call = item.as_call()?;
    (call.module == "numpy" && call.name == "dtype").then_some(())?;
    let dtype = match call.arguments.elements()?.next()?.as_str()? {
        "b1" => Dtype::Bool,
        "u1" => Dtype::U8,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        _ => return None,
    };
    // The state of a dtype is (version, byte order, ...).
    let order = call.state.and_then(|state| state.elements()?.nth(1)?.as_str());
    Some((dtype, order == Some(">")))
}
