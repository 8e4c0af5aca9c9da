//! The numbers that arrays hold: which kind, how wide, in which byte order.

use half::f16;

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    kind: Kind,
    size: usize,
    big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
}

impl Element {
    /// The type that NumPy calls `<f4`, `|u1` or `>i8`; an order that is not written is this file's own, little-endian.
    /// `None` for everything but booleans, integers and floating point of at most 64 bits.
    pub fn named(name: &str) -> Option<Self> {
        let (big_endian, kind) = match name.strip_prefix(['<', '|', '=']) {
            Some(kind) => (false, kind),
            None => match name.strip_prefix('>') {
                Some(kind) => (true, kind),
                None => (false, name),
            },
        };
        let (kind, size) = match kind {
            "b1" | "?" => (Kind::Bool, 1),
            "i1" => (Kind::Signed, 1),
            "i2" => (Kind::Signed, 2),
            "i4" => (Kind::Signed, 4),
            "i8" => (Kind::Signed, 8),
            "u1" => (Kind::Unsigned, 1),
            "u2" => (Kind::Unsigned, 2),
            "u4" => (Kind::Unsigned, 4),
            "u8" => (Kind::Unsigned, 8),
            "f2" => (Kind::Float, 2),
            "f4" => (Kind::Float, 4),
            "f8" => (Kind::Float, 8),
            _ => return None,
        };
        Some(Self { kind, size, big_endian })
    }

    /// The same type in another byte order.
    #[must_use]
    pub fn in_big_endian(self, big_endian: bool) -> Self {
        Self { big_endian, ..self }
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        self.size
    }

    /// Whether the highest byte comes first.
    pub fn is_big_endian(self) -> bool {
        self.big_endian
    }

    /// Turns elements round so that their lowest byte comes first.
    pub fn make_little_endian(self, bytes: &mut [u8]) {
        if self.big_endian && self.size > 1 {
            bytes.chunks_exact_mut(self.size).for_each(<[u8]>::reverse);
        }
    }

    /// The numbers in `bytes`; `None` where they are not integers, or one is beyond 63 bits.
    pub fn integers(self, bytes: &[u8]) -> Option<Vec<i64>> {
        let signed = match self.kind {
            Kind::Signed => true,
            Kind::Unsigned => false,
            Kind::Bool | Kind::Float => return None,
        };
        let wide = |number: &[u8]| {
            let mut little = [0; 8];
            little[..self.size].copy_from_slice(number);
            self.make_little_endian(&mut little[..self.size]);
            if signed && little[self.size - 1] & 0x80 != 0 {
                little[self.size..].fill(0xff);
            }
            let word = u64::from_le_bytes(little);
            if signed { Some(word as i64) } else { i64::try_from(word).ok() }
        };
        bytes.chunks_exact(self.size).map(wide).collect()
    }

    /// The numbers in `bytes`, f64 rounded to the nearest f32; `None` where they are not floating point.
    pub fn floats(self, mut bytes: Vec<u8>) -> Option<Vec<f32>> {
        self.make_little_endian(&mut bytes);
        Some(match (self.kind, self.size) {
            (Kind::Float, 2) => each(&bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            (Kind::Float, 4) => each(&bytes, f32::from_le_bytes),
            (Kind::Float, 8) => each(&bytes, |bytes| f64::from_le_bytes(bytes) as f32),
            _ => return None,
        })
    }

    /// `f16`, `f32` or `f64`; `None` where they are not floating point.
    pub fn precision(self) -> Option<&'static str> {
        match (self.kind, self.size) {
            (Kind::Float, 2) => Some("f16"),
            (Kind::Float, 4) => Some("f32"),
            (Kind::Float, 8) => Some("f64"),
            _ => None,
        }
    }
}

fn each<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
}
