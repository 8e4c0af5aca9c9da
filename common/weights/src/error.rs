//! What can be wrong with a weights file.

use super::fit::Mismatch;
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

/// Why a network was not found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// It was found, and cannot be read; or the file holds nothing of the kind.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Nothing in the file fits it.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// Two parts fit, and hold other numbers.
    #[error("{} fit the network and differ: {}\nhint: name the one that is meant: --weights-key {}", count(.0.len()), .0.join(", "), .0.join(" or --weights-key "))]
    Several(Vec<String>),
    /// The part that was asked for is not there.
    #[error("no part `{key}` of it fits the network\nhint: parts that are there: {}", there.join(", "))]
    Key {
        /// What was asked for.
        key: String,
        /// What there is, with what fits first.
        there: Vec<String>,
    },
    /// Tensors beside the network that may act on its answers.
    #[error(
        "the network lies in `{part}`, and beside it what may change its answers: {names}\nhint: if it does not, say so with --weights-key {part}; if it does, let PyTorch answer: `label plan`, tools/label_with_pytorch.py, `label import`"
    )]
    Beside {
        /// Where the network is.
        part: String,
        /// Some of their names.
        names: String,
    },
    /// The file normalises twice, or with numbers that are none.
    #[error("{what}\nhint: say what the network takes: --mean and --std, or --normalize none")]
    Normaliser {
        /// What was found.
        what: String,
    },
}

fn count(parts: usize) -> String {
    if parts == 2 { "two parts".into() } else { format!("{parts} parts") }
}
