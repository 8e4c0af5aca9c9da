//! Why a command stopped, and the exit code that says so to scripts.

use cli::{Exit, Exits};

use crate::config::ConfigError;
use crate::folder::FolderError;
use crate::step::StepError;

/// Why `train`, `eval` or `bench` stopped before its end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum RunError {
    /// What stops `label` alike: images, weights, label sets, networks.
    #[error(transparent)]
    Common(cli::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A request that cannot be met, and what to do.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Step(#[from] StepError),
    /// A run whose numbers are none any more.
    #[error("epoch {epoch}, step {step}: {}\nleft: {left}\nhint: train again with a lower --lr and another --out, or check the data and the teacher",
        complaint(.error))]
    Diverged { epoch: usize, step: usize, error: Box<StepError>, left: String },
    /// Runs of a sweep that failed; why has been said of each.
    #[error(
        "{failed} of {runs} runs failed; what each said is above\nhint: the others are done; mend these and run the same command again"
    )]
    Sweep { failed: usize, runs: usize },
    /// Another rank stopped, and says why.
    #[error("rank {rank} stopped")]
    Elsewhere { rank: usize, exit: Exit },
    /// Asked to stop; everything is saved.
    #[error("interrupted after step {step}\nhint: run the same command again to go on")]
    Interrupted { step: usize },
    /// Asked to stop; how far the evaluation is, is kept.
    #[error("interrupted\nhint: run the same command again to go on")]
    Paused,
}

/// An error without its hint, where another one is better.
fn complaint(error: &StepError) -> String {
    let text = error.to_string();
    text.split("\nhint:").next().unwrap_or_default().into()
}

impl<E: Into<cli::Error>> From<E> for RunError {
    fn from(error: E) -> Self {
        Self::Common(error.into())
    }
}

impl Exits for RunError {
    fn exit(&self) -> Exit {
        match self {
            // `label verify` finds damage; a run only refuses what it was given.
            Self::Common(cli::Error::Labels(error)) if error.kind() == labels::Kind::Damage => Exit::Refused,
            Self::Common(cli::Error::Share(error)) if error.kind() == labels::Kind::Damage => Exit::Refused,
            Self::Common(error) => error.exit(),
            Self::Sweep { .. }
            | Self::Diverged { .. }
            | Self::Step(StepError::NotFinite(_) | StepError::Diverged) => Exit::Failed,
            Self::Paused | Self::Interrupted { .. } => Exit::Interrupted,
            Self::Elsewhere { exit, .. } => *exit,
            Self::Step(StepError::Engine(error)) => Exit::of_engine(error),
            Self::Folder(FolderError::Io { source, .. }) | Self::Config(ConfigError::Read { source, .. }) => {
                Exit::of_io(source)
            }
            Self::Config(_) | Self::Folder(_) | Self::Refused(_) | Self::Step(StepError::Unlabelled(_)) => {
                Exit::Refused
            }
        }
    }

    fn is_said(&self) -> bool {
        matches!(self, Self::Elsewhere { .. })
    }
}
