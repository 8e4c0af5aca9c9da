//! The stored types of floats, the forms a label set comes in, and a borrowed row of numbers.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::Error;

/// Serialises a type by its `Display` and `FromStr` names.
macro_rules! serde_as_name {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_name;

/// Stored type of logits or of feature maps, named `f16` and `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE binary16, rounded to nearest, ties to even.
    F16,
    /// IEEE binary32, the teacher's own bits.
    F32,
}

/// The stored types of a label set's floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floats {
    pub logits: Dtype,
    /// Of the feature maps; where there are none, that of the logits.
    pub features: Dtype,
}

impl Dtype {
    /// Bytes per value.
    pub fn size(self) -> usize {
        match self {
            Dtype::F16 => 2,
            Dtype::F32 => 4,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F16 => "f16",
            Dtype::F32 => "f32",
        })
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "f16" => Ok(Dtype::F16),
            "f32" => Ok(Dtype::F32),
            _ => Err(Error::UnknownDtype { name: name.into() }),
        }
    }
}

serde_as_name!(Dtype);

/// Which files hold the rows, named `both`, `safetensors` and `parquet`. One complete form suffices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Safetensors shards and their Parquet twins.
    Both,
    /// Safetensors alone: mapped, no copy in memory.
    Safetensors,
    /// Parquet alone: decoded into memory when opened.
    Parquet,
}

impl Form {
    /// Every form that this build can write: without the feature `parquet` that is safetensors alone.
    pub const FULLEST: Form = if cfg!(feature = "parquet") { Form::Both } else { Form::Safetensors };

    /// Refuses a form that was compiled out; `what` is that which needs it.
    pub(crate) fn require_compiled(self, what: impl FnOnce() -> String) -> Result<(), Error> {
        if self.has_parquet() && !cfg!(feature = "parquet") {
            return Err(Error::WithoutParquet { what: what() });
        }
        Ok(())
    }

    /// Whether the set has `shards/*.safetensors`.
    pub fn has_safetensors(self) -> bool {
        self != Form::Parquet
    }

    /// Whether the set has `data/*.parquet`.
    pub fn has_parquet(self) -> bool {
        self != Form::Safetensors
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Both => "both",
            Form::Safetensors => "safetensors",
            Form::Parquet => "parquet",
        })
    }
}

impl FromStr for Form {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "both" => Ok(Form::Both),
            "safetensors" => Ok(Form::Safetensors),
            "parquet" => Ok(Form::Parquet),
            _ => Err(Error::UnknownForm { name: name.into() }),
        }
    }
}

serde_as_name!(Form);

/// Logits or feature maps of one row or several, borrowed from a label set in their stored type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stored<'a> {
    /// Stored as f16.
    F16(&'a [f16]),
    /// Stored as f32.
    F32(&'a [f32]),
}

impl Stored<'_> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Stored::F16(values) => values.len(),
            Stored::F32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Widens the values into `out`, exactly. Panics unless `out` has [`Stored::len`] values.
    #[inline]
    pub fn copy_to(&self, out: &mut [f32]) {
        match self {
            Stored::F16(values) => values.convert_to_f32_slice(out),
            Stored::F32(values) => out.copy_from_slice(values),
        }
    }

    /// The values at these places, such as one [feature map](crate::Features::places) of a row's. Panics where one has none.
    #[must_use]
    pub fn part(&self, places: Range<usize>) -> Self {
        match self {
            Stored::F16(values) => Stored::F16(&values[places]),
            Stored::F32(values) => Stored::F32(&values[places]),
        }
    }

    /// The values widened to f32.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.copy_to(&mut out);
        out
    }

    /// Index of the first value that is NaN or infinite.
    pub fn first_non_finite(&self) -> Option<usize> {
        match self {
            Stored::F16(values) => values.iter().position(|v| !v.is_finite()),
            Stored::F32(values) => values.iter().position(|v| !v.is_finite()),
        }
    }

    /// Index of the largest value, the first of equals: of logits, the class the teacher answers.
    pub fn argmax(&self) -> usize {
        match self {
            Stored::F16(values) => argmax(values.iter().map(|v| v.to_f32())),
            Stored::F32(values) => argmax(values.iter().copied()),
        }
    }
}

fn argmax(values: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_logits_is_the_answer() {
        assert_eq!(Stored::F32(&[1.0, 3.0, 3.0, 2.0]).argmax(), 1);
        assert_eq!(Stored::F32(&[-5.0, -5.0]).argmax(), 0);
        assert_eq!(Stored::F16(&[f16::from_f32(-1.0), f16::from_f32(-0.5)]).argmax(), 1);
    }

    #[test]
    fn names_read_back() {
        for dtype in [Dtype::F16, Dtype::F32] {
            assert_eq!(dtype.to_string().parse::<Dtype>().unwrap(), dtype);
        }
        for form in [Form::Both, Form::Safetensors, Form::Parquet] {
            assert_eq!(form.to_string().parse::<Form>().unwrap(), form);
        }
        assert!("F16".parse::<Dtype>().is_err());
    }
}
