//! Protocol buffers' wire format: a message is fields, each a number, a kind and a value.

use crate::error::Problem;

/// What damaged files are called.
pub(super) const FORM: &str = "ONNX model";

/// Messages and list entries in one file, at most. An empty message takes two bytes of a file and a hundred of memory, so
/// that a file of a gigabyte could ask for all there is; the largest published networks have some thousands.
const MOST: usize = 1 << 20;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// An integer, or an enum.
    Varint(u64),
    /// Four bytes, as floats are.
    Fixed32([u8; 4]),
    /// Eight, as doubles are.
    Fixed64([u8; 8]),
    /// Text, bytes, another message, or many numbers one after the other.
    Bytes(&'a [u8]),
}

/// A damaged file, and what is wrong with it.
pub(super) fn damaged(what: impl Into<String>) -> Problem {
    Problem::damaged(FORM, what)
}

/// How much of a file may still be unpacked.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(MOST)
    }

    /// Takes one.
    pub(super) fn take(&mut self) -> Result<(), Problem> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| Problem::Unsupported {
            what: format!("an ONNX model of more than {MOST} nodes, attributes and names"),
            hint: "export the network alone, in evaluation mode",
        })?;
        Ok(())
    }
}

/// The fields of one message.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// What the message is, for errors.
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn of(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The next field's number and value; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Problem> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let cut = || damaged(format!("{}: a field does not end", self.what));
        let tag = varint(&mut self.rest).ok_or_else(cut)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0);
        let number = number.ok_or_else(|| damaged(format!("{}: no field has the tag {tag}", self.what)))?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest).ok_or_else(cut)?),
            1 => Value::Fixed64(chunk(&mut self.rest).ok_or_else(cut)?),
            2 => {
                let length = varint(&mut self.rest).ok_or_else(cut)?;
                let taken =
                    usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
                let (bytes, rest) = taken.ok_or_else(|| {
                    damaged(format!(
                        "{}: field {number} has {length} bytes, {} are left",
                        self.what,
                        self.rest.len()
                    ))
                })?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(chunk(&mut self.rest).ok_or_else(cut)?),
            kind => return Err(damaged(format!("{}: field {number} is of kind {kind}", self.what))),
        };
        Ok(Some((number, value)))
    }
}

/// An integer of seven bits a byte, the lowest first.
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for place in 0..10 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*chunk)
}

impl<'a> Value<'a> {
    /// An integer. Negative ones are written as 64 bits of two's complement.
    pub(super) fn int(self, what: &'static str) -> Result<i64, Problem> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            _ => Err(damaged(format!("{what} is no integer"))),
        }
    }

    pub(super) fn bytes(self, what: &'static str) -> Result<&'a [u8], Problem> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(damaged(format!("{what} is no text and no message"))),
        }
    }

    pub(super) fn text(self, what: &'static str) -> Result<String, Problem> {
        let text = std::str::from_utf8(self.bytes(what)?);
        text.map(str::to_owned).map_err(|_| damaged(format!("{what} is not UTF-8")))
    }

    /// Adds one integer, or many that are packed, to a list.
    pub(super) fn ints_onto(self, list: &mut Vec<i64>, what: &'static str) -> Result<(), Problem> {
        let Self::Bytes(mut packed) = self else {
            list.push(self.int(what)?);
            return Ok(());
        };
        while !packed.is_empty() {
            let value =
                varint(&mut packed).ok_or_else(|| damaged(format!("{what}: a number does not end")))?;
            list.push(value as i64);
        }
        Ok(())
    }

    /// Adds one float, or many that are packed, as they lie in memory.
    pub(super) fn floats_onto(self, list: &mut Vec<u8>, what: &'static str) -> Result<(), Problem> {
        match self {
            Self::Fixed32(bytes) => list.extend(bytes),
            Self::Bytes(packed) if packed.len() % 4 == 0 => list.extend(packed),
            _ => return Err(damaged(format!("{what} are no floats"))),
        }
        Ok(())
    }

    /// The same for doubles.
    pub(super) fn doubles_onto(self, list: &mut Vec<u8>, what: &'static str) -> Result<(), Problem> {
        match self {
            Self::Fixed64(bytes) => list.extend(bytes),
            Self::Bytes(packed) if packed.len() % 8 == 0 => list.extend(packed),
            _ => return Err(damaged(format!("{what} are no doubles"))),
        }
        Ok(())
    }
}
