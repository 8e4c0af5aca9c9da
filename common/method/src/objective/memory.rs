//! What an objective remembers from step to step and from epoch to epoch.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use serde::{Deserialize, Serialize};

/// Named rows of numbers, of one value for the run or one per class. A checkpoint holds all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Memory {
    rows: BTreeMap<String, Vec<f64>>,
}

impl Memory {
    /// With one more row.
    #[must_use]
    pub fn with(mut self, name: &str, values: Vec<f64>) -> Self {
        self.rows.insert(name.into(), values);
        self
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether all of it is finite: what is not would not come back from a checkpoint.
    pub fn is_finite(&self) -> bool {
        self.rows.values().flatten().all(|value| value.is_finite())
    }

    /// Whether it has the same rows, of the same lengths.
    pub fn is_like(&self, other: &Self) -> bool {
        let shape = |memory: &Self| -> Vec<(String, usize)> {
            memory.rows.iter().map(|(name, values)| (name.clone(), values.len())).collect()
        };
        shape(self) == shape(other)
    }

    /// The names of its rows.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// The values of a row.
    pub fn row(&self, name: &str) -> &[f64] {
        self.rows.get(name).expect("an objective reads rows of its own memory")
    }

    /// The values of a row, to change them.
    pub fn row_mut(&mut self, name: &str) -> &mut [f64] {
        self.rows.get_mut(name).expect("an objective writes rows of its own memory")
    }

    /// Of a row per class, the value of each image's class: `(N,)` in the precision of `like`. Labels are `(N,)` u32.
    pub fn of_images(&self, name: &str, labels: &Tensor, like: &Tensor) -> Result<Tensor> {
        let row = self.row(name);
        let values: Vec<f64> =
            labels.to_vec1::<u32>()?.into_iter().map(|label| row[label as usize]).collect();
        Tensor::new(values, &Device::Cpu)?.to_dtype(like.dtype())
    }

    /// To a row per class, adds each image's value `(N,)` at its class.
    pub fn add_by_class(&mut self, name: &str, labels: &Tensor, values: &Tensor) -> Result<()> {
        let values = values.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let row = self.row_mut(name);
        for (label, value) in labels.to_vec1::<u32>()?.into_iter().zip(values) {
            row[label as usize] += value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor<T: candle_core::WithDType>(values: &[T]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn images_read_and_write_the_value_of_their_class() {
        let mut memory = Memory::default().with("weight", vec![1.0, 2.0, 4.0]);
        let labels = tensor(&[2u32, 0, 2]);
        let read = memory.of_images("weight", &labels, &tensor(&[0f32])).unwrap();
        assert_eq!(read.to_vec1::<f32>().unwrap(), [4.0, 1.0, 4.0]);
        memory.add_by_class("weight", &labels, &tensor(&[0.5f32, 0.25, 0.125])).unwrap();
        assert_eq!(memory.row("weight"), [1.25, 2.0, 4.625]);
    }

    #[test]
    fn it_comes_back_from_text_bit_for_bit() {
        let memory = Memory::default().with("thirds", vec![1.0 / 3.0, 0.1 + 0.2, 5e-324]);
        let text = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
        assert!(memory.is_like(&memory) && !memory.is_like(&Memory::default()));
        assert!(!memory.is_like(&Memory::default().with("thirds", vec![0.0; 2])));
    }

    #[test]
    fn what_would_not_come_back_from_text_is_found() {
        assert!(Memory::default().with("rates", vec![0.5, -1e300]).is_finite());
        for value in [f64::INFINITY, f64::NAN] {
            assert!(!Memory::default().with("rates", vec![0.5, value]).is_finite());
        }
    }
}
