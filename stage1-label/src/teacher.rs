//! The teacher: a network with its weights on an engine, answering to views.

use std::path::Path;

use candle_core::{Device, Tensor};
use cli::Machine;
use data::Dataset;
use engine::params::Precision;
use engine::{Engine, EngineError, Work};
use half::f16;
use labels::{Augment, Dtype};
use method::attack::Victim;
use method::model::{self, Foreign, Loaded, Task};
use weights::WeightsFile;

use crate::{Error, Result};

/// A row of a label set: image and view id.
pub type RowId = (usize, u16);

/// Where answers ran, as label sets record it, of answers that came from elsewhere.
pub const FOREIGN: &str = "foreign";

/// A loaded teacher.
pub struct Teacher {
    engine: Box<dyn Engine>,
    loaded: Loaded,
}

impl Teacher {
    /// Loads f32 weights for `task`. `said` is what the file does not say of itself.
    pub fn load(path: &Path, said: &Foreign, task: Task, machine: Machine) -> Result<Self> {
        let loaded = Self::read(&WeightsFile::read(path)?, said, task)?;
        Ok(Self { engine: started(machine)?, loaded })
    }

    /// [`Teacher::load`] from a file that was read already, on an engine that was started.
    pub fn from_file(
        file: &WeightsFile,
        said: &Foreign,
        task: Task,
        engine: Box<dyn Engine>,
    ) -> Result<Self> {
        Ok(Self { loaded: Self::read(file, said, task)?, engine })
    }

    fn read(file: &WeightsFile, said: &Foreign, task: Task) -> Result<Loaded> {
        let loaded = model::load_from(file, said, task, Precision::F32)?;
        cli::say_notes(Path::new(file.path()), &loaded.notes);
        Ok(loaded)
    }

    /// Its architecture, as the zoo spells it.
    pub fn architecture(&self) -> &str {
        self.loaded.network.architecture()
    }

    /// Engine and build, as label sets record them.
    pub fn engine(&self) -> String {
        format!("{} {}", self.engine.name(), env!("CARGO_PKG_VERSION"))
    }

    /// The engine with its card, or with its threads, as it is announced.
    pub fn whereabouts(&self, threads: usize) -> String {
        cli::whereabouts(self.engine.as_ref(), threads)
    }

    /// Rows that run together: as many as were asked for, where the engine's memory holds them, or as many as suit it.
    pub fn batch(&self, wanted: Option<usize>, on_processor: usize) -> Result<usize> {
        let (engine, networks) = (self.engine.as_ref(), [(&self.loaded.network, Work::Forward)]);
        Ok(match wanted {
            Some(batch) => cli::refuse_too_large(engine, &networks, batch).map(|()| batch)?,
            None => cli::usual_batch(engine, &networks, on_processor)?,
        })
    }

    /// As attacks see it.
    pub fn victim(&self) -> Victim<'_> {
        Victim::new(self.engine.as_ref(), &self.loaded.network, &self.loaded.params)
    }

    /// What a label set records of this teacher.
    pub fn record(&self, origin: &str) -> labels::Teacher {
        let (mean, std) = self.loaded.network.normalisation().unwrap_or_default();
        let text = |values: &[f64]| values.iter().map(f64::to_string).collect();
        let mut record = labels::Teacher::named(self.loaded.network.architecture());
        record.weights_blake3 = Some(self.loaded.blake3.parse().expect("a digest is 64 hexadecimal digits"));
        record.weights_key = Some(self.loaded.part.clone()).filter(|part| !part.is_empty());
        record.origin = origin.into();
        record.mean = text(mean);
        record.std = text(std);
        let hardware = self.engine.hardware();
        record.precision = hardware.precision.into();
        record.engine = self.engine();
        record.device = hardware.device;
        record
    }

    /// Logits of these rows, (N, K) row after row.
    pub fn logits(&self, dataset: &Dataset, augment: Augment, rows: &[RowId]) -> Result<Vec<f32>> {
        let (pixels, size) = dataset.views::<f32>(augment, rows);
        let answer = || -> std::result::Result<_, EngineError> {
            let images = Tensor::from_vec(pixels, size, &Device::Cpu)?.into();
            let logits = self.engine.logits(&self.loaded.network, &self.loaded.params, &images)?;
            Ok(logits.flatten_all()?.to_vec1()?)
        };
        answer().map_err(stopped)
    }
}

/// Starts the engine that a teacher is to answer on.
pub fn started(machine: Machine) -> Result<Box<dyn Engine>> {
    machine.start_for_answers().map_err(stopped)
}

/// A device that is not there or too small is no fault of ours; what else stops an engine is.
fn stopped(error: EngineError) -> Error {
    match error {
        EngineError::Device(_)
        | EngineError::Precisions { .. }
        | EngineError::Threads { .. }
        | EngineError::Interrupted => error.into(),
        _ => Error::Teacher(error),
    }
}

/// Refuses logits that a label set of this type cannot hold, naming the row.
///
/// The writer checks too, but only when a shard is complete: a teacher that overflows should not be run for hours.
pub fn check_storable(logits: &[f32], classes: usize, rows: &[RowId], dtype: Dtype) -> Result<()> {
    let storable = |value: f32| match dtype {
        Dtype::F16 => f16::from_f32(value).is_finite(),
        Dtype::F32 => value.is_finite(),
    };
    let Some(place) = logits.iter().position(|&value| !storable(value)) else { return Ok(()) };
    let ((image, view), class, value) = (rows[place / classes], place % classes, logits[place]);
    let image = image as u64;
    Err(if value.is_finite() {
        labels::Error::TooLargeForF16 { image, view, class, value }.into()
    } else {
        labels::Error::TeacherNotFinite { image, view, class, value }.into()
    })
}

#[cfg(test)]
mod tests {
    use cli::{Exit, Exits};

    use super::*;

    #[test]
    fn logits_that_cannot_be_stored_name_their_row() {
        let rows = [(3, 0), (3, 7), (9, 1)];
        let mut logits = [0.5; 6];
        assert!(check_storable(&logits, 2, &rows, Dtype::F16).is_ok());
        logits[3] = 65520.0;
        assert!(check_storable(&logits, 2, &rows, Dtype::F32).is_ok());
        let error = check_storable(&logits, 2, &rows, Dtype::F16).unwrap_err();
        assert!(error.to_string().contains("image 3, view 7: class 1 is 65520"), "{error}");
        assert_eq!(error.exit(), Exit::Refused);
        logits[4] = f32::NAN;
        let error = check_storable(&logits, 2, &rows, Dtype::F32).unwrap_err();
        assert!(error.to_string().contains("image 9, view 1: class 0 is NaN"), "{error}");
        assert_eq!(error.exit(), Exit::Failed);
    }
}
