//! PyTorch checkpoints in the zip form (1.6 and newer): `NAME/data.pkl`, `NAME/data/KEY`, `NAME/byteorder`.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::error::{Problem, SAVE_STATE_DICT};
use super::foreign::ANOTHER_FRAMEWORK;
use super::part::Listing;
use super::pickle;
use super::storages::Storages;
use super::torch;

const FORM: &str = "PyTorch zip checkpoint";

/// Whether the bytes begin like a zip archive.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// What a zip checkpoint holds, and the archive to read it from.
pub(super) fn open(bytes: &[u8]) -> Result<(Listing, Archive<'_>), Problem> {
    let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged("the archive", &error))?;
    let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let folder = names.iter().find_map(|name| match name.strip_suffix("data.pkl")? {
        "" => Some(""),
        folder => folder.strip_suffix('/').filter(|top| !top.contains('/')).map(|_| folder),
    });
    let Some(folder) = folder else {
        if names.iter().any(|name| name == "model.weights.h5") {
            let found = "a Keras model (.keras)".into();
            return Err(Problem::NotWeights { found, hint: ANOTHER_FRAMEWORK });
        }
        let found = if names.iter().any(|name| name.contains(".npy")) {
            "a numpy .npz archive".into()
        } else {
            let first: Vec<String> =
                names.iter().take(3).map(|name| name.chars().take(40).collect()).collect();
            format!("a zip archive without data.pkl ({} entries: {} ..)", names.len(), first.join(", "))
        };
        return Err(Problem::NotWeights { found, hint: "unpack it, or pass the checkpoint itself" });
    };
    if names.iter().any(|name| name.strip_prefix(folder) == Some("constants.pkl")) {
        return Err(Problem::Unsupported {
            what: "the file is a TorchScript program".into(),
            hint: "`torch.save(torch.jit.load(FILE).state_dict(), OTHER)` keeps its weights",
        });
    }
    // PyTorch stores without compression; whatever an entry claims, no more than this is unpacked from it.
    let limit = bytes.len().saturating_mul(8).saturating_add(16 << 20);
    let mut archive = Archive { zip, folder: folder.to_owned(), limit, big_endian: false };
    let program = archive.entry("data.pkl", limit)?;
    if names.iter().any(|name| name.strip_prefix(folder) == Some("byteorder")) {
        archive.big_endian = match archive.entry("byteorder", 16)?.as_slice() {
            b"little" => false,
            b"big" => true,
            other => {
                let what = format!("byteorder is {:?}", String::from_utf8_lossy(other));
                return Err(Problem::damaged(FORM, what));
            }
        };
    }
    let pickle = pickle::load(&program).map_err(|error| Problem::of_pickle(FORM, &error))?;
    Ok((torch::list(&pickle, FORM)?, archive))
}

/// The archive, and the folder in it that PyTorch wrote.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    folder: String,
    /// What may still be unpacked.
    limit: usize,
    big_endian: bool,
}

impl Archive<'_> {
    /// An entry's bytes, checked against its CRC-32; one of more than `most` bytes is refused before it is
    /// unpacked.
    fn entry(&mut self, name: &str, most: usize) -> Result<Vec<u8>, Problem> {
        let path = format!("{}{name}", self.folder);
        let mut entry = self.zip.by_name(&path).map_err(|error| damaged(&path, &error))?;
        let declared = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        if declared > most || declared > self.limit {
            return Err(Problem::Unsupported {
                what: format!(
                    "entry {path} unpacks to {declared} bytes, more than the rest of the file accounts for"
                ),
                hint: SAVE_STATE_DICT,
            });
        }
        let mut bytes = Vec::with_capacity(declared);
        let taken = entry.by_ref().take(declared as u64 + 1).read_to_end(&mut bytes);
        taken.map_err(|error| damaged(&path, &error))?;
        if bytes.len() != declared {
            let what = format!("entry {path}: wanted {declared} bytes, found {}", bytes.len());
            return Err(Problem::damaged(FORM, what));
        }
        self.limit -= declared;
        Ok(bytes)
    }
}

impl Storages for Archive<'_> {
    fn form(&self) -> &'static str {
        FORM
    }

    fn big_endian(&self) -> bool {
        self.big_endian
    }

    fn bytes(&mut self, key: &str, wanted: usize) -> Result<Cow<'_, [u8]>, Problem> {
        let bytes = self.entry(&format!("data/{key}"), wanted)?;
        if bytes.len() != wanted {
            let what = format!("storage {key}: wanted {wanted} bytes, found {}", bytes.len());
            return Err(Problem::damaged(FORM, what));
        }
        Ok(Cow::Owned(bytes))
    }
}

fn damaged(what: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem::damaged(FORM, format!("{what}: {error}"))
}
