//! Networks from and to files.
//!
//! A file of ours carries its architecture in one metadata key, so it loads by itself; a foreign file needs the
//! architecture's name and the task. Nothing about the run is in a student's file: equal training gives equal bytes.

use std::path::Path;

use engine::params::Precision;
use engine::{Network, Params};
use serde::{Deserialize, Serialize};

use weights::{Mismatch, StateDict, WeightsError, WeightsFile};

use super::architecture::Task;
use super::state::{fill, tensors};
use super::zoo::{ModelError, ZOO, build};

/// The metadata key of our files.
const KEY: &str = "rslad";

/// What a file of ours says about its network. Fields in alphabetical order: they are written as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    architecture: String,
    classes: usize,
    input: [usize; 3],
}

/// A network with its values, and the digest of the file they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The architecture.
    pub network: Network,
    /// The values.
    pub params: Params,
    /// BLAKE3 of the file.
    pub blake3: String,
}

/// Why a network could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read as weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The architecture is unknown or does not fit the task.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file's tensors are not the architecture's.
    #[error("{path}: not the weights of {architecture} for {input} images and {classes} classes\n{mismatch}")]
    Mismatch {
        /// The file.
        path: String,
        /// The architecture wanted.
        architecture: String,
        /// `C x H x W`.
        input: String,
        /// Classes wanted.
        classes: usize,
        /// Every difference.
        mismatch: Box<Mismatch>,
    },
    /// A foreign file, and no architecture was named.
    #[error("{path}: does not say which architecture it holds\nhint: pass --arch with one of: {}",
        ZOO.iter().map(|row| row.name).collect::<Vec<_>>().join(", "))]
    Nameless {
        /// The file.
        path: String,
    },
    /// The file names another architecture than the caller, or the metadata is damaged.
    #[error("{path}: {what}\nhint: drop --arch for files of ours, or pass the weights that were meant")]
    Metadata {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The network is for other images or classes than the data.
    #[error(
        "{path}: {architecture} is for {found}; the data has {wanted}\nhint: pass the data set it was trained on, or other weights"
    )]
    Task {
        /// The file.
        path: String,
        /// The file's architecture.
        architecture: String,
        /// What the file is for.
        found: String,
        /// What the data has.
        wanted: String,
    },
    /// A value is infinite or not a number.
    #[error(
        "{path}: holds values that are infinite or not numbers\nhint: the training that made it diverged"
    )]
    NonFinite {
        /// The file.
        path: String,
    },
}

/// Loads weights for `task`. `architecture` is needed for files that are not ours, and checked against ours.
pub fn load(
    path: &Path,
    architecture: Option<&str>,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    load_from(WeightsFile::read(path)?, architecture, task, precision)
}

/// [`load`] for a file that was read already.
pub fn load_from(
    file: WeightsFile,
    architecture: Option<&str>,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    let (path, blake3) = (file.path().to_owned(), file.blake3().to_hex().to_string());
    let shown = || path.clone();
    let state = file.decode()?;
    let name = match description(&state).map_err(|what| LoadError::Metadata { path: shown(), what })? {
        Some(own) => {
            if let Some(wanted) = architecture.filter(|wanted| *wanted != own.architecture) {
                let what = format!("holds a {}; --arch says {wanted}", own.architecture);
                return Err(LoadError::Metadata { path: shown(), what });
            }
            let found = Task { input: own.input, classes: own.classes };
            if found != task {
                let (found, wanted) = (found.to_string(), task.to_string());
                return Err(LoadError::Task { path: shown(), architecture: own.architecture, found, wanted });
            }
            own.architecture
        }
        None => architecture.ok_or_else(|| LoadError::Nameless { path: shown() })?.to_string(),
    };
    let (row, network) = build(&name, task)?;
    let params = fill(&network, &state, row.unused, precision).map_err(|mismatch| {
        let [c, h, w] = task.input;
        let input = format!("{c}x{h}x{w}");
        LoadError::Mismatch {
            path: shown(),
            architecture: name,
            input,
            classes: task.classes,
            mismatch: Box::new(mismatch),
        }
    })?;
    if params.trainable().has_non_finite() || params.statistics().has_non_finite() {
        return Err(LoadError::NonFinite { path: shown() });
    }
    Ok(Loaded { network, params, blake3 })
}

fn description(state: &StateDict) -> Result<Option<Description>, String> {
    let Some(text) = state.metadata.get(KEY) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|e| format!("its `{KEY}` metadata is not a network's: {e}"))
}

/// Writes a network as safetensors: PyTorch's names, and one metadata key with the architecture, input and classes.
pub fn save(path: &Path, network: &Network, params: &Params) -> Result<(), WeightsError> {
    let description = Description {
        architecture: network.architecture().into(),
        classes: network.classes(),
        input: network.input(),
    };
    let text = serde_json::to_string(&description).expect("a description is plain data");
    weights::write(path, tensors(params), Some((KEY, &text)))
}
