//! What of a label set is sent: the manifest, the shards of the forms that are there, and what stands beside them.

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, SUMS};
use crate::folder::plain::{read_small, visible};
use crate::folder::records::FileRecord;
use crate::read::forms::Forms;
use crate::read::open::load_manifest;
use crate::read::strangers::is_document;
use crate::read::verify::{Unwatched, Watch, processors, require_sound};
use crate::row::digest::Hex;

/// A card, licence or SHA256SUMS beyond this is none.
const LARGEST_TEXT: u64 = 256 << 20;

/// A published label set that is sound, and all that is sent of it.
#[derive(Debug)]
pub struct Outgoing {
    /// What it is.
    pub manifest: Manifest,
    /// The bytes of `manifest.json`, which goes last.
    pub manifest_bytes: Vec<u8>,
    /// Everything else in the order in which it goes: shards, then card, sums and licences.
    pub files: Vec<Piece>,
}

/// One file on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Hex,
}

impl Outgoing {
    /// Verifies a label set, every byte and row, and lists what is sent of it. A form that did not travel to here does not
    /// travel on; a card that was edited goes as it is.
    ///
    /// The error is the first problem of one that is damaged.
    pub fn of(dir: &Path) -> Result<Outgoing> {
        Ok(Outgoing::of_watched(dir, processors(), &Unwatched)?.expect("nobody stopped it"))
    }

    /// [`of`](Outgoing::of) on so many threads; none where it was stopped.
    pub fn of_watched(dir: &Path, threads: usize, watch: &dyn Watch) -> Result<Option<Outgoing>> {
        if require_sound(dir, threads, watch)?.is_none() {
            return Ok(None);
        }
        let (manifest, manifest_bytes) = load_manifest(dir)?;
        let forms = Forms::of(dir, &manifest, &mut Vec::new());
        let mut files: Vec<Piece> = forms.each().flat_map(|(_, files)| files.iter().map(Piece::of)).collect();
        let beside = visible(dir)?.into_iter().filter(|name| is_beside(name));
        for name in beside {
            let path = dir.join(&name);
            let text = read_small(&path, LARGEST_TEXT)?.ok_or(Error::MissingFile { path, wanted: 0 })?;
            files.push(Piece { path: name, bytes: text.len() as u64, blake3: Hex::blake3(&text) });
        }
        Ok(Some(Outgoing { manifest, manifest_bytes, files }))
    }
}

impl Piece {
    fn of(file: &FileRecord) -> Piece {
        Piece { path: file.path.clone(), bytes: file.bytes, blake3: file.blake3 }
    }
}

/// Whether a name is that of a file for people: no row is in it.
pub(crate) fn is_beside(name: &str) -> bool {
    name == CARD || name == SUMS || is_document(name)
}
