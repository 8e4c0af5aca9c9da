//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! One safetensors file holds parameters, statistics and velocity; its metadata holds the run's own state and a
//! digest of all of it, because safetensors itself does not notice a changed bit. Files are written beside and
//! renamed, and the last two are kept, so that a kill at any moment leaves at least one whole.

use std::path::{Path, PathBuf};

use engine::params::{Arena, Precision};
use engine::{Network, Params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zoo::{CHECKPOINT as KEY, NamedTensor};

use crate::objective::Heads;
use weights::{StateDict, WeightsError};

/// In front of the velocity's names.
const VELOCITY: &str = "velocity/";
/// In front of the names of the moving average.
const AVERAGE: &str = "average/";
/// In front of the names of what is trained beside the student, and of its velocity.
const HEAD: &str = "head/";
const HEAD_VELOCITY: &str = "head-velocity/";
/// How many checkpoints are kept.
const KEPT: usize = 2;

/// The tensors of a checkpoint.
#[derive(Clone, Copy)]
pub struct Tensors<'a> {
    /// Parameters and statistics.
    pub params: &'a Params,
    /// The optimiser's velocity.
    pub velocity: &'a Arena,
    /// The moving average of the parameters, where the run keeps one.
    pub average: Option<&'a Params>,
    /// What is trained beside the student.
    pub heads: &'a Heads,
}

/// A checkpoint that was found whole.
pub struct Restored<S> {
    /// Parameters and statistics.
    pub params: Params,
    /// The optimiser's velocity.
    pub velocity: Arena,
    /// The moving average of the parameters, where the run keeps one.
    pub average: Option<Params>,
    /// What is trained beside the student.
    pub heads: Heads,
    /// The run's own state.
    pub state: S,
    /// The file.
    pub path: PathBuf,
}

/// Why a checkpoint's file is none to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Cut short, changed, of another network, or not a checkpoint at all.
    Damaged(String),
    /// Whole, with a state that is not this program's.
    OtherVersion(String),
}

/// What [`Store::latest`] found.
pub struct Found<S> {
    /// The newest checkpoint to go on from.
    pub restored: Option<Restored<S>>,
    /// Newer files that are none, the newest first.
    pub unusable: Vec<(PathBuf, Unusable)>,
}

/// The folder of a run's checkpoints, and which of them this process knows to be whole.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Steps, the oldest first; no more than are kept.
    whole: Vec<usize>,
}

impl Store {
    /// The store in this folder, which need not be there.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.into(), whole: Vec::new() }
    }

    /// The step of the newest checkpoint that this process restored or wrote.
    pub fn newest(&self) -> Option<usize> {
        self.whole.last().copied()
    }

    /// Finds the newest checkpoint to go on from, for `network` and for heads of the names and shapes of these fresh ones.
    pub fn latest<S: DeserializeOwned>(
        &mut self,
        network: &Network,
        precision: Precision,
        heads: &Heads,
    ) -> Result<Found<S>, WeightsError> {
        let mut unusable = Vec::new();
        let mut files = files(&self.folder)?.into_iter().rev();
        for (step, path) in files.by_ref() {
            match restore(&path, network, precision, heads.clone()) {
                Ok(restored) => {
                    let is_whole =
                        |path: &Path| restore::<S>(path, network, precision, heads.clone()).is_ok();
                    let before = files.find(|(_, path)| is_whole(path)).map(|(before, _)| before);
                    self.whole = before.into_iter().chain([step]).collect();
                    return Ok(Found { restored: Some(restored), unusable });
                }
                Err(why) => unusable.push((path, why)),
            }
        }
        Ok(Found { restored: None, unusable })
    }

    /// Removes what is older than the checkpoint that [`Store::latest`] found and the one before it, which a run that died after a
    /// save had no time for.
    pub fn go_on(&self) {
        if let [before, _] = self.whole[..] {
            self.tidy(before);
        }
    }

    /// Writes the checkpoint of `step`, making the folder if need be, then removes what it takes the place of: all that
    /// is older but the one before it.
    pub fn save<S: Serialize>(
        &mut self,
        step: usize,
        moving: Tensors<'_>,
        state: &S,
    ) -> Result<(), WeightsError> {
        std::fs::create_dir_all(&self.folder).map_err(|source| io(&self.folder, "make", source))?;
        let all = tensors(moving);
        let state = serde_json::to_string(state).expect("a run's state is plain data");
        let envelope = envelope(&digest(&all, &state), &state);
        weights::write(&self.folder.join(file_name(step)), all, Some((KEY, &envelope)))?;
        self.whole.retain(|&known| known < step);
        self.whole.push(step);
        self.whole.drain(..self.whole.len().saturating_sub(KEPT));
        self.tidy(step);
        Ok(())
    }

    /// By what is known to be whole, not by the number in a name: files that a run passed over may have higher ones, and
    /// stay until it has come as far. What cannot be removed is tried again after the next checkpoint; this one stands.
    fn tidy(&self, step: usize) {
        let old = files(&self.folder).unwrap_or_default().into_iter();
        for (_, path) in old.filter(|(of, _)| *of < step && !self.whole.contains(of)) {
            disk::crash_point("remove", &path);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Everything a checkpoint holds, under the names it has there.
fn tensors(moving: Tensors<'_>) -> Vec<NamedTensor<'_>> {
    let Tensors { params, velocity, average, heads } = moving;
    let averaged = average.into_iter().flat_map(zoo::tensors);
    zoo::tensors(params)
        .chain(zoo::named(velocity, params.layout().trainable(), VELOCITY))
        .chain(averaged.map(|(name, dtype, shape, bytes)| (format!("{AVERAGE}{name}"), dtype, shape, bytes)))
        .chain(heads.tensors(HEAD))
        .chain(heads.velocities(HEAD_VELOCITY))
        .collect()
}

fn restore<S: DeserializeOwned>(
    path: &Path,
    network: &Network,
    precision: Precision,
    mut heads: Heads,
) -> Result<Restored<S>, Unusable> {
    // Whoever says this names the file.
    let named = format!("{}: ", path.display());
    let damaged = |why: String| {
        let why = first_line(&why);
        Unusable::Damaged(why.strip_prefix(&named).map_or_else(|| why.clone(), Into::into))
    };
    let file = weights::read(path).map_err(|error| damaged(error.to_string()))?;
    let metadata = file.metadata.get(KEY).ok_or_else(|| damaged("not a checkpoint".into()))?;
    let (wanted, state) = opened(metadata).ok_or_else(|| damaged("its state is unreadable".into()))?;
    let [mut values, mut motion, mut averaged, mut head, mut head_motion] =
        std::array::from_fn(|_| StateDict::default());
    for (name, tensor) in file.iter() {
        let (section, name) = if let Some(name) = name.strip_prefix(VELOCITY) {
            (&mut motion, name)
        } else if let Some(name) = name.strip_prefix(AVERAGE) {
            (&mut averaged, name)
        } else if let Some(name) = name.strip_prefix(HEAD) {
            (&mut head, name)
        } else if let Some(name) = name.strip_prefix(HEAD_VELOCITY) {
            (&mut head_motion, name)
        } else {
            (&mut values, name)
        };
        section.insert(name.into(), tensor.clone());
    }
    let fill =
        |state: &StateDict| zoo::fill(network, state, precision).map_err(|error| damaged(error.to_string()));
    let params = fill(&values)?;
    let average = if averaged.is_empty() { None } else { Some(fill(&averaged)?) };
    let mut velocity = Arena::zeros(network.layout().trainable_len(), precision);
    for entry in network.layout().trainable() {
        let tensor = motion.get(&entry.name).filter(|tensor| tensor.shape() == entry.shape);
        let tensor = tensor
            .ok_or_else(|| damaged(format!("no velocity of shape {:?} for {}", entry.shape, entry.name)))?;
        for (place, value) in entry.range.clone().zip(tensor.to_f64()) {
            velocity.set(place, value);
        }
    }
    heads.fill(&head, &head_motion).map_err(damaged)?;
    let average_of = average.as_ref();
    let all = tensors(Tensors { params: &params, velocity: &velocity, average: average_of, heads: &heads });
    let found = digest(&all, state);
    if found != wanted {
        let wanted = &wanted[..8.min(wanted.len())];
        return Err(damaged(format!("its digest is {wanted}.., its contents have {}..", &found[..8])));
    }
    drop(all);
    // Its bytes are as they were written, so that it was another program that wrote them.
    let state = serde_json::from_str(state)
        .map_err(|error| Unusable::OtherVersion(format!("its state is not this version's: {error}")))?;
    Ok(Restored { params, velocity, average, heads, state, path: path.into() })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().into()
}

/// Digest and state in one JSON object.
fn envelope(digest: &str, state: &str) -> String {
    format!("{OPENING}{digest}{MIDDLE}{state}{CLOSING}")
}

/// Both again. The state is the text that was written, not what this program would make of it: a state of another
/// version has its digest too.
fn opened(envelope: &str) -> Option<(&str, &str)> {
    envelope.strip_prefix(OPENING)?.strip_suffix(CLOSING)?.split_once(MIDDLE)
}

const OPENING: &str = "{\"digest\":\"";
const MIDDLE: &str = "\",\"state\":";
const CLOSING: &str = "}";

fn digest(tensors: &[NamedTensor], state: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, _, _, bytes) in tensors {
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

#[cfg(test)]
mod tests;
