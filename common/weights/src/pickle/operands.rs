//! What follows an opcode in the input. Every declared length is checked against what is left before it is
//! used.

use super::PickleError;

/// The input and how far it was read.
pub(super) struct Operands<'a> {
    bytes: &'a [u8],
    pub at: usize,
    pub opcode_at: usize,
}

impl<'a> Operands<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, opcode_at: 0 }
    }

    pub fn opcode(&mut self) -> Result<u8, PickleError> {
        self.opcode_at = self.at;
        self.byte()
    }

    /// Bytes not yet read.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The error of an input that is too short.
    pub fn ends(&self) -> PickleError {
        PickleError::Truncated { at: self.bytes.len() }
    }

    pub fn slot_line(&mut self) -> Result<u64, PickleError> {
        let line = self.line()?;
        let slot = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
        slot.ok_or_else(|| self.malformed("a memo slot that is not a number"))
    }

    pub fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or(self.ends())?;
        self.at += end + 1;
        Ok(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }

    pub fn counted<const COUNT: usize>(&mut self) -> Result<&'a [u8], PickleError> {
        let length = self.length::<COUNT>()?;
        let rest = &self.bytes[self.at..];
        let bytes = rest.get(..length).ok_or(self.ends())?;
        self.at += length;
        Ok(bytes)
    }

    /// A length of `COUNT` bytes; Python reads the four-byte ones of old protocols as signed, where a sign is
    /// nonsense.
    pub fn length<const COUNT: usize>(&mut self) -> Result<usize, PickleError> {
        let counted: [u8; COUNT] = self.array()?;
        let mut whole = [0; 8];
        whole[..COUNT].copy_from_slice(&counted);
        usize::try_from(u64::from_le_bytes(whole)).map_err(|_| self.ends())
    }

    pub fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], PickleError> {
        let rest = &self.bytes[self.at..];
        let array = rest.first_chunk().copied().ok_or(self.ends())?;
        self.at += COUNT;
        Ok(array)
    }

    pub fn byte(&mut self) -> Result<u8, PickleError> {
        self.array().map(|[byte]| byte)
    }

    pub fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { at: self.opcode_at, what }
    }
}
