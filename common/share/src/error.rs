//! Why a label set did not travel.

use std::io;
use std::path::{Path, PathBuf};

use labels::{Hex, Kind};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal: what failed, where, what was wanted, what was found, and a hint on the second line.
///
/// No message holds a credential: places are shown without what may be secret in them, and what a store says is
/// [redacted](crate::redacted).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum Error {
    #[error(transparent)]
    Labels(#[from] labels::Error),
    #[error("cannot {action} {}: {source}\nhint: check the path and the disk, then run the same command again", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{place}: {what}\nhint: {hint}")]
    Location { place: String, what: String, hint: String },
    #[error(
        "{place}: this build reaches folders alone\nhint: build it with `cargo build --release --features remote`, or move it by {instead}: a label set that was copied whole is one"
    )]
    NotBuilt { place: String, instead: String },
    #[error("{place}: it can be read, not written\nhint: {hint}")]
    ReadOnly { place: String, hint: String },
    #[error(
        "{place}: the store wrote over an object that was to be created only if absent, so that two pushes at once could spoil each other's label set; nothing was pushed\nhint: use a store that honours If-None-Match, or copy the folder by that store's own tool, manifest.json last"
    )]
    Overwrites { place: String },
    #[error(
        "{place}: the store cannot create an object only if it is absent ({what}); nothing was pushed\nhint: use a store that honours If-None-Match, or copy the folder by that store's own tool, manifest.json last"
    )]
    Unconditional { place: String, what: String },
    #[error(
        "{place}: no label set is there: it has no manifest.json\nhint: check the URL; a push that was not finished is finished by the same `label push`"
    )]
    NoLabelSet { place: String },
    #[error(
        "{place}: another label set is there, with id {found}, wanted {wanted}\nhint: push to another place; a published label set is never replaced"
    )]
    OtherSet { place: String, wanted: Hex, found: String },
    #[error(
        "{place}: the push of another label set was begun there, with id {found}, wanted {wanted}\nhint: push to another place, or finish that push; remove {claim} there if nobody will"
    )]
    OtherPush { place: String, wanted: Hex, found: String, claim: &'static str },
    #[error(
        "{place}: its content_hash is {found}, wanted {wanted}\nhint: it is another label set than the one that was named; nothing was fetched"
    )]
    Unexpected { place: String, wanted: Hex, found: Hex },
    #[error("{place}: the label set has no {form} form there\nhint: leave --form out, or name the other one")]
    NoForm { place: String, form: labels::Form },
    #[error(
        "{place}: the manifest lists it, and it is not there\nhint: push the label set again: what is missing is sent"
    )]
    Missing { place: String },
    #[error("{}: it changed while it was sent\nhint: a published label set is never changed; run `label verify`", path.display())]
    Changed { path: PathBuf },
    #[error("{place}: refused: {what}\nhint: {hint}")]
    Denied { place: String, what: String, hint: String },
    #[error("{place}: {what}\nhint: run the same command again; what has arrived stays")]
    Broken { place: String, what: String },
    #[error("interrupted\nhint: run the same command again; what has arrived stays")]
    Interrupted,
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Labels(error) => error.kind(),
            Error::Io { .. } => Kind::Io,
            Error::Missing { .. } | Error::Unexpected { .. } | Error::Changed { .. } => Kind::Damage,
            Error::Broken { .. } | Error::Interrupted => Kind::Busy,
            _ => Kind::Input,
        }
    }

    /// Wraps an operating system's refusal: `cannot {action} {path}: ..`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.into(), source }
    }
}
