//! What a model does to the images before its first layer: constants that are taken away, added, multiplied and divided
//! by, one a channel, which together are the network's normalisation.

use engine::graph::Op;
use weights::TensorData;

/// `(x - mean) / std` per channel, as far as the graph has been read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    mean: Vec<f64>,
    std: Vec<f64>,
    is_plain: bool,
}

impl Entry {
    /// Images as they are.
    pub(super) fn new(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels], is_plain: true }
    }

    /// With what `operator` does with this constant behind the images; what is wrong where it is no normalisation.
    pub(super) fn then(&self, operator: &str, constant: &TensorData) -> Result<Self, String> {
        let by = per_channel(constant, self.mean.len())?;
        let mut entry = Self { is_plain: false, ..self.clone() };
        for ((mean, std), by) in entry.mean.iter_mut().zip(&mut entry.std).zip(by) {
            match operator {
                "Sub" => *mean += by * *std,
                "Add" => *mean -= by * *std,
                "Div" => *std *= by,
                _ => *std /= by,
            }
        }
        let usable = |std: &f64| std.is_finite() && *std > 0.0;
        if entry.std.iter().all(usable) && entry.mean.iter().all(|mean| mean.is_finite()) {
            return Ok(entry);
        }
        Err(format!("the images would be divided by {:?}", entry.std))
    }

    /// The operation that it is; none where nothing is done.
    pub(super) fn op(&self) -> Option<Op> {
        (!self.is_plain).then(|| Op::Normalize { mean: self.mean.clone(), std: self.std.clone() })
    }
}

/// A constant for each channel of maps `(N, C, H, W)`: one number, or C of them along the third axis from the end.
pub(super) fn per_channel(constant: &TensorData, channels: usize) -> Result<Vec<f64>, String> {
    if !constant.dtype().is_float() {
        return Err("the constant is of whole numbers".into());
    }
    // As the shortest decimals that mean them, so that 0.4914 is what was typed.
    let decimal = |value: f64| (value as f32).to_string().parse().unwrap_or(value);
    let values = match constant.to_f64().as_slice() {
        &[one] => vec![decimal(one); channels],
        all => all.iter().copied().map(decimal).collect(),
    };
    let shape = constant.shape();
    let others = shape.iter().rev().enumerate().filter(|(axis, _)| *axis != 2);
    let is_per_channel = values.len() == channels && others.into_iter().all(|(_, &size)| size == 1);
    let is_single = shape.iter().all(|&size| size == 1);
    if is_single || is_per_channel {
        return Ok(values);
    }
    Err(format!("a constant of shape {shape:?} where one number for each of {channels} channels was wanted"))
}
