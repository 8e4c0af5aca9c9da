//! ONNX models as networks: `onnx:FILE` where an architecture is wanted, the file itself where weights are.
//!
//! A model is a graph of operators. Those that classifiers are made of become nodes of a [`Network`]; what an exporter
//! spreads over several (a padding before its convolution, `x * sigmoid(x)`, the arithmetic of a reshape) becomes the one
//! that was meant, and constants at the entry become the network's own normalisation. Any other operator is refused by
//! its name.
//!
//! The way out is [`model_of`], checked by [`evaluate`], which knows the operators and nothing of the engines; [`quantised`]
//! is the same in eight bits.
//!
//! The network's name is `onnx:` and a digest of its graph: the same graph has one name wherever its file lies.

mod attributes;
mod convolution;
mod entry;
mod error;
mod evaluate;
mod joining;
mod linear;
mod outline;
mod pooling;
mod quantise;
mod shaping;
mod translate;
mod value;
mod whole;
mod write;

pub use error::OnnxError;
pub use evaluate::evaluate;
pub use quantise::{Ranges, folded, quantised, widen};
pub use write::model_of;

use std::path::Path;

use engine::Network;
use engine::params::Precision;
use weights::{StateDict, WeightsFile};

use super::Foreign;
use super::architecture::{Architecture, Task};
use super::blueprint::Blueprint;
use super::inputs::with_said;
use super::loaded::{LoadError, Loaded};
use super::state::fill;
use super::table::{ModelError, build};

/// What stands before the file in an architecture's name.
const PREFIX: &str = "onnx:";
/// How such files end.
const SUFFIX: &str = ".onnx";

/// Networks that a file draws; no name of the zoo's.
pub(super) static ROW: Architecture =
    Architecture::new("onnx:FILE", "the graph of an ONNX model; FILE.onnx alone means the same", |_, _| None);

/// The row of architectures that are files.
pub fn row() -> &'static Architecture {
    &ROW
}

/// The file of an architecture's name, where it is one of these.
pub(super) fn file_of(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX).or_else(|| name.ends_with(SUFFIX).then_some(name))
}

/// Whether a network was drawn by a file: no name in the zoo stands for it.
pub fn is_drawn(network: &Network) -> bool {
    network.architecture().starts_with(PREFIX)
}

/// A network out of a model, with its values under the names of its layout.
pub(super) struct Drawn {
    pub(super) network: Network,
    pub(super) state: StateDict,
    /// What was found and done, a sentence each.
    pub(super) notes: Vec<String>,
}

/// The network that an architecture's name stands for, where a file is meant by it.
pub(super) fn architecture(file: &str, task: Task) -> Result<Network, ModelError> {
    let read = || -> Result<Network, LoadError> {
        let file = WeightsFile::read(Path::new(file))?;
        let (model, _) = file.model()?;
        let drawn = draw(&model, task).map_err(|error| LoadError::onnx(&file, error))?;
        Ok(drawn.network)
    };
    read().map_err(|source| ModelError::File(Box::new(source)))
}

/// The network in an ONNX file, with its values.
pub(super) fn load(
    file: &WeightsFile,
    said: &Foreign,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    let (model, digest) = file.model()?;
    let refused = |error| LoadError::onnx(file, error);
    let Drawn { network, state, mut notes } = draw(&model, task).map_err(refused)?;
    if let Some(wanted) = said.architecture.as_deref().filter(|&wanted| wanted != network.architecture()) {
        let other = build(wanted, task)?.1;
        if other.nodes() != network.nodes() {
            return Err(refused(OnnxError::graph(
                format!("it brings its own graph, {}, and --arch says {wanted}", network.architecture()),
                "drop --arch, or pass the weights as a state dict",
            )));
        }
    }
    if let Some(key) = &said.weights_key {
        return Err(refused(OnnxError::graph(
            format!("a model is one network, and --weights-key says {key}"),
            "drop --weights-key",
        )));
    }
    let network = with_said(file, network, said.inputs.as_ref(), &mut notes)?;
    let params = fill(&network, &state, precision).map_err(|mismatch| {
        refused(OnnxError::graph(mismatch.to_string(), "please report this: it is our bug"))
    })?;
    Ok(Loaded { network, params, blake3: digest.to_hex().to_string(), part: String::new(), notes })
}

/// The name of the network of this graph.
pub(super) fn name_of(graph: &Blueprint) -> String {
    format!("{PREFIX}{}", graph.digest())
}

/// The network that a model draws, for this task.
fn draw(model: &weights::onnx::Model, task: Task) -> Result<Drawn, OnnxError> {
    let (network, state) = translate::translate(model, task)?;
    let input = network.input();
    let blueprint = Blueprint::of(&network).ordered();
    let name = name_of(&blueprint);
    let network = blueprint.network(&name, input);
    let network = network.map_err(|what| OnnxError::graph(what, "export the classifier alone"))?;
    let mut notes = vec![format!(
        "{name}: {} nodes of opset {}{}",
        network.nodes().len(),
        model.opset().unwrap_or_default(),
        if model.producer.is_empty() { String::new() } else { format!(", by {}", model.producer) }
    )];
    if !network.has_batch_norm() {
        notes.push(
            "no BatchNorm in it: an exporter in evaluation mode folds it into the convolutions. The answers are the same; \
             a student of this graph trains without"
                .into(),
        );
    }
    Ok(Drawn { network, state, notes })
}
