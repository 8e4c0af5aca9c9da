//! Numpy arrays and numbers inside a pickle, as CIFAR's python batches hold their pixels and labels.

use std::borrow::Cow;

use super::Item;
use crate::npy::Element;
use crate::strided::Strided;

/// A numpy array as it was pickled. Nothing says yet that its bytes are as many as its shape asks for.
pub struct Array<'p> {
    /// Numpy's name for the elements' type, as `u1`.
    pub kind: &'p str,
    /// The elements' type, where they are numbers.
    pub element: Option<Element>,
    /// The sizes.
    pub shape: Vec<usize>,
    /// Whether the first index runs fastest in `bytes`.
    pub fortran: bool,
    /// The elements.
    pub bytes: Cow<'p, [u8]>,
}

impl<'p> Array<'p> {
    /// The elements row-major and little-endian, whatever order they were pickled in; `None` where they are no
    /// numbers, or not as many as the shape asks for.
    pub fn row_major(self) -> Option<Cow<'p, [u8]>> {
        let (element, mut bytes) = (self.element?, self.bytes);
        let wanted = self.shape.iter().try_fold(element.size(), |product, &side| product.checked_mul(side));
        (wanted == Some(bytes.len())).then_some(())?;
        if element.is_big_endian() {
            element.make_little_endian(bytes.to_mut());
        }
        if self.fortran {
            let mut strides = Strided::row_major(&self.shape.iter().rev().copied().collect::<Vec<_>>());
            strides.reverse();
            let count = bytes.len() / element.size();
            let view = Strided::new(&self.shape, &strides, 0, element.size(), count).ok()?;
            bytes = Cow::Owned(view.gather(&bytes));
        }
        Some(bytes)
    }
}

impl<'p> Item<'p> {
    /// The numpy array this value is.
    pub fn as_array(self) -> Option<Array<'p>> {
        let call = self.as_call()?;
        let (shape, dtype, fortran, bytes) = match (call.module, call.name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                let state: Vec<Item> = call.state?.elements()?.collect();
                // The version came first from numpy 1.0 on.
                let &[shape, dtype, order, bytes] = state.last_chunk()?;
                (shape, dtype, order.as_bool().or(order.as_int().map(|flag| flag != 0))?, bytes)
            }
            // Protocol 5.
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
                let arguments: Vec<Item> = call.arguments.elements()?.collect();
                let &[bytes, dtype, shape, order] = arguments.first_chunk()?;
                (shape, dtype, order.as_str()? == "F", bytes)
            }
            _ => return None,
        };
        let (kind, element) = element_of(dtype)?;
        let shape = shape.elements()?.map(|n| usize::try_from(n.as_int()?).ok()).collect::<Option<_>>()?;
        Some(Array { kind, element, shape, fortran, bytes: bytes.as_bytes()? })
    }

    /// The integers of a list, a tuple, or a numpy array of one dimension; numpy's own numbers and booleans among the
    /// elements are integers too.
    pub fn integers(self) -> Option<Vec<i64>> {
        if let Some(elements) = self.elements() {
            return elements.map(Item::integer).collect();
        }
        let array = self.as_array().filter(|array| array.shape.len() == 1)?;
        let (element, count) = (array.element?, array.shape[0]);
        (count.checked_mul(element.size()) == Some(array.bytes.len())).then_some(())?;
        element.integers(&array.bytes)
    }

    fn integer(self) -> Option<i64> {
        if let Some(plain) = self.as_int().or(self.as_bool().map(i64::from)) {
            return Some(plain);
        }
        let call = self.as_call()?;
        matches!((call.module, call.name), ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar"))
            .then_some(())?;
        let arguments: Vec<Item> = call.arguments.elements()?.take(2).collect();
        let &[dtype, bytes] = arguments.as_slice() else { return None };
        let (_, element) = element_of(dtype)?;
        let bytes = bytes.is_short().then(|| bytes.as_bytes())??;
        element.filter(|element| element.size() == bytes.len())?.integers(&bytes)?.first().copied()
    }
}

/// Numpy's name for an element type, and the type with its byte order where it is a number's.
fn element_of(item: Item<'_>) -> Option<(&str, Option<Element>)> {
    let call = item.as_call()?;
    (call.module == "numpy" && call.name == "dtype").then_some(())?;
    let kind = call.arguments.elements()?.next().filter(|kind| kind.is_short())?.as_str()?;
    // The state of a dtype is (version, byte order, ...).
    let order = call.state.and_then(|state| state.elements()?.nth(1));
    let order = order.filter(|order| order.is_short()).and_then(Item::as_str);
    Some((kind, Element::named(kind).map(|element| element.in_big_endian(order == Some(">")))))
}
