//! How a teacher's clean labels are read: what a run's settings do to them, on a label set and on a network alike.

use std::path::Path;

use candle_core::{Device, Tensor};
use data::Dataset;
use method::transform::{Softening, Subject, Transforms};

use crate::config::{Config, Temperature};
use crate::course::Visit;
use crate::error::RunError;
use crate::list;

/// What the configuration does to clean labels, its list read; refused where nobody reads any.
pub(super) fn transforms(config: &Config, dataset: &Dataset, are_read: bool) -> Result<Transforms, RunError> {
    let soften = match (&config.soften, config.soften_temperature) {
        (Some(path), Some(temperature)) => {
            // Of a limited run, more images are there than it trains on.
            let images = config.limit.is_none().then(|| dataset.len());
            Some(Softening { images: list::read(Path::new(path), images)?, temperature: temperature.0 })
        }
        _ => None,
    };
    let Temperature(temperature) = config.label_temperature;
    let temperature = (temperature.to_bits() != 1f64.to_bits()).then_some(temperature);
    let transforms = Transforms { swap: config.label_swap, temperature, soften };
    let first = transforms.chosen().next();
    match first {
        Some(transform) if !are_read => Err(RunError::Refused(format!(
            "objective {} reads no labels of clean images, which {transform} would change\nhint: drop {transform}, or choose --objective rslad",
            config.objective
        ))),
        _ => Ok(transforms),
    }
}

/// The teacher's logits `(N, K)` f32 on these images, as they are to be learned from.
pub(super) fn read(
    transforms: &Transforms,
    dataset: &Dataset,
    visits: &[Visit],
    said: Tensor,
) -> Result<Tensor, RunError> {
    if transforms.chosen().next().is_none() {
        return Ok(said);
    }
    let (shape, classes) = (said.shape().clone(), said.dim(1)?);
    let mut values = said.flatten_all()?.to_vec1::<f32>()?;
    for (logits, visit) in values.chunks_exact_mut(classes).zip(visits) {
        let label = visit.is_labelled.then(|| dataset.labels()[visit.image] as usize);
        transforms.change(Subject { image: visit.image, label }, logits);
    }
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}
