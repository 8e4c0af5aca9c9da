//! NumPy's array files: the head, read strictly, and the elements as numbers.
//!
//! [`Header`] says what the elements are and where they begin; whoever holds the file compares
//! [`Header::data_length`] with what is there before believing it. Elements are decoded from bytes, whole or a few
//! rows at a time, in either byte order. Pickled objects are never unpacked.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

mod element;

use std::io::{self, Read};

pub use element::Element;

/// How every array file begins.
const MAGIC: &[u8] = b"\x93NUMPY";

/// An array whose head says more than this is none: NumPy itself stops at 10,000 bytes.
const LONGEST_HEAD: u64 = 1 << 20;

/// Why bytes do not begin an array file.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first six bytes are others.
    #[error("no \\x93NUMPY at the start")]
    Magic {
        /// What stands there, at most six bytes.
        found: Vec<u8>,
    },
    /// The file ends inside its head.
    #[error("the header is cut short")]
    Short,
    /// The head breaks a rule.
    #[error("{0}")]
    Head(&'static str),
}

/// What the head of an array file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The elements' type as NumPy writes it: `<f4`, `|u1`.
    pub descr: String,
    /// Whether the first index runs fastest.
    pub fortran: bool,
    /// The sizes; none for a single number.
    pub shape: Vec<usize>,
    /// Bytes before the first element.
    pub start: u64,
    /// What stands behind a `#` after the dictionary, which NumPy passes over.
    pub comment: Option<String>,
}

impl Header {
    /// Reads the head of an array file of versions 1 to 3, and not a byte more.
    pub fn read(from: &mut impl Read) -> Result<Self, NpyError> {
        let magic = exactly_or_less(from, 6)?;
        if magic != MAGIC {
            return Err(NpyError::Magic { found: magic });
        }
        let version = exactly_or_less(from, 2)?;
        let width = match version.first() {
            Some(1) => 2,
            Some(2 | 3) => 4,
            _ => return Err(NpyError::Head("format version is not 1, 2 or 3")),
        };
        let mut length = exactly_or_less(from, width)?;
        length.resize(4, 0);
        let length = u64::from(u32::from_le_bytes(length.try_into().expect("resized to four")));
        let text = exactly_or_less(from, length.min(LONGEST_HEAD))?;
        if (text.len() as u64) < length.min(LONGEST_HEAD) {
            return Err(NpyError::Short);
        }
        if length > LONGEST_HEAD {
            return Err(NpyError::Head("the header is longer than any array's"));
        }
        let text = std::str::from_utf8(&text).map_err(|_| NpyError::Head("the header is not text"))?;
        let fortran = value_of(text, "fortran_order").and_then(truth);
        Ok(Self {
            descr: value_of(text, "descr")
                .and_then(quoted)
                .ok_or(NpyError::Head("the header has no plain `descr`"))?,
            fortran: fortran.ok_or(NpyError::Head("the header has no `fortran_order`"))?,
            shape: value_of(text, "shape")
                .and_then(tuple)
                .ok_or(NpyError::Head("the header has no `shape` of sizes"))?,
            start: 8 + width + length,
            comment: text
                .split_once('}')
                .and_then(|(_, after)| Some(after.trim_start().strip_prefix('#')?.trim().to_owned())),
        })
    }

    /// The elements' type, where they are numbers.
    pub fn element(&self) -> Option<Element> {
        Element::named(&self.descr)
    }

    /// How many bytes the elements take; `None` where that is more than there can be, or they are no numbers.
    pub fn data_length(&self) -> Option<u64> {
        let size = self.element()?.size() as u64;
        self.shape.iter().try_fold(size, |product, &side| product.checked_mul(side as u64))
    }
}

/// The head of an array in C order: what stands before the elements.
pub fn head(descr: &str, shape: &[usize]) -> Vec<u8> {
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}{comma}), }}");
    // Elements begin at a multiple of 64 bytes, and the text ends in a line's end.
    let padded = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let mut head = [MAGIC, &[1, 0], &(padded as u16).to_le_bytes()].concat();
    head.extend(format!("{text:<width$}\n", width = padded - 1).into_bytes());
    head
}

/// The next `count` bytes, or all where there are fewer. Nothing is reserved on the count's word.
fn exactly_or_less(from: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What follows `'key':` in the header's Python dictionary.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let after = ['\'', '"'].iter().find_map(|quote| {
        let (_, after) = header.split_once(&format!("{quote}{key}{quote}"))?;
        Some(after)
    })?;
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(value: &str) -> Option<String> {
    let quote = value.chars().next().filter(|&first| first == '\'' || first == '"')?;
    let (text, _) = value[1..].split_once(quote)?;
    text.is_ascii().then(|| text.to_owned())
}

fn truth(value: &str) -> Option<bool> {
    match value {
        _ if value.starts_with("True") => Some(true),
        _ if value.starts_with("False") => Some(false),
        _ => None,
    }
}

fn tuple(value: &str) -> Option<Vec<usize>> {
    let (inside, _) = value.strip_prefix('(')?.split_once(')')?;
    // Python 2 wrote long integers with an L.
    let size = |size: &str| size.strip_suffix('L').unwrap_or(size).parse().ok();
    inside.split(',').map(str::trim).filter(|size| !size.is_empty()).map(size).collect()
}

#[cfg(test)]
mod tests;
