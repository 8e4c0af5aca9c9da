//! A flat run of f32 or f64 values.

use std::ops::Range;

use candle_core::DType;
use rayon::prelude::*;

/// The arithmetic a network is run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// What users train and label in.
    F32,
    /// What the oracle uses.
    F64,
}

impl Precision {
    /// `f32` or `f64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// The type of a tensor's elements in it.
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

/// f32 or f64, so that one body of plain arithmetic serves both.
pub trait Float:
    Copy
    + Send
    + Sync
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + 'static
{
    /// Rounds to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens.
    fn to_f64(self) -> f64;
}

impl Float for f32 {
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Float for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// A flat run of values in one precision.
#[derive(Clone, Debug, PartialEq)]
pub enum Arena {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Arena {
    /// `len` zeros.
    pub fn zeros(len: usize, precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(vec![0.0; len]),
            Precision::F64 => Self::F64(vec![0.0; len]),
        }
    }

    /// f32 or f64.
    pub fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::F64(_) => Precision::F64,
        }
    }

    /// How many values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `index`, widened.
    pub fn get(&self, index: usize) -> f64 {
        match self {
            Self::F32(values) => values[index].into(),
            Self::F64(values) => values[index],
        }
    }

    /// Sets value `index`, rounded to the arena's precision.
    pub fn set(&mut self, index: usize, value: f64) {
        match self {
            Self::F32(values) => values[index] = value as f32,
            Self::F64(values) => values[index] = value,
        }
    }

    /// Sets a range to one value.
    pub fn fill(&mut self, range: Range<usize>, value: f64) {
        match self {
            Self::F32(values) => values[range].fill(value as f32),
            Self::F64(values) => values[range].fill(value),
        }
    }

    /// Sets everything to zero, on all threads: a large network's gradients are cleared at every step.
    pub fn clear(&mut self) {
        const CHUNK: usize = 1 << 16;
        match self {
            Self::F32(values) => values.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(0.0)),
            Self::F64(values) => values.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(0.0)),
        }
    }

    /// The values of a range, widened.
    pub fn to_f64(&self, range: Range<usize>) -> Vec<f64> {
        match self {
            Self::F32(values) => values[range].iter().map(|&v| v.into()).collect(),
            Self::F64(values) => values[range].to_vec(),
        }
    }

    /// The same values in another precision.
    #[must_use]
    pub fn to_precision(&self, precision: Precision) -> Self {
        match (self, precision) {
            (Self::F32(values), Precision::F64) => Self::F64(values.iter().map(|&v| v.into()).collect()),
            (Self::F64(values), Precision::F32) => Self::F32(values.iter().map(|&v| v as f32).collect()),
            _ => self.clone(),
        }
    }

    /// Whether any value is infinite or not a number.
    pub fn has_non_finite(&self) -> bool {
        match self {
            Self::F32(values) => values.iter().any(|v| !v.is_finite()),
            Self::F64(values) => values.iter().any(|v| !v.is_finite()),
        }
    }
}
