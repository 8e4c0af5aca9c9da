//! `TensorProto`: numbers in one of six places.

use super::message::entries;
use super::wire::{Fields, damaged};
use crate::error::Problem;
use crate::state::{Dtype, TensorData};

/// A tensor of a file, or the way to it.
pub(super) enum Stored {
    /// Its numbers.
    Here(TensorData),
    /// Where they lie.
    Beside(External),
}

/// A tensor whose numbers lie in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The file's name, as the model says it.
    pub location: String,
    /// Where in the file they begin.
    pub offset: u64,
    /// Their bytes, where the model says how many.
    pub length: Option<u64>,
}

/// The most sizes that a tensor may have.
const MOST_SIZES: usize = 16;

/// ONNX's number of each type of elements that a network may hold.
const TYPES: [(i64, Dtype); 10] = [
    (1, Dtype::F32),
    (2, Dtype::U8),
    (3, Dtype::I8),
    (5, Dtype::I16),
    (6, Dtype::I32),
    (7, Dtype::I64),
    (9, Dtype::Bool),
    (10, Dtype::F16),
    (11, Dtype::F64),
    (16, Dtype::BF16),
];

/// ONNX's number of a type.
pub(super) fn number_of(dtype: Dtype) -> i64 {
    let known = TYPES.iter().find(|(_, known)| *known == dtype);
    known.expect("the table lists every type").0
}

/// A `TensorProto` with its name.
pub(super) fn tensor(bytes: &[u8]) -> Result<(String, Stored), Problem> {
    let mut name = String::new();
    let (mut sizes, mut kind, mut is_beside) = (Vec::new(), 0, false);
    let (mut raw, mut floats, mut doubles) = (None, Vec::new(), Vec::new());
    let (mut small, mut ints, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let mut fields = Fields::of(bytes, "tensor");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => value.ints_onto(&mut sizes, "a tensor's shape")?,
            2 => kind = value.int("a tensor's type")?,
            4 => value.floats_onto(&mut floats, "a tensor's floats")?,
            5 => value.ints_onto(&mut small, "a tensor's integers")?,
            7 => value.ints_onto(&mut ints, "a tensor's integers")?,
            8 => name = value.text("a tensor's name")?,
            9 => raw = Some(value.bytes("a tensor's bytes")?),
            10 => value.doubles_onto(&mut doubles, "a tensor's doubles")?,
            13 if beside.len() < MOST_SIZES => beside.push(value.bytes("a tensor's place")?),
            14 => is_beside = value.int("a tensor's place")? == 1,
            _ => {}
        }
    }
    let misshapen = || damaged(format!("tensor {name}: its shape is none: {sizes:?}"));
    let shape: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = shape.filter(|shape| shape.len() <= MOST_SIZES).ok_or_else(misshapen)?;
    let dtype = TYPES.iter().find(|(number, _)| *number == kind).map(|(_, dtype)| *dtype);
    let dtype = dtype.ok_or_else(|| Problem::Unsupported {
        what: format!("tensor {name} has elements of ONNX's type {kind}"),
        hint: "export the network in float32",
    })?;
    if is_beside {
        let external = external(&name, dtype, shape, &beside)?;
        return Ok((name, Stored::Beside(external)));
    }
    let values = match (raw, dtype) {
        (Some(raw), _) => raw.to_vec(),
        (None, Dtype::F32) => floats,
        (None, Dtype::F64) => doubles,
        (None, Dtype::I64) => ints.iter().flat_map(|value| value.to_le_bytes()).collect(),
        // All others lie in 32-bit integers, the halves by their bits.
        (None, Dtype::I32) => small.iter().flat_map(|&value| (value as i32).to_le_bytes()).collect(),
        (None, Dtype::F16 | Dtype::BF16 | Dtype::I16) => {
            small.iter().flat_map(|&value| (value as u16).to_le_bytes()).collect()
        }
        (None, Dtype::Bool | Dtype::U8 | Dtype::I8) => small.iter().map(|&value| value as u8).collect(),
    };
    let count = values.len();
    match TensorData::new(dtype, shape.clone(), values) {
        Some(tensor) => Ok((name, Stored::Here(tensor))),
        None => Err(damaged(format!("tensor {name}: {count} bytes are not {dtype:?} of shape {shape:?}"))),
    }
}

fn external(name: &str, dtype: Dtype, shape: Vec<usize>, beside: &[&[u8]]) -> Result<External, Problem> {
    let said = entries(beside)?;
    let number = |key: &str| {
        let text = said.get(key).filter(|text| !text.is_empty());
        let number = text.map(|text| text.parse::<u64>()).transpose();
        number.map_err(|_| damaged(format!("tensor {name}: its {key} is no number")))
    };
    let location = said.get("location").cloned();
    let location = location.ok_or_else(|| damaged(format!("tensor {name} lies nowhere")))?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    Ok(External { dtype, shape, location, offset, length })
}
