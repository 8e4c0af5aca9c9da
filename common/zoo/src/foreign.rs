//! A network out of somebody else's file: which architecture it is, where in the file it lies, and what its images are
//! normalised with. What the file does not say and the user does not either is refused, never guessed.

use engine::Network;
use engine::params::Precision;
use weights::{Checkpoint, LocateError, Located, Mismatch, Sought, Spot, WeightsFile};

use super::architecture::Task;
use super::detect::detect;
use super::inputs::with_inputs;
use super::loaded::{LoadError, Loaded};
use super::normalise::Inputs;
use super::state::{lay, wanted};
use super::table::build;

/// What a user says of a network that arrives in a file; all of it may be left to the file where the file says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foreign {
    /// The architecture.
    pub architecture: Option<String>,
    /// Which part of a checkpoint.
    pub weights_key: Option<String>,
    /// What the network gets to see: before what the file says, and before what the architecture does.
    pub inputs: Option<Inputs>,
}

impl From<Option<&str>> for Foreign {
    fn from(architecture: Option<&str>) -> Self {
        Self { architecture: architecture.map(str::to_owned), ..Self::default() }
    }
}

impl From<&Foreign> for Foreign {
    fn from(foreign: &Foreign) -> Self {
        foreign.clone()
    }
}

/// The way for networks that are not in the zoo.
const PYTORCH: &str = "a network that rslad does not know answers through PyTorch: `label plan`, tools/label_with_pytorch.py, `label import`";

/// Finds the network of that name in a file, with what it normalises with, and reads it.
pub(super) fn find(
    file: &WeightsFile,
    checkpoint: Checkpoint,
    name: &str,
    said: &Foreign,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    let (row, network) = build(name, task)?;
    lay_in(file, checkpoint, (row.unused, network), said, precision)
}

/// [`find`] for a network, and prefixes of tensors that it does not use.
pub(super) fn lay_in(
    file: &WeightsFile,
    mut checkpoint: Checkpoint,
    (unused, network): (&[&str], Network),
    said: &Foreign,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    let task = Task { input: network.input(), classes: network.classes() };
    let wants = wanted(&network);
    let key = said.weights_key.as_deref();
    let is_normalised = said.inputs.is_some();
    let sought = Sought { wanted: &wants, unused, input: task.input, key, is_normalised };
    let located = match checkpoint.locate(&sought) {
        Ok(located) => located,
        Err(LocateError::Mismatch(mismatch)) => {
            return Err(misfit(file, &checkpoint, network.architecture(), task, mismatch));
        }
        Err(LocateError::Problem(problem)) => return Err(file.refuse(problem).into()),
        Err(error) => return Err(LoadError::Locate { path: file.path().into(), error: Box::new(error) }),
    };
    let mut notes = notes(&located);
    let network = with_inputs(file, network, said.inputs.as_ref(), &located, &mut notes)?;
    let params = lay(&network, located.tensors.iter().map(|(index, tensor)| (*index, tensor)), precision);
    let blake3 = file.blake3().to_hex().to_string();
    Ok(Loaded { network, params, blake3, part: located.part, notes })
}

/// What is to be said of where the network was found.
fn notes(located: &Located) -> Vec<String> {
    let mut notes = Vec::new();
    if !located.part.is_empty() {
        notes.push(format!("took the network in `{}`", located.part));
    }
    if !located.left.is_empty() {
        notes.push(format!("left aside: {}", located.left.join("; ")));
    }
    notes
}

/// The architecture of a file that no name came with.
pub(super) fn recognise(
    file: &WeightsFile,
    checkpoint: &Checkpoint,
    key: Option<&str>,
    task: Task,
) -> Result<String, LoadError> {
    let path = || file.path().to_owned();
    let place = |error| {
        let error = match error {
            LocateError::Key { key, there } => {
                let known = fitting(checkpoint, None, Some(task)).unwrap_or_default();
                let known: Vec<String> = known
                    .into_iter()
                    .filter(|(part, _)| !part.is_empty())
                    .map(|(part, _)| part + " (fits)")
                    .collect();
                LocateError::Key { key, there: if known.is_empty() { there } else { known } }
            }
            other => other,
        };
        LoadError::Locate { path: path(), error: Box::new(error) }
    };
    let found = fitting(checkpoint, key, Some(task)).map_err(place)?;
    let mut names = distinct(&found);
    match found.as_slice() {
        [] => {
            if let Some(problem) = checkpoint.unreadable() {
                return Err(file.refuse(problem.clone()).into());
            }
            let others = distinct(&fitting(checkpoint, key, None).map_err(place)?);
            let hint = match others.as_slice() {
                [] => PYTORCH.to_owned(),
                others => format!(
                    "they are those of {} for other images or classes: pass the data set it was trained on",
                    others.join(" or ")
                ),
            };
            Err(LoadError::Unknown {
                path: path(),
                task: Box::new(task),
                holds: checkpoint.beginning(),
                hint,
            })
        }
        _ if names.len() == 1 => Ok(names.remove(0)),
        [(_, fitting), rest @ ..] if rest.iter().all(|(_, others)| others == fitting) => {
            Err(LoadError::Ambiguous { path: path(), fitting: fitting.clone() })
        }
        parts => {
            let shown = |(part, names): &(String, Vec<String>)| format!("{} in `{part}`", names.join(" or "));
            let networks = parts.iter().take(4).map(shown).collect();
            Err(LoadError::Networks { path: path(), networks, key: parts[0].0.clone() })
        }
    }
}

/// What may lie in a file, and where: at each spot that is not inside another of them, the architectures whose tensors
/// are there.
fn fitting(
    checkpoint: &Checkpoint,
    key: Option<&str>,
    task: Option<Task>,
) -> Result<Vec<(String, Vec<String>)>, LocateError> {
    let mut found: Vec<(Spot, Vec<String>)> = Vec::new();
    for spot in checkpoint.spots(key)? {
        if found.iter().any(|(outer, _)| outer.contains(&spot)) {
            continue;
        }
        let names = detect(&|name| checkpoint.shape_at(&spot, name), task);
        if !names.is_empty() {
            found.push((spot, names));
        }
    }
    Ok(found.into_iter().map(|(spot, names)| (checkpoint.shown(&spot), names)).collect())
}

/// Every name once.
fn distinct(found: &[(String, Vec<String>)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in found.iter().flat_map(|(_, names)| names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn misfit(
    file: &WeightsFile,
    checkpoint: &Checkpoint,
    name: &str,
    task: Task,
    mismatch: Mismatch,
) -> LoadError {
    let others = distinct(&fitting(checkpoint, None, Some(task)).unwrap_or_default());
    let is_reparametrised = |(name, _): &(String, Vec<usize>)| {
        name.ends_with("weight_g") || name.ends_with("weight_orig") || name.contains("parametrizations.")
    };
    let hint = if mismatch.extra.iter().any(is_reparametrised) {
        "its weights are kept in factors (weight or spectral normalisation): in PyTorch, torch.nn.utils.remove_weight_norm or its kin, then save the state dict".into()
    } else if let (Some(other), false) = (others.first(), others.iter().any(|other| other == name)) {
        format!("they are those of {}: --arch {other}", others.join(" or "))
    } else if let Some(problem) = checkpoint.unreadable() {
        // Shapes that are not known stand as [] in the lists.
        problem.to_string().replace("\nhint: ", ": ")
    } else if mismatch.missing.is_empty() && mismatch.extra.is_empty() {
        "the architecture is right, its size is not; check the dataset's number of classes, channels and pixels".into()
    } else {
        PYTORCH.into()
    };
    LoadError::Mismatch {
        path: file.path().into(),
        wanted: format!("{name} for {task}"),
        mismatch: Box::new(mismatch),
        hint,
    }
}
