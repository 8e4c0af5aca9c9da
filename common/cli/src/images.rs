//! Reading images, and saying what is to be said of them.

use std::fmt::Display;

use candle_core::{Device, Tensor};
use data::{Dataset, DatasetSpec, Split};
use labels::Augment;
use method::eval::Exam;

use crate::{Error, note, say};

/// Reads a split, and says where it is not quite what the dataset's name promises.
pub fn images(spec: &DatasetSpec, split: Split) -> Result<Dataset, Error> {
    let dataset = spec.load(split)?;
    for note in dataset.notes() {
        say(format_args!("note: {note}"));
    }
    Ok(dataset)
}

/// The first images of a data set; says so where it has no more than these.
pub fn limited(dataset: Dataset, spec: &DatasetSpec, limit: usize) -> Dataset {
    say_if_beyond(limit, dataset.len(), spec);
    dataset.limit(limit)
}

/// Says that fewer images are taken than were asked for, because there are no more.
pub fn say_if_beyond(limit: usize, images: usize, of: impl Display) {
    if limit > images {
        note(format_args!("note: {of} has {images} images: --limit {limit} takes all of them"));
    }
}

/// A data set as the evaluator sees it: the images as they are.
pub struct Unchanged<'a>(pub &'a Dataset);

impl Exam for Unchanged<'_> {
    fn labels(&self) -> &[i32] {
        self.0.labels()
    }

    fn images(&self, places: &[usize]) -> candle_core::Result<Tensor> {
        let rows: Vec<(usize, u16)> = places.iter().map(|&place| (place, 0)).collect();
        let (values, shape) = self.0.views::<f32>(Augment::NONE, &rows);
        Tensor::from_vec(values, shape, &Device::Cpu)
    }
}
