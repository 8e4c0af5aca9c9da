//! What the Hub's interface is told and what it says, as JSON; only what a push takes of it.
//!
//! Sources: <https://huggingface.co/docs/hub/api>, Git LFS' batch interface at
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>, and what `huggingface_hub` 2.4 sends and takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A revision, as far as it names a commit.
#[derive(Deserialize)]
pub(super) struct Revision {
    pub sha: String,
}

/// A file or folder of a commit's tree.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
    #[serde(default)]
    pub size: u64,
    pub lfs: Option<Blob>,
}

/// Bytes that Git LFS stores, by the hexadecimal digits of their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    pub oid: String,
    pub size: u64,
}

/// What the Hub wants to know of a file before it says how it goes.
#[derive(Serialize)]
pub(super) struct Asked {
    pub path: String,
    /// Its first 512 bytes, in base64.
    pub sample: String,
    pub size: u64,
}

/// How files go.
#[derive(Deserialize)]
pub(super) struct Modes {
    pub files: Vec<Mode>,
}

/// How one file goes.
#[derive(Deserialize)]
pub(super) struct Mode {
    pub path: String,
    /// `lfs` or `regular`.
    #[serde(rename = "uploadMode")]
    pub goes: String,
    /// The repository's `.gitignore` names it.
    #[serde(default, rename = "shouldIgnore")]
    pub is_ignored: bool,
}

/// Where blobs go.
#[derive(Deserialize)]
pub(super) struct Batch {
    pub objects: Vec<Object>,
}

/// Where one blob goes; nowhere, if it is there.
#[derive(Deserialize)]
pub(super) struct Object {
    pub oid: String,
    pub actions: Option<Actions>,
    pub error: Option<Refused>,
}

/// Why one blob may not go.
#[derive(Deserialize)]
pub(super) struct Refused {
    pub code: u16,
    pub message: String,
}

/// What is asked for one blob.
#[derive(Deserialize)]
pub(super) struct Actions {
    pub upload: Option<Action>,
    pub verify: Option<Action>,
}

/// One request. An upload whose headers have a `chunk_size` goes in parts, to the addresses that its numbered headers
/// are; `href` is then told of them.
#[derive(Deserialize)]
pub(super) struct Action {
    pub href: String,
    #[serde(default)]
    pub header: BTreeMap<String, Value>,
}

/// What a refusal's body says.
#[derive(Deserialize)]
pub(super) struct Complaint {
    pub error: String,
}

/// Asks where blobs go.
pub(super) fn batch(blobs: &[Blob], revision: &str) -> Value {
    json!({
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": blobs,
        "hash_algo": "sha256",
        "ref": {"name": revision},
    })
}

/// A commit's first line: what it says, and what it is made upon.
pub(super) fn header(summary: &str, parent: &str) -> Value {
    json!({"key": "header", "value": {"summary": summary, "description": "", "parentCommit": parent}})
}

/// The line of a file whose bytes are in the commit.
pub(super) fn file(path: &str, base64: &str) -> Value {
    json!({"key": "file", "value": {"content": base64, "path": path, "encoding": "base64"}})
}

/// The line of a file whose bytes are a blob.
pub(super) fn lfs_file(path: &str, blob: &Blob) -> Value {
    json!({"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": blob.oid, "size": blob.size}})
}
