//! What is other than it was written in a label set that is nevertheless whole: its identity is the manifest and the
//! rows, and people edit cards, fetch one form alone, or write sums of their own.

use std::fmt;
use std::path::PathBuf;

use crate::row::dtype::Form;

/// Something that a reader should say and need not refuse.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The card is another text than the writer's.
    CardChanged {
        /// The card.
        path: PathBuf,
        /// Whether it still quotes the content hash; if not, it may speak of another label set.
        quotes: bool,
    },
    /// SHA256SUMS says something else than the files do.
    SumsChanged {
        /// The file.
        path: PathBuf,
        /// Its first line that differs, counted from 1.
        line: usize,
        /// What the line should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The card or SHA256SUMS is not there.
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// One of the two forms is not there at all; the other has every row.
    FormAbsent {
        /// The label set's folder.
        dir: PathBuf,
        /// The form that is not there.
        form: Form,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::CardChanged { path, quotes: true } => {
                write!(
                    f,
                    "{}: edited since the label set was written; the rows are untouched",
                    path.display()
                )
            }
            Note::CardChanged { path, quotes: false } => write!(
                f,
                "{}: another card than the label set's: it does not quote its content_hash; the rows are untouched",
                path.display()
            ),
            Note::SumsChanged { path, line, wanted, found } => write!(
                f,
                "{}: line {line} is `{found}`, wanted `{wanted}`; the manifest's own hashes hold",
                path.display()
            ),
            Note::Absent { path } => {
                write!(f, "{}: not there; the label set is whole without it", path.display())
            }
            Note::FormAbsent { dir, form } => {
                let other = if *form == Form::Parquet { Form::Safetensors } else { Form::Parquet };
                write!(
                    f,
                    "label set {}: its {form} form is not there; its {other} form suffices",
                    dir.display()
                )
            }
        }
    }
}
