//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! One safetensors file holds parameters, statistics and velocity; its metadata holds the run's own state and a
//! digest of all of it, because safetensors itself does not notice a changed bit. Files are written beside and
//! renamed, and the last two are kept, so that a kill at any moment leaves at least one whole.

use std::path::{Path, PathBuf};

use engine::params::{Arena, Precision};
use engine::{Network, Params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{self, NamedTensor};
use weights::{StateDict, WeightsError};

/// The metadata key of a checkpoint.
const KEY: &str = "rslad-checkpoint";
/// In front of the velocity's names.
const VELOCITY: &str = "velocity/";
/// In front of the names of the moving average.
const AVERAGE: &str = "average/";
/// How many checkpoints are kept.
const KEPT: usize = 2;

#[derive(Serialize, Deserialize)]
struct Envelope<S> {
    digest: String,
    state: S,
}

/// A checkpoint that was found whole.
pub struct Restored<S> {
    /// Parameters and statistics.
    pub params: Params,
    /// The optimiser's velocity.
    pub velocity: Arena,
    /// The moving average of the parameters, where the run keeps one.
    pub average: Option<Params>,
    /// The run's own state.
    pub state: S,
    /// The file.
    pub path: PathBuf,
}

/// What [`latest`] found.
pub struct Found<S> {
    /// The newest checkpoint that is whole.
    pub restored: Option<Restored<S>>,
    /// Newer files that are not, and why: each is one line for the user.
    pub damaged: Vec<String>,
}

/// Writes the checkpoint of `step` into `folder`, then removes all but the last two.
pub fn save<S: Serialize>(
    folder: &Path,
    step: usize,
    params: &Params,
    velocity: &Arena,
    average: Option<&Params>,
    state: &S,
) -> Result<(), WeightsError> {
    let all = tensors(params, velocity, average);
    let text = serde_json::to_string(state).expect("a run's state is plain data");
    let digest = digest(all.iter().map(|(name, _, _, bytes)| (name.as_str(), &**bytes)), &text);
    let envelope = Envelope { digest, state };
    let metadata = serde_json::to_string(&envelope).expect("a run's state is plain data");
    weights::write(&folder.join(file_name(step)), all, Some((KEY, &metadata)))?;
    let mut files = files(folder)?;
    files.truncate(files.len().saturating_sub(KEPT));
    for (_, path) in files {
        std::fs::remove_file(&path).map_err(|source| io(&path, "remove", source))?;
    }
    Ok(())
}

/// Everything a checkpoint holds, under the names it has there.
fn tensors<'a>(params: &'a Params, velocity: &'a Arena, average: Option<&'a Params>) -> Vec<NamedTensor<'a>> {
    let averaged = average.into_iter().flat_map(model::tensors);
    model::tensors(params)
        .chain(model::named(velocity, params.layout().trainable(), VELOCITY))
        .chain(averaged.map(|(name, dtype, shape, bytes)| (format!("{AVERAGE}{name}"), dtype, shape, bytes)))
        .collect()
}

/// The newest whole checkpoint in `folder`, for `network`.
pub fn latest<S: Serialize + DeserializeOwned>(
    folder: &Path,
    network: &Network,
    precision: Precision,
) -> Result<Found<S>, WeightsError> {
    let mut damaged = Vec::new();
    for (_, path) in files(folder)?.into_iter().rev() {
        match restore(&path, network, precision) {
            Ok(restored) => return Ok(Found { restored: Some(restored), damaged }),
            Err(why) => damaged.push(format!("{}: {why}", path.display())),
        }
    }
    Ok(Found { restored: None, damaged })
}

fn restore<S: Serialize + DeserializeOwned>(
    path: &Path,
    network: &Network,
    precision: Precision,
) -> Result<Restored<S>, String> {
    let file = weights::read(path).map_err(|e| e.to_string())?;
    let metadata = file.metadata.get(KEY).ok_or("not a checkpoint")?;
    let envelope: Envelope<S> =
        serde_json::from_str(metadata).map_err(|e| format!("its state is unreadable: {e}"))?;
    let [mut values, mut motion, mut averaged] = std::array::from_fn(|_| StateDict::default());
    for (name, tensor) in file.iter() {
        let (section, name) = if let Some(name) = name.strip_prefix(VELOCITY) {
            (&mut motion, name)
        } else if let Some(name) = name.strip_prefix(AVERAGE) {
            (&mut averaged, name)
        } else {
            (&mut values, name)
        };
        section.insert(name.into(), tensor.clone());
    }
    let fill = |state: &StateDict| {
        model::fill(network, state, &[], precision).map_err(|mismatch| mismatch.to_string())
    };
    let params = fill(&values)?;
    let average = if averaged.is_empty() { None } else { Some(fill(&averaged)?) };
    let mut velocity = Arena::zeros(network.layout().trainable_len(), precision);
    for entry in network.layout().trainable() {
        let tensor = motion.get(&entry.name).filter(|tensor| tensor.shape() == entry.shape);
        let tensor =
            tensor.ok_or_else(|| format!("no velocity of shape {:?} for {}", entry.shape, entry.name))?;
        for (place, value) in entry.range.clone().zip(tensor.to_f64()) {
            velocity.set(place, value);
        }
    }
    let text = serde_json::to_string(&envelope.state).map_err(|e| e.to_string())?;
    let all = tensors(&params, &velocity, average.as_ref());
    let found = digest(all.iter().map(|(name, _, _, bytes)| (name.as_str(), &**bytes)), &text);
    if found != envelope.digest {
        return Err(format!(
            "its digest is {}.., its contents have {}..",
            &envelope.digest[..8.min(envelope.digest.len())],
            &found[..8]
        ));
    }
    drop(all);
    Ok(Restored { params, velocity, average, state: envelope.state, path: path.into() })
}

fn digest<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u8])>, state: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in tensors {
        hasher.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hasher.update(state.as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn file_name(step: usize) -> String {
    format!("step-{step:010}.safetensors")
}

/// The checkpoints of a folder, oldest first.
fn files(folder: &Path) -> Result<Vec<(usize, PathBuf)>, WeightsError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io(folder, "list", source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| io(folder, "list", source))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let step = name.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".safetensors"));
        if let Some(step) = step.and_then(|digits| digits.parse().ok()) {
            files.push((step, path));
        }
    }
    files.sort();
    Ok(files)
}

fn io(path: &Path, doing: &'static str, source: std::io::Error) -> WeightsError {
    WeightsError::Io { path: path.display().to_string(), doing, source }
}
