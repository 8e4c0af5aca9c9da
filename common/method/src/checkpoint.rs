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

use crate::model::{self, CHECKPOINT as KEY, NamedTensor};
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
    let averaged = average.into_iter().flat_map(model::tensors);
    model::tensors(params)
        .chain(model::named(velocity, params.layout().trainable(), VELOCITY))
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
    let fill = |state: &StateDict| {
        model::fill(network, state, precision).map_err(|error| damaged(error.to_string()))
    };
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
mod tests {
    use engine::Descent;
    use engine::graph::{Builder, Op};
    use serde::Deserialize;

    use super::*;
    use crate::objective::{Fresh, Initial};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Now {
        loss: f64,
    }

    #[derive(Serialize)]
    struct Later {
        loss: f64,
        mood: &'static str,
    }

    fn network() -> (Network, Params) {
        let (mut builder, input) = Builder::new([1, 1, 1]);
        let flat = builder.node("flat", Op::Flatten, &[input]).unwrap();
        builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat]).unwrap();
        let network = builder.finish("line").unwrap();
        let params = Params::zeros(network.layout(), Precision::F32);
        (network, params)
    }

    fn save<S: Serialize>(store: &mut Store, step: usize, state: &S) {
        let (network, params) = network();
        let velocity = Arena::zeros(network.layout().trainable_len(), Precision::F32);
        let heads = Heads::none(Precision::F32);
        let tensors = Tensors { params: &params, velocity: &velocity, average: None, heads: &heads };
        store.save(step, tensors, state).unwrap();
    }

    fn latest(folder: &Path) -> Found<Now> {
        Store::at(folder).latest(&network().0, Precision::F32, &Heads::none(Precision::F32)).unwrap()
    }

    fn steps(folder: &Path) -> Vec<usize> {
        files(folder).unwrap().into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn the_last_two_written_are_kept_whatever_other_files_call_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for step in [2, 7, 9] {
            std::fs::write(folder.join(file_name(step)), "garbage").unwrap();
        }
        let mut store = Store::at(folder);
        for (step, left) in
            [(1, vec![1, 2, 7, 9]), (3, vec![1, 3, 7, 9]), (5, vec![3, 5, 7, 9]), (8, vec![5, 8, 9])]
        {
            save(&mut store, step, &Now { loss: 0.1 });
            assert_eq!(steps(folder), left, "after step {step}");
        }
        let found = latest(folder);
        assert_eq!(found.restored.unwrap().state, Now { loss: 0.1 });
        assert!(matches!(found.unusable.as_slice(), [(_, Unusable::Damaged(_))]));
    }

    #[test]
    fn a_state_of_another_version_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = Store::at(folder);
        save(&mut store, 4, &Later { loss: 0.1, mood: "sunny" });
        let [(path, Unusable::OtherVersion(why))] = &latest(folder).unusable[..] else {
            panic!("whole, and not ours")
        };
        assert!(why.contains("unknown field `mood`"), "{why}");
        let text = std::fs::read(path).unwrap();
        let at = text.windows(5).position(|bytes| bytes == b"sunny").unwrap();
        let mut changed = text.clone();
        changed[at] ^= 1;
        std::fs::write(path, changed).unwrap();
        assert!(
            matches!(&latest(folder).unusable[..], [(_, Unusable::Damaged(why))] if why.contains("digest"))
        );
    }

    #[test]
    fn heads_come_back_with_their_velocity_and_without_them_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (network, params) = network();
        let velocity = Arena::zeros(network.layout().trainable_len(), Precision::F32);
        let fresh = |bound| {
            let initial = Initial::Uniform(bound);
            let head = |name: &str| Fresh { name: name.into(), shape: vec![3, 2], initial };
            Heads::fresh(&[head("dpk.0.a"), head("dpk.0.b")], 4, Precision::F32)
        };
        let mut heads = fresh(0.3);
        heads.step(Descent { momentum: 0.9, weight_decay: 0.1, rate: 0.1, nesterov: false });
        let kept: Vec<_> =
            heads.iter().map(|(name, values, motion)| (name.to_owned(), values, motion)).collect();
        assert!(kept.iter().all(|(_, _, motion)| motion.iter().any(|&v| v != 0.0)));
        let tensors = Tensors { params: &params, velocity: &velocity, average: None, heads: &heads };
        let mut store = Store::at(folder.path());
        store.save(1, tensors, &Now { loss: 0.1 }).unwrap();
        let found = store.latest::<Now>(&network, Precision::F32, &fresh(1.0)).unwrap();
        let restored = found.restored.unwrap().heads;
        let found: Vec<_> =
            restored.iter().map(|(name, values, motion)| (name.to_owned(), values, motion)).collect();
        assert_eq!(found, kept);
        // A run without heads is not resumed from it, nor one with heads from a checkpoint without.
        assert!(
            matches!(&latest(folder.path()).unusable[..], [(_, Unusable::Damaged(why))] if why.contains("digest"))
        );
        save(&mut store, 2, &Now { loss: 0.1 });
        let found = Store::at(folder.path()).latest::<Now>(&network, Precision::F32, &fresh(1.0)).unwrap();
        let [(_, Unusable::Damaged(why))] = &found.unusable[..] else { panic!("it has no heads") };
        assert!(why.contains("no head of shape [3, 2] for dpk.0.a"), "{why}");
    }

    #[test]
    fn no_checkpoint_with_a_flipped_bit_or_another_length_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        save(&mut Store::at(folder), 4, &Now { loss: 0.1 });
        let path = folder.join(file_name(4));
        let whole = std::fs::read(&path).unwrap();
        let flipped = (0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at * 3 % 8);
            bytes
        });
        let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
        let longer = [&whole[..], &[0]].concat();
        let mut tried = 0;
        for bytes in flipped.chain(cut).chain([longer]) {
            std::fs::write(&path, &bytes).unwrap();
            let found = latest(folder);
            assert!(found.restored.is_none() && found.unusable.len() == 1, "{tried}");
            tried += 1;
        }
        eprintln!("{tried} damaged checkpoints of {} bytes: none was taken", whole.len());
        std::fs::write(&path, &whole).unwrap();
        assert!(latest(folder).restored.is_some());
    }

    #[test]
    fn a_run_that_died_after_a_save_keeps_what_an_undisturbed_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = Store::at(folder);
        for step in [2, 4] {
            save(&mut store, step, &Now { loss: 0.1 });
        }
        let second = std::fs::read(folder.join(file_name(2))).unwrap();
        save(&mut store, 6, &Now { loss: 0.1 });
        // As if nobody had come to remove it.
        std::fs::write(folder.join(file_name(2)), second).unwrap();
        std::fs::write(folder.join(file_name(1)), "garbage").unwrap();
        let (network, _) = network();
        let mut store = Store::at(folder);
        let found = store.latest::<Now>(&network, Precision::F32, &Heads::none(Precision::F32)).unwrap();
        assert!(found.restored.is_some());
        assert_eq!(steps(folder), [1, 2, 4, 6], "whoever only looks changes nothing");
        store.go_on();
        assert_eq!(steps(folder), [4, 6]);
    }

    #[test]
    fn a_folder_that_is_not_there_holds_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let found = latest(&folder.path().join("absent"));
        assert!(found.restored.is_none() && found.unusable.is_empty());
    }
}
