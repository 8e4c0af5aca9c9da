//! What loading a network gives, and why it could not be loaded.

use engine::{Network, Params};
use weights::{LocateError, Mismatch, WeightsError, WeightsFile};

use super::architecture::Task;
use super::normalise::NormalisationError;
use super::onnx::OnnxError;
use super::table::ModelError;

/// A network with its values, and the digest of the file they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The architecture.
    pub network: Network,
    /// The values.
    pub params: Params,
    /// BLAKE3 of the file.
    pub blake3: String,
    /// The keys and names that lead to the network in the file, such as `state_dict.module`; empty where it is all of it.
    pub part: String,
    /// What was found and done, a sentence each, for the user to see.
    pub notes: Vec<String>,
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
    #[error("{path}: not the weights of {wanted}: {mismatch}\nhint: {hint}")]
    Mismatch {
        /// The file.
        path: String,
        /// The architecture wanted, and what for.
        wanted: String,
        /// Every difference.
        mismatch: Box<Mismatch>,
        /// What to do about it.
        hint: String,
    },
    /// An ONNX model that is no network of ours.
    #[error("{path}: {error}")]
    Onnx {
        /// The file.
        path: String,
        /// What is wrong.
        error: Box<OnnxError>,
    },
    /// The network is not where it was looked for, or in two places.
    #[error("{path}: {error}")]
    Locate {
        /// The file.
        path: String,
        /// What is wrong.
        error: Box<LocateError>,
    },
    /// What the network's images are normalised with is not known.
    #[error("{path}: {what}")]
    Inputs {
        /// The file.
        path: String,
        /// What is wrong, and what to do about it.
        what: String,
    },
    /// What was said of a normalisation is none.
    #[error(transparent)]
    Normalisation(#[from] NormalisationError),
    /// A foreign file, no architecture was named, and its tensors fit none.
    #[error(
        "{path}: its tensors are those of no architecture that rslad knows, for {task}\n  it holds {holds}\nhint: {hint}"
    )]
    Unknown {
        /// The file.
        path: String,
        /// What it was wanted for.
        task: Box<Task>,
        /// The first of its tensors.
        holds: String,
        /// What to do about it.
        hint: String,
    },
    /// A foreign file, no architecture was named, and its tensors fit several.
    #[error("{path}: its tensors are those of {}, which compute different things with them, and the file does not say which it is\nhint: name the one it was trained as: --arch {}", fitting.join(" and of "), fitting.join(" or --arch "))]
    Ambiguous {
        /// The file.
        path: String,
        /// The architectures.
        fitting: Vec<String>,
    },
    /// A foreign file with several networks, and nobody said which is meant.
    #[error("{path}: holds {}\nhint: say which is meant: --arch NAME, or --weights-key {key}", networks.join(", "))]
    Networks {
        /// The file.
        path: String,
        /// Some of them, and where they lie.
        networks: Vec<String>,
        /// Where the first lies.
        key: String,
    },
    /// A run's checkpoint, where a network was wanted.
    #[error(
        "{path}: that is a checkpoint{}, from which its training goes on, and no network\nhint: {}", of_run(run.as_ref()), student_of(run.as_ref())
    )]
    Checkpoint {
        /// The file.
        path: String,
        /// The run's folder, where the file lies in it.
        run: Option<String>,
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
    /// A value is infinite or not a number, or a variance is negative.
    #[error("{path}: {name} holds {found}\nhint: the training that made it diverged, or the file is damaged")]
    NonFinite {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// What it holds.
        found: &'static str,
    },
}

impl LoadError {
    /// What is wrong with the ONNX model in this file.
    pub(super) fn onnx(file: &WeightsFile, error: OnnxError) -> Self {
        Self::Onnx { path: file.path().into(), error: Box::new(error) }
    }
}

fn of_run(run: Option<&String>) -> String {
    run.map_or_else(String::new, |run| format!(" of the run {run}"))
}

fn student_of(run: Option<&String>) -> String {
    match run {
        Some(run) => {
            format!("the run's network is {run}/student.safetensors; `distill eval {run}` judges it")
        }
        None => "pass the student.safetensors of its run; `distill eval RUN` judges that".into(),
    }
}
