//! Why a configuration was refused.

use method::objective::OptionError;
use names::Unknown;

/// A setting as it was given: by its own flag, or by name.
fn assigned(origin: &str, key: &str, value: &str) -> String {
    if origin == format!("--{key}") {
        format!("{origin} {value}")
    } else {
        format!("{origin}: {key} = {value}")
    }
}

/// Names in a row, `a, b and c`, each behind a prefix.
pub(crate) fn listed(names: &[&str], prefix: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum ConfigError {
    /// A key that is neither a setting nor an option of the objective.
    #[error("{origin}: unknown setting `{key}`\n{hint}")]
    Unknown { origin: String, key: String, hint: String },
    #[error(
        "{}: {why}\nhint: {key}: {help}; `distill train --help` lists every setting with its default",
        assigned(origin, key, value)
    )]
    Value { origin: String, key: &'static str, value: String, why: String, help: &'static str },
    /// A preset or an objective that is not in its table.
    #[error(transparent)]
    Name(#[from] Unknown),
    #[error(
        "objective {objective} has no option `{key}`\nhint: it is an option of {owners}: leave it out, or choose another --objective"
    )]
    OfOthers { objective: &'static str, key: String, owners: String },
    /// An option that the objective does not have, or not with this value.
    #[error(transparent)]
    Option(Box<OptionError>),
    #[error(
        "{path}: not TOML, {what}\nhint: one `key = value` a line, as in the config.toml of any run's folder"
    )]
    Toml { path: String, what: String },
    #[error(
        "cannot read {path}: {source}\nhint: --config takes a TOML file of settings, such as a run's config.toml"
    )]
    Read { path: String, source: std::io::Error },
    #[error("--set {0}: wanted key=value\nhint: as in --set lr=0.05")]
    NoEquals(String),
    /// Settings that have no default.
    #[error("no {} {} given\nhint: pass {}, or a --preset or --config that sets it",
        listed(.keys, ""), if .keys.len() == 1 { "was" } else { "were" }, listed(.keys, "--"))]
    Missing { keys: Vec<&'static str> },
    /// A data set that is none, or not in the size that was asked for.
    #[error(transparent)]
    Data(Box<data::DataError>),
    /// Two settings that contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
}

/// In a box: it would be the largest, and every result has room for its error.
impl From<OptionError> for ConfigError {
    fn from(error: OptionError) -> Self {
        Self::Option(Box::new(error))
    }
}

/// In a box, as the one above.
impl From<data::DataError> for ConfigError {
    fn from(error: data::DataError) -> Self {
        Self::Data(Box::new(error))
    }
}
