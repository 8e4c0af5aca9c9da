//! Reading safetensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::{Dtype as Stored, SafeTensors};
use serde_json::Value;

use super::error::Problem;
use super::kept::in_metadata;
use super::part::{Listing, Part, Place};
use super::state::Dtype;
use super::storages::Storages;
use super::strided::Strided;

const FORM: &str = "safetensors file";
/// The format's own limit on its header.
const MAX_HEADER: u64 = 100_000_000;

/// Whether a plausible header length and the brace of its JSON begin the file. A file that ends early still
/// counts.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    rest.first() == Some(&b'{') && u64::from_le_bytes(*length) <= MAX_HEADER
}

/// What a file says about itself, its tensors in the order of their bytes, and where their bytes lie.
pub(super) fn open(bytes: &[u8]) -> Result<(BTreeMap<String, String>, Listing, Slices<'_>), Problem> {
    let bytes = without_foreign_metadata(bytes);
    let damaged = |error: safetensors::SafeTensorError| Problem::damaged(FORM, error.to_string());
    let (start, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    // Checks that the tensors are all of the file.
    SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let metadata =
        header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
    let mut part = Part::at(Vec::new());
    let mut ranges = HashMap::new();
    for name in header.offset_keys() {
        let info = header.info(&name).expect("the header lists it");
        let (first, end) = info.data_offsets;
        ranges.insert(name.clone(), start + 8 + first..start + 8 + end);
        part.insert(&name, place(&name, info.dtype, &info.shape, end - first));
    }
    if part.tensors.is_empty() {
        return Err(Problem::Unsupported {
            what: "the file holds no tensor".into(),
            hint: "pass the file that holds the weights",
        });
    }
    let kept = in_metadata(&metadata);
    Ok((metadata, Listing { parts: vec![part], lists: Vec::new(), kept }, Slices { bytes, ranges }))
}

fn place(name: &str, stored: Stored, shape: &[usize], bytes: usize) -> Result<Place, Problem> {
    let dtype = dtype_of(stored).ok_or_else(|| Problem::Unsupported {
        what: format!("tensor {name} holds {stored:?} elements"),
        hint: "convert the weights to float32 and save them again",
    })?;
    let strides = Strided::row_major(shape);
    let view = Strided::new(shape, &strides, 0, dtype.size(), bytes / dtype.size());
    let view = view.ok().filter(|view| view.bytes() == bytes).ok_or_else(|| {
        Problem::damaged(FORM, format!("tensor {name}: shape {shape:?} is not the shape of its bytes"))
    })?;
    Ok(Place {
        key: name.to_owned(),
        storage_bytes: bytes,
        dtype,
        shape: shape.to_vec(),
        view,
        negated: false,
    })
}

/// The file with a header that the format allows: other tools write numbers and lists into `__metadata__`, where only
/// text may stand. They become their JSON.
fn without_foreign_metadata(bytes: &[u8]) -> Cow<'_, [u8]> {
    rewritten(bytes).map_or(Cow::Borrowed(bytes), Cow::Owned)
}

fn rewritten(bytes: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (header, tensors) = rest.split_at_checked(length)?;
    let mut header: serde_json::Map<String, Value> = serde_json::from_slice(header).ok()?;
    let Some(Value::Object(metadata)) = header.get_mut("__metadata__") else { return None };
    if metadata.values().all(Value::is_string) {
        return None;
    }
    for value in metadata.values_mut().filter(|value| !value.is_string()) {
        *value = Value::String(value.to_string());
    }
    let header = serde_json::to_vec(&header).expect("it was read as JSON");
    Some([&(header.len() as u64).to_le_bytes()[..], &header, tensors].concat())
}

/// Each tensor is a storage of its own, under its name.
pub(super) struct Slices<'a> {
    bytes: Cow<'a, [u8]>,
    ranges: HashMap<String, Range<usize>>,
}

impl Storages for Slices<'_> {
    fn form(&self) -> &'static str {
        FORM
    }

    fn big_endian(&self) -> bool {
        false
    }

    fn bytes(&mut self, key: &str, _wanted: usize) -> Result<Cow<'_, [u8]>, Problem> {
        let range = self.ranges[key].clone();
        Ok(Cow::Borrowed(&self.bytes[range]))
    }
}

fn dtype_of(stored: Stored) -> Option<Dtype> {
    Some(match stored {
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::U8,
        Stored::I8 => Dtype::I8,
        Stored::I16 => Dtype::I16,
        Stored::I32 => Dtype::I32,
        Stored::I64 => Dtype::I64,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::F32 => Dtype::F32,
        Stored::F64 => Dtype::F64,
        _ => return None,
    })
}

/// The same type in the format's terms.
pub(super) fn stored_as(dtype: Dtype) -> Stored {
    match dtype {
        Dtype::Bool => Stored::BOOL,
        Dtype::U8 => Stored::U8,
        Dtype::I8 => Stored::I8,
        Dtype::I16 => Stored::I16,
        Dtype::I32 => Stored::I32,
        Dtype::I64 => Stored::I64,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::F32 => Stored::F32,
        Dtype::F64 => Stored::F64,
    }
}
