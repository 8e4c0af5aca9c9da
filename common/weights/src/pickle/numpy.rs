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

    /// The numbers of a number, a list, a tuple or a numpy array, whatever its dimensions; none where anything else is
    /// among them, or they are more than `most`.
    pub fn numbers(self, most: usize) -> Option<Vec<f64>> {
        let mut numbers = Vec::new();
        // Lists that hold each other, or one list many times, would take forever: each value that is looked at counts.
        self.gather(most, &mut (4 * most), &mut numbers)?;
        Some(numbers)
    }

    fn gather(self, most: usize, looks: &mut usize, into: &mut Vec<f64>) -> Option<()> {
        *looks = looks.checked_sub(1)?;
        if self.as_bool().is_some() {
            return None;
        }
        if let Some(number) = self.as_float().or_else(|| self.integer().map(|whole| whole as f64)) {
            into.push(number);
        } else if let Some(mut elements) = self.elements() {
            elements.try_for_each(|element| element.gather(most, looks, into))?;
        } else if let Some(array) = self.as_array() {
            let element = array.element?;
            let bytes = array.row_major().filter(|bytes| bytes.len() <= most * 8)?.into_owned();
            // `row_major` has turned them round.
            let element = element.in_big_endian(false);
            match element.integers(&bytes) {
                Some(whole) => into.extend(whole.into_iter().map(|whole| whole as f64)),
                None => into.extend(element.floats(bytes)?.into_iter().map(f64::from)),
            }
        } else {
            into.push(self.scalar()?);
        }
        (into.len() <= most).then_some(())
    }

    /// One of numpy's own floating-point numbers.
    fn scalar(self) -> Option<f64> {
        let (element, bytes) = self.as_scalar()?;
        Some(element.floats(bytes.into_owned())?.first().copied()?.into())
    }

    fn integer(self) -> Option<i64> {
        if let Some(plain) = self.as_int().or(self.as_bool().map(i64::from)) {
            return Some(plain);
        }
        let (element, bytes) = self.as_scalar()?;
        element.integers(&bytes)?.first().copied()
    }

    /// The type and the bytes of one of numpy's own numbers.
    fn as_scalar(self) -> Option<(Element, Cow<'p, [u8]>)> {
        let call = self.as_call()?;
        matches!((call.module, call.name), ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar"))
            .then_some(())?;
        let arguments: Vec<Item> = call.arguments.elements()?.take(2).collect();
        let &[dtype, bytes] = arguments.as_slice() else { return None };
        let (_, element) = element_of(dtype)?;
        let bytes = bytes.is_short().then(|| bytes.as_bytes())??;
        element.filter(|element| element.size() == bytes.len()).map(|element| (element, bytes))
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
