//! Reading what PyTorch computed.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// Named f64 tensors from one file of `tests/golden`.
pub struct Golden {
    file: String,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    /// Reads a safetensors file.
    pub fn open(file: &str) -> Self {
        let bytes = read(file);
        let stored = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let tensors = stored.iter().map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F64, "{file}: {name}");
            let (words, []) = view.data().as_chunks::<8>() else { panic!("{file}: {name} is cut short") };
            let values = words.iter().map(|&word| f64::from_le_bytes(word)).collect();
            (name.to_owned(), (view.shape().to_vec(), values))
        });
        Self { file: file.into(), tensors: tensors.collect() }
    }

    fn get(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: there is no {name}", self.file))
    }

    /// Whether the file has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The values of a tensor, row-major.
    pub fn values(&self, name: &str) -> &[f64] {
        &self.get(name).1
    }

    /// The dimensions of a tensor.
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.get(name).0
    }

    /// The rows of a matrix; a vector is one row.
    pub fn rows(&self, name: &str) -> Vec<&[f64]> {
        let (shape, values) = self.get(name);
        values.chunks(*shape.last().expect("summaries are vectors or matrices")).collect()
    }

    /// A tensor in f64.
    pub fn tensor(&self, name: &str) -> Tensor {
        let (shape, values) = self.get(name);
        Tensor::from_slice(values, shape.as_slice(), &Device::Cpu).expect("safetensors checks shapes")
    }
}

/// A JSON file of `tests/golden`.
pub fn json<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_slice(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn read(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
