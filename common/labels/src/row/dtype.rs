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

/// The largest logit, by its size, that codes of eight bits take: what they span stays finite in f32.
const LARGEST_CODED: f32 = 4.253_529_6e37;

/// Stored type of logits or of feature maps, named `f16`, `f32` and, of logits alone, `u8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE binary16, rounded to nearest, ties to even.
    F16,
    /// IEEE binary32, the teacher's own bits.
    F32,
    /// A code of eight bits for each logit, on a scale of the row's own.
    U8,
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
            Dtype::U8 => 1,
        }
    }

    /// Whether a value can be stored: it is finite, and not too large.
    pub fn holds(self, value: f32) -> bool {
        match self {
            Dtype::F16 => f16::from_f32(value).is_finite(),
            Dtype::F32 => value.is_finite(),
            Dtype::U8 => value.abs() <= LARGEST_CODED,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F16 => "f16",
            Dtype::F32 => "f32",
            Dtype::U8 => "u8",
        })
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "f16" => Ok(Dtype::F16),
            "f32" => Ok(Dtype::F32),
            "u8" => Ok(Dtype::U8),
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

/// Floats of one row or several, borrowed from a label set in their stored type.
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

    /// The value at a place. Panics where there is none.
    pub fn get(&self, place: usize) -> f32 {
        match self {
            Stored::F16(values) => values[place].to_f32(),
            Stored::F32(values) => values[place],
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
            Stored::F16(values) => first(values, |value| !value.is_finite()),
            Stored::F32(values) => first(values, |value| !value.is_finite()),
        }
    }

    /// Index of the largest value, the first of equals. NaN is no value.
    pub fn argmax(&self) -> usize {
        match self {
            Stored::F16(values) => {
                let key = |order, behind: u8| i32::from(order) << 8 | i32::from(behind);
                argmax(values.reinterpret_cast(), order16, key, -0x7c00)
            }
            Stored::F32(values) => {
                let key = |order, behind: u8| i64::from(order) << 8 | i64::from(behind);
                argmax(bytemuck::cast_slice(values), order32, key, -0x7f80_0000)
            }
        }
    }
}

/// Whole numbers that compare as the floats with these bits do, equal ones for both zeros; NaN comes before all.
fn order16(bits: u16) -> i16 {
    let (size, sign) = ((bits & 0x7fff).cast_signed(), bits.cast_signed() >> 15);
    // All ones where it is NaN: without a branch, many are done at once.
    let nan = (0x7c00 - size) >> 15;
    ((size ^ sign) - sign) & !nan | i16::MIN & nan
}

/// The same of single precision.
fn order32(bits: u32) -> i32 {
    let (size, sign) = ((bits & 0x7fff_ffff).cast_signed(), bits.cast_signed() >> 31);
    let nan = (0x7f80_0000 - size) >> 31;
    ((size ^ sign) - sign) & !nan | i32::MIN & nan
}

/// Values looked at together: a loop without an early end is done many at a time.
const TOGETHER: usize = 64;
/// Values of which the largest are kept side by side.
const LANES: usize = 16;

/// Index of the first value of which this holds.
fn first<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> Option<usize> {
    let any = |chunk: &[T]| chunk.iter().fold(false, |any, &value| any | holds(value));
    let chunk = values.chunks(TOGETHER).position(any)? * TOGETHER;
    values[chunk..].iter().position(|&value| holds(value)).map(|place| chunk + place)
}

/// Index of the first of the largest values by their `order`; 0 where none is above `least`, that of negative infinity. `key` has
/// room for an order above a place of eight bits.
///
/// A program that verifies a label set spends a good part of its time here, and a largest value at random places is what a
/// processor cannot foresee.
fn argmax<T: Copy, O: Ord + Copy, K: Ord + Into<i64>>(
    bits: &[T],
    order: impl Fn(T) -> O,
    key: impl Fn(O, u8) -> K,
    least: O,
) -> usize {
    if bits.len() <= TOGETHER {
        // Of equals the first is the largest, if the place is counted from behind.
        let keys = (0..=u8::MAX).rev().zip(bits).map(|(behind, &bits)| key(order(bits), behind));
        let largest: i64 = keys.fold(key(least, u8::MAX), K::max).into();
        return 0xff - (largest & 0xff) as usize;
    }
    let mut lanes = [least; LANES];
    let blocks = bits.chunks_exact(LANES);
    let rest = blocks.remainder().iter().fold(least, |best, &bits| best.max(order(bits)));
    for block in blocks {
        for (lane, &bits) in lanes.iter_mut().zip(block) {
            *lane = (*lane).max(order(bits));
        }
    }
    let best = lanes.into_iter().fold(rest, O::max);
    if best > least { first(bits, |bits| order(bits) == best).expect("it is one of them") } else { 0 }
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

    /// What both do in words, on rows of every kind of float that are longer than a chunk.
    #[test]
    fn the_largest_and_the_first_bad_value_are_those_of_a_plain_loop() {
        let kinds =
            [0.0f32, -0.0, 1.0, -1.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 6e-8, 6e4];
        let mut draw = 1u64;
        for round in 0..3000 {
            // The first rounds hold few kinds of values, so that whole rows are NaN, or zeros of both signs.
            let (length, from) = (round % 300, round / 7 % kinds.len());
            let row: Vec<f32> = (0..length)
                .map(|_| {
                    draw =
                        draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    kinds[(from + (draw >> 33) as usize % (1 + round / 300)) % kinds.len()]
                })
                .collect();
            let halves: Vec<f16> = row.iter().map(|&value| f16::from_f32(value)).collect();
            let mut largest = (0, f32::NEG_INFINITY);
            for (place, &value) in row.iter().enumerate() {
                if value > largest.1 {
                    largest = (place, value);
                }
            }
            assert_eq!(Stored::F32(&row).argmax(), largest.0, "{row:?}");
            assert_eq!(Stored::F16(&halves).argmax(), largest.0, "{row:?}");
            let bad = row.iter().position(|value| !value.is_finite());
            assert_eq!(Stored::F32(&row).first_non_finite(), bad);
            assert_eq!(Stored::F16(&halves).first_non_finite(), bad);
        }
    }

    #[test]
    fn names_read_back() {
        for dtype in [Dtype::F16, Dtype::F32, Dtype::U8] {
            assert_eq!(dtype.to_string().parse::<Dtype>().unwrap(), dtype);
        }
        for form in [Form::Both, Form::Safetensors, Form::Parquet] {
            assert_eq!(form.to_string().parse::<Form>().unwrap(), form);
        }
        assert!("F16".parse::<Dtype>().is_err());
    }
}
