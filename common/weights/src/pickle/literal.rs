//! The opcodes that stand for a value of their own: nothing, numbers, bytes and text.

use std::borrow::Cow;

use super::operands::Operands;
use super::{Node, PickleError, text};

/// The value of such an opcode, its operands read; `None` for every other opcode.
pub(super) fn read<'a>(opcode: u8, input: &mut Operands<'a>) -> Result<Option<Node<'a>>, PickleError> {
    Ok(Some(match opcode {
        b'N' => Node::None,
        0x88 => Node::Bool(true),
        0x89 => Node::Bool(false),
        b'K' => Node::Int(i64::from(input.byte()?)),
        b'M' => Node::Int(i64::from(u16::from_le_bytes(input.array()?))),
        b'J' => Node::Int(i64::from(i32::from_le_bytes(input.array()?))),
        b'G' => Node::Float(f64::from_be_bytes(input.array()?)),
        0x8a => long(input.counted::<1>()?),
        0x8b => long(input.counted::<4>()?),
        b'I' | b'L' => integer_line(input)?,
        b'F' => {
            let line = input.line()?;
            let value = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
            Node::Float(value.ok_or_else(|| input.malformed("a float that is not a number"))?)
        }
        // Python 2's strings are bytes; Python 3's bytes have their own opcodes.
        b'U' | b'C' => Node::Bytes(Cow::Borrowed(input.counted::<1>()?)),
        b'T' | b'B' => Node::Bytes(Cow::Borrowed(input.counted::<4>()?)),
        0x8e | 0x96 => Node::Bytes(Cow::Borrowed(input.counted::<8>()?)),
        0x8c => text_or_bytes(input.counted::<1>()?),
        b'X' => text_or_bytes(input.counted::<4>()?),
        0x8d => text_or_bytes(input.counted::<8>()?),
        b'S' => {
            let value = text::unquote(input.line()?);
            Node::Bytes(Cow::Owned(value.ok_or_else(|| input.malformed("a string without its quotes"))?))
        }
        b'V' => {
            let value = text::raw_unicode(input.line()?);
            Node::Text(Cow::Owned(value.ok_or_else(|| input.malformed("a text with a wrong escape"))?))
        }
        _ => return Ok(None),
    }))
}

/// `L123L\n`, `I123\n`, and `I00\n`, `I01\n` for protocol 0's booleans.
fn integer_line<'a>(input: &mut Operands<'a>) -> Result<Node<'a>, PickleError> {
    let line = input.line()?;
    let digits = line.strip_suffix(b"L").unwrap_or(line);
    Ok(match line {
        b"00" => Node::Bool(false),
        b"01" => Node::Bool(true),
        _ => match std::str::from_utf8(digits).ok().and_then(|digits| digits.trim().parse().ok()) {
            Some(value) => Node::Int(value),
            None if digits.iter().all(|digit| digit.is_ascii_digit() || *digit == b'-') => {
                Node::BigInt(digits)
            }
            None => return Err(input.malformed("an integer that is not a number")),
        },
    })
}

/// A little-endian two's complement integer.
fn long(bytes: &[u8]) -> Node<'_> {
    if bytes.len() > 8 {
        return Node::BigInt(bytes);
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(whole))
}

/// Python lets lone surrogates through (odd file names); they are no text here, but no reason to fail.
fn text_or_bytes(bytes: &[u8]) -> Node<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Node::Text(Cow::Borrowed(text)),
        Err(_) => Node::Bytes(Cow::Borrowed(bytes)),
    }
}
