//! Why a command stopped, and the exit code that says so to scripts.

use engine::EngineError;
use method::eval::EvalError;
use method::model::{LoadError, ModelError};
use weights::WeightsError;

use crate::config::ConfigError;
use crate::folder::FolderError;
use crate::step::StepError;

/// Why `train` or `eval` stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// The label set.
    #[error(transparent)]
    Labels(#[from] labels::Error),
    /// The architecture.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A weights file that cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file that could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The run's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A request that cannot be met, and what to do.
    #[error("{0}")]
    Refused(String),
    /// A training step.
    #[error(transparent)]
    Step(#[from] StepError),
    /// An evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Asked to stop; everything is saved.
    #[error("interrupted after step {step}\nhint: run the same command again to go on")]
    Interrupted {
        /// Steps done.
        step: usize,
    },
}

impl From<candle_core::Error> for RunError {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl RunError {
    /// 1 a check failed, 2 bad usage or input, 74 disk, 75 interrupted and resumable, 101 our bug.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Step(StepError::NotFinite(_) | StepError::Diverged) | Self::Eval(EvalError::NonFinite) => 1,
            Self::Interrupted { .. } | Self::Eval(EvalError::Interrupted) => 75,
            Self::Weights(WeightsError::Io { source, .. })
            | Self::Load(LoadError::Weights(WeightsError::Io { source, .. }))
            | Self::Folder(FolderError::Io { source, .. })
            | Self::Data(data::DataError::Io { source, .. })
            | Self::Labels(labels::Error::Io { source, .. }) => io_code(source),
            Self::Step(_) | Self::Eval(_) | Self::Engine(_) => 101,
            _ => 2,
        }
    }
}

/// A path that is not there or is of the wrong kind is the user's mistake; anything else is the disk's.
fn io_code(error: &std::io::Error) -> u8 {
    use std::io::ErrorKind::{AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound};
    match error.kind() {
        NotFound | InvalidInput | IsADirectory | NotADirectory | AlreadyExists => 2,
        _ => 74,
    }
}
