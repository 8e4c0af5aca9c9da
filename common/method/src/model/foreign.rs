//! A network out of somebody else's file: which architecture it is, where in the file it lies, and what its images are
//! normalised with. What the file does not say and the user does not either is refused, never guessed.

use engine::Network;
use engine::params::Precision;
use weights::{Checkpoint, LocateError, Located, Mismatch, Sought, WeightsFile};

use super::architecture::Task;
use super::detect::detect;
use super::file::{LoadError, Loaded};
use super::normalise::{Inputs, Normalisation};
use super::state::{lay, wanted};
use super::zoo::build;

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
    mut checkpoint: Checkpoint,
    name: &str,
    said: &Foreign,
    task: Task,
    precision: Precision,
) -> Result<Loaded, LoadError> {
    let (row, network) = build(name, task)?;
    let wants = wanted(&network);
    let key = said.weights_key.as_deref();
    let sought = Sought { wanted: &wants, unused: row.unused, channels: task.input[0], key };
    let located = match checkpoint.locate(&sought) {
        Ok(located) => located,
        Err(LocateError::Mismatch(mismatch)) => {
            return Err(misfit(file, &checkpoint, name, task, mismatch));
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

/// The network behind the normalisation that the user, else the file, says; else as the architecture is.
fn with_inputs(
    file: &WeightsFile,
    network: Network,
    said: Option<&Inputs>,
    located: &Located,
    notes: &mut Vec<String>,
) -> Result<Network, LoadError> {
    let refused = |what: String| LoadError::Inputs { path: file.path().into(), what };
    let constants = |found: &weights::Normaliser| {
        let by = Normalisation::of_file(&found.mean, &found.std);
        by.map_err(|error| refused(format!("{} and {}: {error}", found.names[0], found.names[1])))
    };
    let inputs = match (said, &located.normaliser) {
        (Some(said), found) => {
            if let Some(found) = found {
                let own = Normalisation {
                    mean: found.mean.iter().map(|&m| m.into()).collect(),
                    std: found.std.iter().map(|&s| s.into()).collect(),
                };
                let [mean, std] = &found.names;
                notes.push(format!(
                    "the file's own {mean} and {std} ({own}) are not used: {said} was asked for"
                ));
            }
            said.clone()
        }
        (None, Some(found)) => {
            let by = constants(found)?;
            notes.push(format!("normalises with the file's {} and {}: {by}", found.names[0], found.names[1]));
            Inputs::Normalised(by)
        }
        (None, None) if network.normalisation().is_some() => return Ok(network),
        (None, None) => {
            if let Some(found) = &located.beside {
                let by = constants(found)?;
                let [mean, std] = &found.names;
                return Err(refused(format!(
                    "{mean} and {std} lie beside the network ({by}), and nothing says whether it applies them\nhint: with them: --mean {} --std {}; without: --normalize none",
                    list(&by.mean),
                    list(&by.std)
                )));
            }
            if let Some(hidden) = &located.hidden {
                return Err(refused(format!(
                    "the network is `{}` of a sequence, and `{hidden}` before it has no tensors: a normalisation without buffers stands there as a rule\nhint: say what it does: --mean and --std, --normalize NAME, or --normalize none",
                    located.part
                )));
            }
            return Ok(network);
        }
    };
    match inputs.constants() {
        None => Ok(network.plain()),
        Some((mean, std)) => network.normalised(mean, std).map_err(|error| {
            refused(format!(
                "{inputs} is not for its images: {error}\nhint: give one number for each channel"
            ))
        }),
    }
}

fn list(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

/// The architecture of a file that no name came with.
pub(super) fn recognise(
    file: &WeightsFile,
    checkpoint: &Checkpoint,
    task: Task,
) -> Result<String, LoadError> {
    let path = || file.path().to_owned();
    let mut fitting = fitting(checkpoint, Some(task));
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        0 => {
            let others = self::fitting(checkpoint, None);
            let hint = match others.as_slice() {
                [] => PYTORCH.to_owned(),
                others => format!(
                    "they are those of {} for other images or classes: pass the data set it was trained on",
                    others.join(" or ")
                ),
            };
            Err(LoadError::Unknown { path: path(), task, holds: checkpoint.beginning(), hint })
        }
        _ => Err(LoadError::Ambiguous { path: path(), fitting }),
    }
}

/// The architectures whose tensors lie in a file: at the spot with most tensors where there are any.
fn fitting(checkpoint: &Checkpoint, task: Option<Task>) -> Vec<String> {
    let names = checkpoint.spots().into_iter().map(|spot| {
        let shape_of = |name: &str| checkpoint.shape_at(&spot, name);
        detect(&shape_of, task)
    });
    names.into_iter().find(|names| !names.is_empty()).unwrap_or_default()
}

fn misfit(
    file: &WeightsFile,
    checkpoint: &Checkpoint,
    name: &str,
    task: Task,
    mismatch: Mismatch,
) -> LoadError {
    let others = fitting(checkpoint, Some(task));
    let hint = if let (Some(other), false) = (others.first(), others.iter().any(|other| other == name)) {
        format!("they are those of {}: --arch {other}", others.join(" or "))
    } else if mismatch.missing.is_empty() && mismatch.extra.is_empty() {
        "the architecture is right, its size is not; check the dataset's number of classes, channels and pixels".into()
    } else {
        PYTORCH.into()
    };
    LoadError::Mismatch {
        path: file.path().into(),
        architecture: name.into(),
        task,
        mismatch: Box::new(mismatch),
        hint,
    }
}
