//! Everything that can stop a subcommand, and the exit code that says what sort of trouble it was.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use data::DataError;
use engine::EngineError;
use method::model::{LoadError, ModelError};
use weights::WeightsError;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a subcommand stopped: what failed, on which object, what was wanted, what was found; a hint on the second line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The label set, or the request for one.
    #[error(transparent)]
    Labels(#[from] labels::Error),
    /// The images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The teacher's weights.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An architecture.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file that was to be hashed.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The engine refused images that this crate made.
    #[error("the teacher could not be run: {0}\nhint: this is a bug in rslad; please report it")]
    Engine(#[from] EngineError),
    /// A finished label set whose files are not as its manifest says.
    #[error("the label set is finished, but its folder is not as it was left\n{0}")]
    Disturbed(labels::Error),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted: {done} of {shards} shards of {} are on the disk\nhint: run the same command again to resume", dir.display())]
    Interrupted {
        /// The label set.
        dir: PathBuf,
        /// Shards on the disk.
        done: usize,
        /// Shards in all.
        shards: usize,
    },
    /// `verify` found damage; each problem has been printed.
    #[error("label set {}: {problems} problem(s) found\nhint: do not train on it; fetch or make it again", dir.display())]
    Damaged {
        /// The label set.
        dir: PathBuf,
        /// How many.
        problems: usize,
    },
    /// `verify --recompute` found rows that this teacher does not answer.
    #[error(
        "label set {}: {beyond} of {rows} recomputed rows are beyond the tolerance; {worst}\nhint: the rows were written by another network, or from other pixels; label again", dir.display()
    )]
    Recomputed {
        /// The label set.
        dir: PathBuf,
        /// Rows beyond.
        beyond: usize,
        /// Rows recomputed.
        rows: usize,
        /// The worst, in words.
        worst: String,
    },
    /// The teacher is not the one whose weights the manifest records.
    #[error("{}: BLAKE3 is {found}, the label set's teacher has {wanted}\nhint: pass the weights file that made the label set", path.display())]
    WrongTeacher {
        /// The weights file.
        path: PathBuf,
        /// In the manifest.
        wanted: String,
        /// Of the file.
        found: String,
    },
    /// Flags that clap cannot judge alone.
    #[error("{what}\nhint: {hint}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A file of rows or logits that does not fit.
    #[error("{}: {what} is {found}, wanted {wanted}\nhint: {hint}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: String,
        /// What would fit.
        wanted: String,
        /// What is there.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// The disk or the operating system refused.
    #[error("cannot {action} {}: {source}\nhint: {}", path.display(), io_hint(source))]
    Io {
        /// `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The signal handler could not be installed.
    #[error("cannot listen for Ctrl-C: {0}\nhint: run it again; nothing was written")]
    Signals(#[from] std::io::Error),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl Error {
    /// The process's exit code: 1 a check failed, 2 bad usage or input, 74 disk or I/O, 75 interrupted and resumable,
    /// 101 our bug.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Labels(error) => of_labels(error),
            Self::Damaged { .. } | Self::Recomputed { .. } => 1,
            Self::Data(DataError::Io { source, .. })
            | Self::Load(LoadError::Weights(WeightsError::Io { source, .. }))
            | Self::Weights(WeightsError::Io { source, .. })
            | Self::Io { source, .. } => of_io(source),
            Self::Disturbed(_)
            | Self::Data(_)
            | Self::Load(_)
            | Self::Model(_)
            | Self::Weights(_)
            | Self::WrongTeacher { .. }
            | Self::Usage { .. }
            | Self::Input { .. } => 2,
            Self::Signals(_) | Self::Engine(EngineError::Threads { .. }) => 74,
            Self::Engine(_) => 101,
            Self::Interrupted { .. } => 75,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn input(
        path: &Path,
        what: impl Into<String>,
        wanted: impl Display,
        found: impl Display,
        hint: &'static str,
    ) -> Self {
        Self::Input {
            path: path.into(),
            what: what.into(),
            wanted: wanted.to_string(),
            found: found.to_string(),
            hint,
        }
    }
}

fn of_labels(error: &labels::Error) -> u8 {
    match (error, error.kind()) {
        // The teacher's answers are checked as a training loss is: the command was right, its outcome is not.
        (labels::Error::TeacherNotFinite { .. }, _) | (_, labels::Kind::Damage) => 1,
        // A label set that is not there is a slip in the command, not a failing disk.
        (labels::Error::Io { action: "open label set", source, .. }, _) => of_io(source),
        (_, labels::Kind::Io) => 74,
        (_, labels::Kind::Input) => 2,
    }
}

/// A path that names nothing readable is bad input; anything else the system says is the disk's.
fn of_io(source: &io::Error) -> u8 {
    match source.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput => 2,
        _ => 74,
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
