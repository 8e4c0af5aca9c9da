//! What stops both binaries alike: the errors of the crates below, each with its exit code.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use engine::EngineError;
use method::attack::NotAnAttack;
use method::eval::EvalError;
use zoo::{LoadError, ModelError};

use crate::{Exit, Exits};

/// Why a command stopped, where the reason is neither stage's own.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum Error {
    #[error(transparent)]
    Data(#[from] data::DataError),
    #[error(transparent)]
    Labels(#[from] labels::Error),
    #[error(transparent)]
    Share(#[from] share::Error),
    #[error(transparent)]
    Weights(#[from] weights::WeightsError),
    #[error(transparent)]
    Load(Box<LoadError>),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Name(#[from] names::Unknown),
    #[error(transparent)]
    Attack(Box<NotAnAttack>),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error("cannot {action} {}: {source}\nhint: {}", path.display(), io_hint(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot listen for Ctrl-C: {0}\nhint: run it again; nothing was written")]
    Signals(#[source] io::Error),
}

/// In a box: it is the largest by far, and every result of a binary has room for its error.
impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

/// In a box likewise.
impl From<NotAnAttack> for Error {
    fn from(error: NotAnAttack) -> Self {
        Self::Attack(Box::new(error))
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl Error {
    /// Wraps an operating system's refusal: `cannot {action} {path}: ..`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    /// What the operating system said, where that is the cause.
    fn cause(&self) -> Option<&io::Error> {
        std::iter::successors(self.source(), |&error| error.source()).find_map(|error| error.downcast_ref())
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Signals(_) => Exit::Disk,
            // The command was right; what a network answered is not.
            Self::Eval(EvalError::NonFinite)
            | Self::Labels(
                labels::Error::TeacherNotFinite { .. } | labels::Error::TeacherMapNotFinite { .. },
            ) => Exit::Failed,
            Self::Engine(error) | Self::Eval(EvalError::Engine(error)) => Exit::of_engine(error),
            Self::Eval(EvalError::Interrupted) => Exit::Interrupted,
            Self::Eval(EvalError::Keep(source)) => Exit::of_io(source),
            Self::Eval(EvalError::State(_)) => Exit::Refused,
            Self::Eval(_) => Exit::Bug,
            Self::Labels(error) if error.kind() == labels::Kind::Damage => Exit::Failed,
            Self::Share(error) if error.kind() == labels::Kind::Damage => Exit::Failed,
            Self::Share(error) if error.kind() == labels::Kind::Busy => Exit::Interrupted,
            // Later, it may be granted.
            Self::Labels(error) if error.kind() == labels::Kind::Busy => Exit::Interrupted,
            _ => self.cause().map_or(Exit::Refused, Exit::of_io),
        }
    }
}

fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            "check the path"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "free some space, then run the same command again"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check who may read and write there"
        }
        _ => "check the path and the disk, then run the same command again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: io::ErrorKind) -> [Error; 4] {
        let path = PathBuf::from("file");
        let weights =
            || weights::WeightsError::Io { path: "file".into(), doing: "read", source: kind.into() };
        [
            data::DataError::Io { path: path.clone(), source: kind.into() }.into(),
            labels::Error::Io { action: "read", path, source: kind.into() }.into(),
            weights().into(),
            LoadError::Weights(weights()).into(),
        ]
    }

    #[test]
    fn the_exit_code_is_the_causes_whoever_noticed_it() {
        for error in refused(io::ErrorKind::StorageFull) {
            assert_eq!(error.exit(), Exit::Disk, "{error}");
        }
        for error in refused(io::ErrorKind::NotFound) {
            assert_eq!(error.exit(), Exit::Refused, "{error}");
        }
    }

    #[test]
    fn damage_and_numbers_that_are_none_are_findings_and_wrong_names_are_refusals() {
        let damage = labels::Error::ExtraFile { path: "x".into() };
        assert_eq!(Error::from(damage).exit(), Exit::Failed);
        assert_eq!(Error::from(EvalError::NonFinite).exit(), Exit::Failed);
        let absent = labels::Error::NotALabelSet { dir: "x".into(), inside: None };
        assert_eq!(Error::from(absent).exit(), Exit::Refused);
        assert_eq!(Error::from(names::Unknown::new("fruit", "aple", ["apple"])).exit(), Exit::Refused);
        assert_eq!(Error::from(candle_core::Error::Msg("shape".into())).exit(), Exit::Bug);
    }
}
