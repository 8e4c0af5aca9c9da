//! What a foreign network's images are normalised with: the user's word, else the file's, else what its architecture does.
//! Constants that nobody is known to apply are refused until the user says.

use engine::Network;
use weights::{Located, Normaliser, WeightsFile};

use super::loaded::LoadError;
use super::normalise::{Inputs, Normalisation};

/// The network behind the normalisation that the user, else the file, says; else as the architecture is.
pub(super) fn with_inputs(
    file: &WeightsFile,
    network: Network,
    said: Option<&Inputs>,
    located: &Located,
    notes: &mut Vec<String>,
) -> Result<Network, LoadError> {
    let refused = |what: String| LoadError::Inputs { path: file.path().into(), what };
    let constants = |found: &Normaliser| {
        let by = Normalisation::of_file(&found.mean, &found.std);
        by.map_err(|error| {
            let what = error.to_string();
            let what = what.lines().next().unwrap_or_default();
            refused(format!(
                "{}: {what}\nhint: say what the network takes: --mean and --std, or --normalize none",
                names_of(found)
            ))
        })
    };
    let inputs = match (said, &located.normaliser) {
        (Some(said), found) => {
            for found in found.iter().chain(&located.beside) {
                let own = Inputs::Normalised(Normalisation::as_in_file(&found.mean, &found.std));
                if own != *said {
                    notes.push(format!(
                        "the file's {} ({own}) are not used: you asked for {said}",
                        names_of(found)
                    ));
                }
            }
            notes.extend(unused(&network, said));
            said.clone()
        }
        (None, Some(found)) => {
            let by = constants(found)?;
            notes.push(format!("normalises with the file's {}: {by}", names_of(found)));
            for other in
                located.beside.iter().filter(|other| other.mean != found.mean || other.std != found.std)
            {
                let other_by = Normalisation::as_in_file(&other.mean, &other.std);
                notes.push(format!("the file's {} ({other_by}) are not used", names_of(other)));
            }
            Inputs::Normalised(by)
        }
        (None, None) if network.normalisation().is_some() => return Ok(network),
        (None, None) => {
            if let [first, others @ ..] = located.beside.as_slice() {
                return Err(refused(beside(first, others)));
            }
            if let Some(mean) = &located.half {
                return Err(refused(format!(
                    "{mean} lies beside the network, named like the mean of a normalisation, and no deviation with it\nhint: say what the network takes: --mean and --std, or --normalize none"
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
    behind(file, network, &inputs)
}

/// The network as it is, or behind the normalisation that the user says in place of its own.
pub(super) fn with_said(
    file: &WeightsFile,
    network: Network,
    said: Option<&Inputs>,
    notes: &mut Vec<String>,
) -> Result<Network, LoadError> {
    let Some(said) = said else { return Ok(network) };
    notes.extend(unused(&network, said));
    behind(file, network, said)
}

/// What is to be said of the network's own normalisation where the user says another.
fn unused(network: &Network, said: &Inputs) -> Option<String> {
    let (mean, std) = network.normalisation()?;
    let own = Inputs::Normalised(Normalisation { mean: mean.into(), std: std.into() });
    let name = network.architecture();
    (own != *said).then(|| format!("what {name} normalises with ({own}) is not used: you asked for {said}"))
}

/// The network behind a normalisation, in place of its own.
fn behind(file: &WeightsFile, network: Network, inputs: &Inputs) -> Result<Network, LoadError> {
    let refused = |what: String| LoadError::Inputs { path: file.path().into(), what };
    match inputs.constants() {
        None => Ok(network.plain()),
        Some((mean, std)) => {
            let channels = network.input()[0];
            network.normalised(mean, std).map_err(|_| {
                refused(format!(
                    "its images have {channels} channel(s), wanted one mean and one positive deviation for each; found {inputs}\nhint: name what it was trained with: --mean and --std with {channels} number(s) each, or --normalize NAME"
                ))
            })
        }
    }
}

/// What to say of constants that nobody applies, and of others beside them.
fn beside(first: &Normaliser, others: &[Normaliser]) -> String {
    let by = |found: &Normaliser| Normalisation::as_in_file(&found.mean, &found.std);
    let found = |one| format!("{} ({})", names_of(one), by(one));
    let flags = |one| format!("--mean {} --std {}", list(&by(one).mean), list(&by(one).std));
    let all = || std::iter::once(first).chain(others).take(3);
    format!(
        "{} lie beside the network, and nothing says whether it applies them\nhint: with them: {}; without: --normalize none",
        all().map(found).collect::<Vec<_>>().join("; "),
        all().map(flags).collect::<Vec<_>>().join(", or ")
    )
}

fn names_of(found: &Normaliser) -> String {
    match &found.names {
        [both, other] if both == other => both.clone(),
        [mean, std] => format!("{mean} and {std}"),
    }
}

fn list(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}
