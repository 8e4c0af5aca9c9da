//! The teacher: a network with its weights on an engine, answering to views.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cli::Machine;
use data::Dataset;
use engine::params::Precision;
use engine::{Engine, EngineError, Network, Work};
use labels::Augment;
use method::attack::Victim;
use weights::WeightsFile;
use zoo::{Foreign, Loaded, Task};

use crate::taps::Tapped;
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
        let loaded = zoo::load_from(file, said, task, Precision::F32)?;
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

    /// The network.
    pub fn network(&self) -> &Network {
        &self.loaded.network
    }

    /// Logits of these rows, (N, K) row after row.
    pub fn logits(&self, dataset: &Dataset, augment: Augment, rows: &[RowId]) -> Result<Vec<f32>> {
        self.answers(dataset, augment, rows, None)
    }

    /// Logits of these rows, each followed by its feature maps where some are `tapped`: (N, K + F) row after row.
    pub fn answers(
        &self,
        dataset: &Dataset,
        augment: Augment,
        rows: &[RowId],
        tapped: Option<&Tapped>,
    ) -> Result<Vec<f32>> {
        let (pixels, size) = dataset.views::<f32>(augment, rows);
        let answer = || -> std::result::Result<_, EngineError> {
            let images = Tensor::from_vec(pixels, size, &Device::Cpu)?.into();
            let Some(tapped) = tapped else {
                return Ok(self.victim().logits(&images)?.flatten_all()?.to_vec1()?);
            };
            let (logits, maps) = self.victim().maps(&images, &tapped.nodes)?;
            let flat = |map: &Tensor| map.to_dtype(DType::F32)?.flatten_from(1);
            let parts = maps.iter().map(flat).collect::<candle_core::Result<Vec<_>>>()?;
            let parts: Vec<_> = [logits].into_iter().chain(parts).collect();
            Ok(Tensor::cat(&parts, 1)?.flatten_all()?.to_vec1()?)
        };
        answer().map_err(stopped)
    }
}

/// Starts the engine that a teacher is to answer on.
pub fn started(machine: Machine) -> Result<Box<dyn Engine>> {
    machine.start_for_labels().map_err(stopped)
}

/// A device that is not there or too small is no fault of ours; what else stops an engine is.
fn stopped(error: EngineError) -> Error {
    match error {
        EngineError::Device(_)
        | EngineError::Precisions { .. }
        | EngineError::InstructionSet { .. }
        | EngineError::NoKernels { .. }
        | EngineError::Threads { .. }
        | EngineError::Interrupted => error.into(),
        _ => Error::Teacher(error),
    }
}
