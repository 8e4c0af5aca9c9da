//! The header of a NumPy array file, read strictly: nothing is reserved or multiplied on its word alone.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::path::Path;

use crate::DataError;

/// A C-ordered array of numbers: its type as NumPy writes it, its shape, its bytes.
pub(crate) struct Array<'a> {
    pub kind: String,
    pub shape: Vec<usize>,
    pub bytes: &'a [u8],
}

/// Reads an array out of the bytes of a .npy file; `path` is for errors.
pub(crate) fn parse<'a>(file: &'a [u8], path: &Path) -> Result<Array<'a>, DataError> {
    let damaged = |reason: &str| DataError::damaged(path, "npy", &reason);
    let version = file.strip_prefix(b"\x93NUMPY").ok_or_else(|| damaged("no \\x93NUMPY at the start"))?;
    let (length, rest) = match version {
        [1, _, a, b, rest @ ..] => (u32::from_le_bytes([*a, *b, 0, 0]), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        _ => return Err(damaged("format version is not 1, 2 or 3")),
    };
    let (header, bytes) =
        rest.split_at_checked(length as usize).ok_or_else(|| damaged("the header is cut short"))?;
    let header = std::str::from_utf8(header).map_err(|_| damaged("the header is not text"))?;

    let kind = value_of(header, "descr")
        .and_then(quoted)
        .ok_or_else(|| damaged("the header has no plain `descr`"))?;
    let order =
        value_of(header, "fortran_order").ok_or_else(|| damaged("the header has no `fortran_order`"))?;
    if !order.starts_with("False") {
        return Err(DataError::WrongContent {
            path: path.to_owned(),
            wanted: "an array in C order".to_owned(),
            found: "Fortran order".to_owned(),
            hint: "save numpy.ascontiguousarray(array)",
        });
    }
    let shape = value_of(header, "shape")
        .and_then(tuple)
        .ok_or_else(|| damaged("the header has no `shape` of sizes"))?;

    let size =
        kind.get(2..).and_then(|digits| digits.parse::<u64>().ok()).ok_or_else(|| damaged("unknown type"))?;
    let wanted = shape.iter().try_fold(size, |product, &dim| product.checked_mul(dim as u64));
    if wanted != Some(bytes.len() as u64) {
        let wanted = wanted.map_or("more than there can be".to_owned(), |wanted| wanted.to_string());
        return Err(DataError::WrongLength { path: path.to_owned(), wanted, found: bytes.len().to_string() });
    }
    Ok(Array { kind, shape, bytes })
}

impl Array<'_> {
    /// The numbers of an integer array, or `None` for another type or one beyond 63 bits.
    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        let (order, kind) = (self.kind.chars().next()?, self.kind.get(1..)?);
        let each = |size: usize, signed: bool| {
            let wide = |number: &[u8]| {
                let mut little = number.to_vec();
                if order == '>' {
                    little.reverse();
                }
                let negative = signed && little[size - 1] & 0x80 != 0;
                little.resize(8, if negative { 0xff } else { 0 });
                let word = u64::from_le_bytes(little.try_into().expect("resized to eight"));
                if signed { Some(word as i64) } else { i64::try_from(word).ok() }
            };
            self.bytes.chunks_exact(size).map(wide).collect()
        };
        match kind {
            "u1" => each(1, false),
            "u2" => each(2, false),
            "u4" => each(4, false),
            "u8" => each(8, false),
            "i1" => each(1, true),
            "i2" => each(2, true),
            "i4" => each(4, true),
            "i8" => each(8, true),
            _ => None,
        }
    }
}

/// What follows `'key':` in the header's Python dictionary.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = header.split_once(&format!("'{key}'"))?;
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(value: &str) -> Option<String> {
    let (text, _) = value.strip_prefix('\'')?.split_once('\'')?;
    (text.is_ascii() && text.len() >= 3).then(|| text.to_owned())
}

fn tuple(value: &str) -> Option<Vec<usize>> {
    let (inside, _) = value.strip_prefix('(')?.split_once(')')?;
    inside.split(',').map(str::trim).filter(|size| !size.is_empty()).map(|size| size.parse().ok()).collect()
}
