//! A state dict: named tensors as they lie in a file, before any network is known.

use std::collections::BTreeMap;

use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// 16-bit integer.
    I16,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Dtype {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether the elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }
}

/// One tensor: row-major, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorData {
    dtype: Dtype,
    shape: Vec<usize>,
    values: Vec<u8>,
}

impl TensorData {
    /// A tensor of `values`, row-major and little-endian; `None` where their length is not what `shape` and
    /// `dtype` ask for.
    pub fn new(dtype: Dtype, shape: Vec<usize>, values: Vec<u8>) -> Option<Self> {
        let bytes = shape.iter().try_fold(dtype.size(), |product, &n| product.checked_mul(n));
        // A shape with a zero is empty however large its other sizes are.
        let bytes = if shape.contains(&0) { Some(0) } else { bytes };
        (bytes == Some(values.len())).then_some(Self { dtype, shape, values })
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The shape as PyTorch has it; empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major, each little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.values
    }

    /// The elements as `f32`, row-major: exact from the narrower floats, else rounded to nearest.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            Dtype::Bool => self.each(|b: [u8; 1]| f32::from(b[0] != 0)),
            Dtype::U8 => self.each(|b: [u8; 1]| f32::from(b[0])),
            Dtype::I8 => self.each(|b| f32::from(i8::from_le_bytes(b))),
            Dtype::I16 => self.each(|b| f32::from(i16::from_le_bytes(b))),
            Dtype::I32 => self.each(|b| i32::from_le_bytes(b) as f32),
            Dtype::I64 => self.each(|b| i64::from_le_bytes(b) as f32),
            Dtype::F16 => self.each(|b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.each(|b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F32 => self.each(f32::from_le_bytes),
            Dtype::F64 => self.each(|b| f64::from_le_bytes(b) as f32),
        }
    }

    /// The elements as `f64`, row-major: exact but for integers beyond 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.dtype {
            Dtype::I32 => self.each(|b| f64::from(i32::from_le_bytes(b))),
            Dtype::I64 => self.each(|b| i64::from_le_bytes(b) as f64),
            Dtype::F64 => self.each(f64::from_le_bytes),
            // Every other type fits into an f32 exactly.
            _ => self.to_f32().into_iter().map(f64::from).collect(),
        }
    }

    fn each<const WIDTH: usize, T>(&self, read: impl Fn([u8; WIDTH]) -> T) -> Vec<T> {
        self.values.as_chunks().0.iter().map(|chunk| read(*chunk)).collect()
    }
}

/// Named tensors in the order of the file, and the text stored beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDict {
    /// What a safetensors file says about itself, by key (ours is `rslad`); empty for PyTorch's own forms.
    pub metadata: BTreeMap<String, String>,
    /// The names under which the state dict was nested, outermost first; empty where it was the whole file.
    pub nesting: Vec<String>,
    tensors: Vec<(String, TensorData)>,
    places: BTreeMap<String, usize>,
}

impl StateDict {
    /// Adds a tensor, or replaces the one of that name in its place.
    pub fn insert(&mut self, name: String, tensor: TensorData) {
        if let Some(&place) = self.places.get(&name) {
            self.tensors[place].1 = tensor;
        } else {
            self.places.insert(name.clone(), self.tensors.len());
            self.tensors.push((name, tensor));
        }
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&TensorData> {
        self.places.get(name).map(|&place| &self.tensors[place].1)
    }

    /// Names and tensors in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &TensorData)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_disagrees_with_the_shape_is_refused() {
        assert!(TensorData::new(Dtype::F32, vec![2, 3], vec![0; 24]).is_some());
        assert!(TensorData::new(Dtype::F32, vec![2, 3], vec![0; 23]).is_none());
        assert!(TensorData::new(Dtype::F32, vec![usize::MAX, 2], vec![]).is_none());
        assert!(TensorData::new(Dtype::F32, vec![usize::MAX, 2, 0], vec![]).is_some());
        assert!(TensorData::new(Dtype::I64, vec![], vec![0; 8]).is_some());
    }
}
