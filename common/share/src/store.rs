//! What a store can do, as far as label sets need it.

use std::path::Path;
use std::sync::Arc;

use labels::{Hex, Piece};

use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::location::{Location, Scheme};

/// A place for the files of one label set; keys are paths inside it, with `/`.
///
/// Nothing here waits for longer than a moment once the [`Watch`] that it was opened with says stop; it then fails with
/// [`Error::Interrupted`]. Several threads may read at once.
pub trait Store: Sync {
    /// What is said of it in messages: its URL, without secrets.
    fn place(&self) -> String;

    /// Whether this object is there, and what is known of it.
    fn look(&self, key: &str) -> Result<Option<Found>>;

    /// Reads an object from a byte on, which is before its end or its first; none where it is not there.
    fn read(&self, key: &str, from: u64) -> Result<Option<Box<dyn Source>>>;

    /// Writes a file as an object, over one that is there; readers see the old one or the whole new one. `sent` is told
    /// of bytes that went.
    fn write(&self, piece: &Piece, file: &Path, sent: &mut dyn FnMut(u64)) -> Result<()>;

    /// Writes an object that is not there yet; `false`, and nothing is written, where it is.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool>;

    /// Removes an object; one that is not there is fine.
    fn remove(&self, key: &str) -> Result<()>;
}

/// An object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its length.
    pub bytes: u64,
    /// The BLAKE3 that its writer left with it, where the store keeps such.
    pub blake3: Option<Hex>,
}

/// An object's bytes, piece by piece.
pub trait Source {
    /// The next piece; none at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>>;
}

/// Who looks on, from whatever thread.
pub trait Watch: Send + Sync {
    /// Whether to stop now.
    fn stop(&self) -> bool {
        false
    }

    /// So many bytes are to be moved in all, of which so many were, before.
    fn begin(&self, _before: u64, _total: u64) {}

    /// Bytes that were moved.
    fn moved(&self, _bytes: u64) {}
}

/// Nobody.
impl Watch for () {}

/// The store at a place, to be read, and written where that is possible.
pub fn open(location: &Location, watch: &Arc<dyn Watch>) -> Result<Box<dyn Store>> {
    if let Some(folder) = location.folder() {
        return Ok(Box::new(Folder::at(folder, location.to_string(), watch.clone())));
    }
    #[cfg(feature = "remote")]
    return crate::remote::open(location, watch);
    #[cfg(not(feature = "remote"))]
    Err(Error::NotBuilt { place: location.to_string(), instead: location.by_other_means() })
}

/// Refuses to write to a place that can only be read; before its label set is verified, which takes a while.
pub(crate) fn require_writable(location: &Location) -> Result<()> {
    if !matches!(location.scheme(), Scheme::Http | Scheme::Https) {
        return Ok(());
    }
    let hint = "push to s3://, gs://, az://, hf:// or file://, and have the server show that".into();
    Err(Error::ReadOnly { place: location.to_string(), hint })
}

/// Reads an object of at most so many bytes whole; none where it is not there.
pub(crate) fn read_whole(store: &dyn Store, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let Some(mut source) = store.read(key, 0)? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(piece) = source.next()? {
        bytes.extend(piece);
        if bytes.len() as u64 > most {
            return Err(Error::Location {
                place: format!("{}/{key}", store.place()),
                what: format!("wanted at most {most} bytes, found more"),
                hint: "check the URL: it is no file of a label set".into(),
            });
        }
    }
    Ok(Some(bytes))
}
