//! Everything that can stop a subcommand, and the exit code that says what sort of trouble it was.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use cli::{Exit, Exits};
use engine::EngineError;
use labels::Hex;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a subcommand stopped: what failed, on which object, what was wanted, what was found; a hint on the second line.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum Error {
    /// What stops `distill` alike: images, weights, label sets, disks.
    #[error(transparent)]
    Common(cli::Error),
    #[error("the teacher could not be run: {0}\nhint: this is a bug in rslad; please report it")]
    Teacher(#[source] EngineError),
    #[error("the label set is finished, but its folder is not as it was left\n{0}")]
    Disturbed(labels::Error),
    #[error("interrupted: {done} of {rows} rows of {} are on the disk\nhint: run the same command again to resume", dir.display())]
    Interrupted { dir: PathBuf, done: usize, rows: usize },
    /// What `repair` restored stays; what a shard was answered so far does not.
    #[error("interrupted: {left} shard(s) of {} are still to be brought back\nhint: run the same command again", dir.display())]
    RepairInterrupted { dir: PathBuf, left: usize },
    /// What `verify` has found so far is not said: whoever asked to stop would take it for all.
    #[error("interrupted: label set {} was not verified to its end\nhint: run the same command again", dir.display())]
    VerifyInterrupted { dir: PathBuf },
    /// `verify` found damage; each problem has been said.
    #[error("label set {}: {problems} problem(s) found\nhint: do not train on it; fetch or make it again", dir.display())]
    Damaged { dir: PathBuf, problems: usize },
    /// `verify --expect` found another label set.
    #[error("label set {}: it is sound, and its content_hash is {found}, wanted {wanted}\nhint: it is another label set than the one that was named; fetch that one", dir.display())]
    Unexpected { dir: PathBuf, wanted: Hex, found: Hex },
    /// `verify --recompute` found rows that this teacher does not answer.
    #[error(
        "label set {}: {beyond} of {rows} recomputed rows are beyond the tolerance; {worst}\nhint: the rows were written by another network, or from other pixels; label again", dir.display()
    )]
    Recomputed { dir: PathBuf, beyond: usize, rows: usize, worst: String },
    #[error("{}: BLAKE3 is {found}, the label set's teacher has {wanted}\nhint: pass the weights file that made the label set", path.display())]
    WrongTeacher { path: PathBuf, wanted: String, found: String },
    /// Flags that clap cannot judge alone.
    #[error("{what}\nhint: {hint}")]
    Usage { what: String, hint: String },
    /// A file of rows or logits that does not fit.
    #[error("{}: {what} is {found}, wanted {wanted}\nhint: {hint}", path.display())]
    Input { path: PathBuf, what: String, wanted: String, found: String, hint: &'static str },
}

impl<E: Into<cli::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Common(error.into())
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Common(error) => error.exit(),
            Self::Damaged { .. } | Self::Unexpected { .. } | Self::Recomputed { .. } => Exit::Failed,
            Self::Disturbed(_) | Self::WrongTeacher { .. } | Self::Usage { .. } | Self::Input { .. } => {
                Exit::Refused
            }
            Self::Teacher(error) => Exit::of_engine(error),
            Self::Interrupted { .. } | Self::RepairInterrupted { .. } | Self::VerifyInterrupted { .. } => {
                Exit::Interrupted
            }
        }
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| cli::Error::io(action, path)(source).into()
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
