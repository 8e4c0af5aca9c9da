//! The safetensors form of a shard: which tensors, of which types and shapes, and the header that says so.
//!
//! Tensors lie by their columns' places: ever smaller elements, so every tensor is aligned to its element. A column that
//! the label set does not hold has no tensor. The header is padded with spaces so that the data starts on a page.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Dtype as TensorType, Metadata};
use safetensors::{SafeTensorError, SafeTensors};

use crate::error::{Error, Result};
use crate::row::column::{self, Column, Element, TENSORS};
use crate::row::dtype::{Dtype, Floats};
use crate::shard::layout::Layout;

/// The key of the one entry of `__metadata__`; the format allows text alone.
const METADATA: &str = "rslad";
/// Tensor data starts at a multiple of this many bytes.
const PAGE: usize = 4096;
/// Our headers have under 500 characters; foreign ones may be longer, hostile ones may not.
const LONGEST_HEADER: u64 = 1 << 20;

/// Where each tensor's bytes lie in the file, by its column's place; an empty range where there is no tensor.
pub(crate) type Sections = [Range<usize>; TENSORS];

struct Tensor {
    column: &'static Column,
    dtype: TensorType,
    shape: Vec<usize>,
    bytes: usize,
}

impl Layout {
    /// Bytes of all tensors; `None` where that overflows.
    pub fn data_len(&self) -> Option<usize> {
        self.tensors()?.iter().try_fold(0usize, |sum, tensor| sum.checked_add(tensor.bytes))
    }

    /// The file's bytes up to the tensors: length, JSON, spaces up to a page.
    pub fn header(&self) -> Vec<u8> {
        let mut json = format!("{{\"__metadata__\":{{\"{METADATA}\":\"{}\"}}", self.kind());
        let mut start = 0;
        let tensors = self.tensors().expect("shards in memory have a size");
        for Tensor { column, dtype, shape, bytes } in
            tensors.iter().filter(|tensor| self.holds(tensor.column))
        {
            let name = column.name;
            let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
            let (shape, end) = (shape.join(","), start + bytes);
            write!(
                json,
                ",\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}"
            )
            .expect("a string takes any text");
            start = end;
        }
        json.push('}');
        let padded = (8 + json.len()).next_multiple_of(PAGE) - 8;
        let mut header = (padded as u64).to_le_bytes().to_vec();
        header.extend_from_slice(json.as_bytes());
        header.resize(8 + padded, b' ');
        header
    }

    /// Sections of a file that starts with [`Layout::header`].
    pub fn sections(&self, header: usize) -> Sections {
        let mut start = header;
        let tensors = self.tensors().expect("shards in memory have a size");
        tensors.map(|tensor| {
            if !self.holds(tensor.column) {
                return header..header;
            }
            let section = start..start + tensor.bytes;
            start = section.end;
            section
        })
    }

    /// Reads a file's header and refuses any other set of tensors than this layout's. The tensors may lie in any order.
    pub fn read(&self, path: &Path, file: &[u8]) -> Result<Sections> {
        self.read_header(path, file, file.len() as u64)
    }

    /// Bytes at the beginning of a file that are its header, given its first eight; none of more than a header may have.
    pub fn header_len(begin: &[u8]) -> u64 {
        let length = begin.first_chunk::<8>().map_or(0, |&length| u64::from_le_bytes(length));
        8 + if length > LONGEST_HEADER { 0 } else { length }
    }

    /// [`Layout::read`] of a file of so many bytes, given those of its header at least.
    pub fn read_header(&self, path: &Path, file: &[u8], bytes: u64) -> Result<Sections> {
        let wrong = |what: &str, wanted: String, found: String| Error::structure(path, what, wanted, found);
        if let Some(&length) = file.first_chunk::<8>() {
            let length = u64::from_le_bytes(length);
            if length > LONGEST_HEADER {
                return Err(wrong("header length", format!("at most {LONGEST_HEADER}"), length.to_string()));
            }
        }
        let (header, metadata) = metadata(file, bytes).map_err(|error| decode(path, &error))?;
        let start = 8 + header;
        if !start.is_multiple_of(PAGE) {
            return Err(wrong(
                "start of the tensor data",
                format!("a multiple of {PAGE}"),
                start.to_string(),
            ));
        }
        check_metadata(path, &self.kind(), &metadata)?;
        let tensors = self.tensors().ok_or_else(|| {
            wrong("number of rows", "a size that fits in memory".into(), self.rows.to_string())
        })?;
        let mut names = metadata.offset_keys();
        names.sort();
        let held = tensors.iter().filter(|tensor| self.holds(tensor.column));
        let mut wanted: Vec<&str> = held.map(|tensor| tensor.column.name).collect();
        wanted.sort_unstable();
        if names != wanted {
            return Err(wrong("set of tensors", wanted.join(", "), names.join(", ")));
        }
        let mut sections = Vec::with_capacity(tensors.len());
        for tensor in &tensors {
            if !self.holds(tensor.column) {
                sections.push(start..start);
                continue;
            }
            let name = tensor.column.name;
            let info = metadata.info(name).expect("the names were compared");
            if info.dtype != tensor.dtype || info.shape != tensor.shape {
                let wanted = format!("{} {:?}", tensor.dtype, tensor.shape);
                return Err(wrong(
                    &format!("tensor {name}"),
                    wanted,
                    format!("{} {:?}", info.dtype, info.shape),
                ));
            }
            let (begin, end) = info.data_offsets;
            let element = tensor.dtype.bitsize() / 8;
            if !begin.is_multiple_of(element) {
                let wanted = format!("a multiple of {element}");
                return Err(wrong(&format!("start of tensor {name}"), wanted, begin.to_string()));
            }
            sections.push(start + begin..start + end);
        }
        Ok(sections.try_into().expect("every tensor has a section"))
    }

    /// What the file says it is.
    fn kind(&self) -> String {
        format!("labels-{}", self.version())
    }

    /// The tensors in their order, those of columns that are not held empty; `None` where a size overflows.
    fn tensors(&self) -> Option<[Tensor; TENSORS]> {
        let tensors = column::tensors().map(|(column, per)| {
            // What is not held has no entries, and no size that could overflow.
            let entries = if self.holds(column) { self.entries(per)? } else { 0 };
            let shape: Vec<usize> = [entries].into_iter().chain(self.width(column)).collect();
            let values = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))?;
            let bytes = values.checked_mul(column.element.size(self.floats))?;
            Some(Tensor { column, dtype: tensor_type(column.element, self.floats), shape, bytes })
        });
        let tensors: Option<Vec<Tensor>> = tensors.into_iter().collect();
        tensors?.try_into().ok()
    }
}

/// The library's reader of headers, for a file of which the header alone is at hand.
fn metadata(file: &[u8], bytes: u64) -> std::result::Result<(usize, Metadata), SafeTensorError> {
    let length = Layout::header_len(file).min(file.len() as u64) as usize;
    let (header, metadata) = match SafeTensors::read_metadata(&file[..length]) {
        // Its last check: all is well but that the tensors are not there.
        Err(SafeTensorError::MetadataIncompleteBuffer) => {
            let metadata = serde_json::from_slice(&file[8..length]);
            (length - 8, metadata.map_err(SafeTensorError::InvalidHeaderDeserialization)?)
        }
        read => read?,
    };
    let wanted = (header as u64).checked_add(8 + metadata.data_len() as u64);
    if wanted == Some(bytes) {
        Ok((header, metadata))
    } else {
        Err(SafeTensorError::MetadataIncompleteBuffer)
    }
}

fn tensor_type(element: Element, floats: Floats) -> TensorType {
    match element {
        Element::Bool => TensorType::BOOL,
        Element::U8 => TensorType::U8,
        Element::U16 => TensorType::U16,
        Element::I16 => TensorType::I16,
        Element::I32 => TensorType::I32,
        Element::U32 => TensorType::U32,
        Element::U64 => TensorType::U64,
        Element::Float(which) => match which.dtype(floats) {
            Dtype::F16 => TensorType::F16,
            Dtype::F32 => TensorType::F32,
            Dtype::U8 => TensorType::U8,
        },
    }
}

fn check_metadata(path: &Path, kind: &str, metadata: &Metadata) -> Result<()> {
    let found = metadata.metadata().as_ref();
    let ours =
        found.is_some_and(|map| map.len() == 1 && map.get(METADATA).is_some_and(|value| value == kind));
    if ours {
        return Ok(());
    }
    let mut keys: Vec<String> =
        found.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    keys.sort();
    let wanted = format!("{METADATA}={kind} alone");
    Err(Error::structure(path, "__metadata__", wanted, format!("[{}]", keys.join(", "))))
}

fn decode(path: &Path, error: &SafeTensorError) -> Error {
    Error::Decode { path: path.into(), detail: format!("not a safetensors file: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::coding::Coding;

    const HALVES: Floats = Floats { logits: Dtype::F16, features: Dtype::F16 };
    const CODING: Coding = Coding { classes: 10, top: 0, features: 0, floats: HALVES };
    const LAYOUT: Layout = Layout { images: 3, rows: 7, coding: CODING };

    fn file() -> Vec<u8> {
        let mut file = LAYOUT.header();
        file.resize(file.len() + LAYOUT.data_len().unwrap(), 0);
        file
    }

    #[test]
    fn the_official_reader_accepts_the_padded_header() {
        let file = file();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.tensor("logits").unwrap().shape(), [7, 10]);
        assert_eq!(tensors.tensor("offset").unwrap().dtype(), TensorType::U64);
        assert_eq!(LAYOUT.header().len() % 4096, 0);
        assert_eq!(LAYOUT.read(Path::new("shard"), &file).unwrap(), LAYOUT.sections(LAYOUT.header().len()));
    }

    #[test]
    fn hostile_header_lengths_are_refused() {
        for length in [u64::MAX, 1 << 63, 100_000_001, (1 << 20) + 1, 4089, 0, 1] {
            let mut file = file();
            file[..8].copy_from_slice(&length.to_le_bytes());
            assert!(LAYOUT.read(Path::new("shard"), &file).is_err(), "{length}");
        }
        for bytes in 0..8 {
            assert!(LAYOUT.read(Path::new("shard"), &file()[..bytes]).is_err());
        }
    }

    #[test]
    fn headers_that_lie_about_tensors_are_refused() {
        let json = String::from_utf8(LAYOUT.header()[8..].to_vec()).unwrap();
        let lies = [
            ("[7,10]", "[9223372036854775807,10]"),
            ("[7,10]", "[10,7]"),
            ("\"F16\"", "\"BF16\""),
            ("[32,44]", "[24,44]"),
            ("[32,44]", "[32,99999999]"),
            ("\"label\"", "\"labels\""),
            ("labels-1", "labels-2"),
            ("\"rslad\":\"labels-1\"", "\"rslad\":\"labels-1\",\"a\":\"b\""),
        ];
        for (truth, lie) in lies {
            assert!(json.contains(truth), "{truth}");
            let mut lied = json.trim_end().replacen(truth, lie, 1).into_bytes();
            lied.resize(4088, b' ');
            let mut file = 4088u64.to_le_bytes().to_vec();
            file.extend(lied);
            file.resize(4096 + LAYOUT.data_len().unwrap(), 0);
            let error = LAYOUT.read(Path::new("shard"), &file).unwrap_err();
            assert!(
                matches!(error, Error::Structure { .. } | Error::Decode { .. }),
                "{truth} -> {lie}: {error}"
            );
        }
    }

    #[test]
    fn sizes_that_overflow_have_no_length() {
        let layout = Layout { rows: usize::MAX / 2, ..LAYOUT };
        assert_eq!(layout.data_len(), None);
        assert!(layout.read(Path::new("shard"), &file()).is_err());
    }
}
