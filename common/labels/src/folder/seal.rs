//! A manifest as a file: its bytes, its id, and reading it, where nothing is believed before the version and the id.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::row::coding::Coding;
use crate::row::digest::Hex;

const FORMAT: &str = "rslad-labels";
/// The versions that are read. What is written has the lowest that says what it holds.
const VERSIONS: [u32; 3] = [1, 2, 3];

/// The keys that are read before anything else is believed.
#[derive(Deserialize)]
struct Head {
    format: Option<serde_json::Value>,
    format_version: Option<serde_json::Value>,
    id: Option<Hex>,
}

impl Manifest {
    /// What a label set says it is that keeps its answers so.
    pub(crate) fn format(coding: Coding) -> (String, u32) {
        (FORMAT.into(), coding.version())
    }

    /// The file's bytes. `id` is computed, whatever it was.
    pub(crate) fn seal(&mut self) -> Vec<u8> {
        self.id = Hex([0; 32]);
        self.id = Hex::blake3(&self.to_bytes());
        self.to_bytes()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a manifest file: its version first, then its id, then everything else.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest> {
        let syntax = |detail: String| Error::ManifestSyntax { path: path.into(), detail };
        let shown =
            |value: Option<serde_json::Value>| value.map_or("nothing".into(), |value| value.to_string());
        let head: Head = serde_json::from_slice(bytes).map_err(|error| syntax(error.to_string()))?;
        if head.format != Some(FORMAT.into()) {
            let found = shown(head.format);
            return Err(syntax(format!("wanted format \"{FORMAT}\", found {found}")));
        }
        if !VERSIONS.iter().any(|&version| head.format_version == Some(version.into())) {
            return Err(Error::UnknownVersion {
                path: path.into(),
                wanted: VERSIONS.map(|version| version.to_string()).join(" or "),
                found: shown(head.format_version),
            });
        }
        let id = head.id.ok_or_else(|| syntax("it has no id".into()))?;
        let computed = id_of(bytes, &id.to_string());
        if computed != Some(id) {
            if id_of(&without_carriage_returns(bytes), &id.to_string()) == Some(id) {
                return Err(Error::ManifestLineEnds { path: path.into() });
            }
            return Err(Error::ManifestId {
                path: path.into(),
                wanted: computed
                    .map_or("nothing, as it has its id more than once".into(), |id| id.to_string()),
                found: id.to_string(),
            });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| syntax(error.to_string()))?;
        manifest.validate(path)?;
        Ok(manifest)
    }
}

/// Hash of the bytes with the id's digits as zeros; `None` unless the digits occur exactly once.
fn id_of(bytes: &[u8], id: &str) -> Option<Hex> {
    let mut places = bytes.windows(id.len()).enumerate().filter(|(_, window)| *window == id.as_bytes());
    let (start, _) = places.next()?;
    if places.next().is_some() {
        return None;
    }
    let mut zeroed = bytes.to_vec();
    zeroed[start..start + id.len()].fill(b'0');
    Some(Hex::blake3(&zeroed))
}

/// A manifest has none of its own; some programs put one before every line feed of what they take for text.
fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|&byte| byte != b'\r').collect()
}
