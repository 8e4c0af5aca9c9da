//! What can be wrong with a weights file.

use super::pickle::PickleError;

/// Why weights could not be read or written. The file is named first, the hint stands on the second line.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused.
    #[error("{path}: cannot {doing}: {source}\nhint: {}", io_hint(.source))]
    Io {
        /// The file.
        path: String,
        /// `read`, `write` or `hash`.
        doing: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file was read, and its content will not do.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The tensors given to be written contradict themselves (a shape and its bytes, or one name twice).
    #[error(
        "{path}: cannot write tensor {name}: {what}\nhint: this is a bug in the caller; please report it"
    )]
    Unwritable {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// The contradiction.
        what: String,
    },
}

fn io_hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "check who may read and write there",
        std::io::ErrorKind::StorageFull => "free some space and run the command again",
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::IsADirectory => {
            "pass the weights file itself: .safetensors, .pt or .pth"
        }
        _ => "check the disk and the path",
    }
}

/// What is wrong with the content of a weights file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are something other than weights.
    #[error("wanted weights (safetensors or a PyTorch checkpoint), found {found}\nhint: {hint}")]
    NotWeights {
        /// What the bytes look like.
        found: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The form is known, but the bytes break its rules.
    #[error(
        "damaged {form}: {what}\nhint: the file is cut short or changed; download or copy it again and compare its size or checksum with the source"
    )]
    Damaged {
        /// `safetensors file`, `PyTorch zip checkpoint` or `PyTorch pickle checkpoint`.
        form: &'static str,
        /// The broken rule.
        what: String,
    },
    /// The file is whole, but holds what this reader does not take.
    #[error("{what}\nhint: {hint}")]
    Unsupported {
        /// What was found.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
}

/// The hint for every checkpoint whose tensors are there, but not as a state dict.
pub(super) const SAVE_STATE_DICT: &str =
    "load it in PyTorch where it came from, then `torch.save(network.state_dict(), FILE)`";

impl Problem {
    pub(super) fn damaged(form: &'static str, what: impl Into<String>) -> Self {
        Self::Damaged { form, what: what.into() }
    }

    /// A pickle that ran too long is whole, only too large; every other pickle error is damage.
    pub(super) fn of_pickle(form: &'static str, error: &PickleError) -> Self {
        match error {
            PickleError::TooLarge => Self::Unsupported { what: error.to_string(), hint: SAVE_STATE_DICT },
            _ => Self::damaged(form, error.to_string()),
        }
    }
}
