//! Networks from and to files.
//!
//! A file of ours carries its architecture in one metadata key, so it loads by itself; a foreign file needs the
//! architecture's name and the task. Nothing about the run is in a student's file: equal training gives equal bytes.

use std::collections::BTreeMap;
use std::path::Path;

use engine::params::{Precision, Role};
use engine::{Network, Params};
use serde::{Deserialize, Serialize};

use weights::{WeightsError, WeightsFile};

use super::architecture::Task;
use super::blueprint::Blueprint;
use super::foreign::{self, Foreign};
use super::loaded::{LoadError, Loaded};
use super::normalise::{Inputs, Normalisation};
use super::onnx;
use super::spelling::spelled;
use super::state::tensors;
use super::table::build;

/// The metadata key of our files.
const KEY: &str = "rslad";

/// The metadata key of a run's checkpoints, which hold a network among other things and are none.
pub const CHECKPOINT: &str = "rslad-checkpoint";

/// What a file of ours says about its network. Fields in alphabetical order: they are written as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    architecture: String,
    classes: usize,
    /// Of a network that no name in the zoo stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graph: Option<Blueprint>,
    input: [usize; 3],
    /// Of a normalisation that is not the architecture's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    std: Option<Vec<f64>>,
}

/// Loads weights for `task`. What is said of a file is needed where it is not ours, and checked against ours; `None` and
/// `Some("resnet18")` say an architecture and nothing else.
pub fn load(
    path: &Path,
    said: impl Into<Foreign>,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    load_from(&WeightsFile::read(path)?, said, task, precision)
}

/// [`load`] for a file that was read already.
pub fn load_from(
    file: &WeightsFile,
    said: impl Into<Foreign>,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    let mut said = said.into();
    let path = || file.path().to_owned();
    if file.is_onnx() {
        return checked(onnx::load(file, &said, task, precision)?, file);
    }
    let checkpoint = file.open()?;
    if checkpoint.metadata.contains_key(CHECKPOINT) {
        return Err(LoadError::Checkpoint { path: path(), run: run_of(file.path()) });
    }
    let own = description(&checkpoint.metadata).map_err(|what| LoadError::Metadata { path: path(), what })?;
    let own = own.map(|own| own.complete(&mut said, task, file.path())).transpose()?;
    if let Some(network) = own.flatten() {
        let loaded = foreign::lay_in(file, checkpoint, (&[], network), &said, precision)?;
        return checked(loaded, file);
    }
    let (name, mut notes) = if let Some(name) = said.architecture.take() {
        (name, Vec::new())
    } else {
        let name = foreign::recognise(file, &checkpoint, said.weights_key.as_deref(), task)?;
        let note = format!("recognised as {name} by its tensors");
        (name, vec![note])
    };
    let mut loaded = foreign::find(file, checkpoint, &name, &said, task, precision)?;
    notes.append(&mut loaded.notes);
    loaded.notes = notes;
    checked(loaded, file)
}

/// A network whose values are numbers.
fn checked(loaded: Loaded, file: &WeightsFile) -> Result<Loaded, LoadError> {
    let path = || file.path().to_owned();
    check_values(&loaded).map_err(|(name, found)| LoadError::NonFinite { path: path(), name, found })?;
    Ok(loaded)
}

/// The folder of the run that a checkpoint lies in, where it lies as the run wrote it.
fn run_of(checkpoint: &str) -> Option<String> {
    let folder = Path::new(checkpoint).parent().filter(|folder| folder.ends_with("checkpoints"))?;
    let run = folder.parent()?.display().to_string();
    Some(if run.is_empty() { ".".into() } else { run })
}

impl Description {
    /// Says what a file of ours says of itself, and refuses what contradicts it. Gives the network where the file has its
    /// graph.
    fn complete(self, said: &mut Foreign, task: Task, path: &str) -> Result<Option<Network>, LoadError> {
        let path = || path.to_owned();
        let others = |wanted: &&String| spelled(wanted) != self.architecture;
        let wanted = said.architecture.as_ref().filter(others);
        // A name that nobody has is said to be none; a file's is that of its graph.
        let wanted = wanted.map(|wanted| Ok::<_, LoadError>((wanted, build(wanted, task)?.1))).transpose()?;
        if let Some((wanted, _)) = wanted.filter(|(_, network)| network.architecture() != self.architecture) {
            let what = format!("holds a {}; --arch says {wanted}", self.architecture);
            return Err(LoadError::Metadata { path: path(), what });
        }
        let found = Task { input: self.input, classes: self.classes };
        if found != task {
            let (found, wanted) = (found.to_string(), task.to_string());
            return Err(LoadError::Task { path: path(), architecture: self.architecture, found, wanted });
        }
        if let (Some(mean), Some(std), None) = (self.mean, self.std, &said.inputs) {
            let by = Normalisation::new(mean, std);
            let by = by.map_err(|error| LoadError::Metadata { path: path(), what: error.to_string() })?;
            said.inputs = Some(Inputs::Normalised(by));
        }
        if let Some(graph) = self.graph.as_ref().filter(|graph| onnx::name_of(graph) != self.architecture) {
            let what = format!("its graph is {}, and it says another name", onnx::name_of(graph));
            return Err(LoadError::Metadata { path: path(), what });
        }
        let network = self.graph.map(|graph| graph.network(&self.architecture, self.input)).transpose();
        let network = network.map_err(|what| LoadError::Metadata { path: path(), what })?;
        if let Some(network) =
            network.as_ref().filter(|network| network.classes() != self.classes || !onnx::is_drawn(network))
        {
            let (name, classes) = (&self.architecture, self.classes);
            let what =
                format!("its graph, of {} classes, is not that of {name} for {classes}", network.classes());
            return Err(LoadError::Metadata { path: path(), what });
        }
        said.architecture = Some(self.architecture);
        Ok(network)
    }
}

/// The first tensor whose values no network can have.
fn check_values(loaded: &Loaded) -> Result<(), (String, &'static str)> {
    let layout = loaded.params.layout();
    let arenas =
        [(layout.trainable(), loaded.params.trainable()), (layout.statistics(), loaded.params.statistics())];
    for (entries, arena) in arenas {
        for entry in entries {
            let mut values = entry.range.clone().map(|place| arena.get(place));
            if values.clone().any(|value| !value.is_finite()) {
                return Err((entry.name.clone(), "values that are infinite or not numbers (NaN)"));
            }
            if entry.role == Role::RunningVar && values.any(|value| value < 0.0) {
                return Err((entry.name.clone(), "a negative variance"));
            }
        }
    }
    Ok(())
}

fn description(metadata: &BTreeMap<String, String>) -> Result<Option<Description>, String> {
    let Some(text) = metadata.get(KEY) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|e| format!("its `{KEY}` metadata is not a network's: {e}"))
}

/// Writes a network as safetensors: PyTorch's names, and one metadata key with the architecture, input and classes.
pub fn save(path: &Path, network: &Network, params: &Params) -> Result<(), WeightsError> {
    let task = Task { input: network.input(), classes: network.classes() };
    // What every network of the architecture does needs no mention.
    let graph = onnx::is_drawn(network).then(|| Blueprint::of(network));
    let usual = if graph.is_some() { None } else { build(network.architecture(), task).ok() };
    let usual = usual.map(|(_, usual)| usual);
    let usual = usual.as_ref().and_then(Network::normalisation);
    let own = network.normalisation().filter(|own| graph.is_none() && Some(*own) != usual);
    let description = Description {
        architecture: network.architecture().into(),
        classes: network.classes(),
        graph,
        input: network.input(),
        mean: own.map(|(mean, _)| mean.into()),
        std: own.map(|(_, std)| std.into()),
    };
    let text = serde_json::to_string(&description).expect("a description is plain data");
    weights::write(path, tensors(params), Some((KEY, &text)))
}
