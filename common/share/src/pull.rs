//! `pull`: a label set out of a store into a folder that is none before all of it is there.

use std::path::Path;
use std::sync::Arc;

use labels::{Form, Hex, Incoming, Manifest};

use crate::error::{Error, Result};
use crate::fetching::Fetching;
use crate::location::Location;
use crate::store::{Store, Watch, open, read_whole};

pub(crate) const MANIFEST: &str = "manifest.json";
/// As much as a reader takes.
pub(crate) const LARGEST_MANIFEST: u64 = 256 << 20;
/// A card, licence or SHA256SUMS beyond this is none.
const LARGEST_TEXT: u64 = 256 << 20;
/// What may lie beside the shards, for people.
const BESIDE: [&str; 8] =
    ["README.md", "SHA256SUMS", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "CITATION", "CITATION.cff"];

/// What is wanted of a label set.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// One of the two forms; every one that is there where none is named.
    pub form: Option<Form>,
    /// The content hash that it must have.
    pub content_hash: Option<Hex>,
    /// Shards that arrive at once; what is there in the end is the same for every number.
    pub jobs: usize,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { form: None, content_hash: None, jobs: 4 }
    }
}

/// What a pull came to.
#[derive(Debug)]
pub struct Pulled {
    /// What was pulled.
    pub manifest: Manifest,
    /// Shards that were fetched.
    pub fetched: usize,
    /// Bytes of shards that were fetched; fewer than theirs where some of one was there already.
    pub fetched_bytes: u64,
    /// Shards that were there already.
    pub kept: usize,
    /// The form that is not there to be fetched, where nobody named one.
    pub absent: Option<Form>,
}

/// Fetches a label set into a folder that is empty, absent, or holds a part of it already. Every shard is hashed as it
/// arrives.
pub fn pull(location: &Location, dir: &Path, wanted: Wanted, watch: &Arc<dyn Watch>) -> Result<Pulled> {
    let store = open(location, watch)?;
    pull_from(store.as_ref(), dir, wanted, watch.as_ref())
}

/// [`pull`] out of a store that is open.
pub fn pull_from(store: &dyn Store, dir: &Path, wanted: Wanted, watch: &dyn Watch) -> Result<Pulled> {
    let bytes = manifest_bytes(store)?;
    fetch(store, &bytes, dir, wanted, watch)
}

/// The bytes of the manifest; a place without one holds no label set.
pub(crate) fn manifest_bytes(store: &dyn Store) -> Result<Vec<u8>> {
    let bytes = read_whole(store, MANIFEST, LARGEST_MANIFEST)?;
    bytes.ok_or_else(|| Error::NoLabelSet { place: store.place() })
}

/// Fetches the label set with this manifest.
pub(crate) fn fetch(
    store: &dyn Store,
    bytes: &[u8],
    dir: &Path,
    wanted: Wanted,
    watch: &dyn Watch,
) -> Result<Pulled> {
    let place = store.place();
    let manifest = Manifest::of_bytes(&format!("{place}/{MANIFEST}"), bytes)?;
    let found = manifest.content_hash;
    if let Some(wanted) = wanted.content_hash.filter(|&wanted| wanted != found) {
        return Err(Error::Unexpected { place, wanted, found });
    }
    let (form, absent) = available(store, &manifest, wanted.form)?;
    let incoming = Incoming::begin(dir, &place, bytes)?;
    let pending = incoming.pending_until(form, || watch.stop())?.ok_or(Error::Interrupted)?;
    let shards = manifest.shards_of(form);
    let total: u64 = shards.iter().map(|file| file.bytes).sum();
    let missing: u64 = pending.iter().map(|file| file.bytes - incoming.there(file)).sum();
    watch.begin(total - missing, total);
    let fetched_bytes = Fetching::new(store, &incoming, watch).all(&pending, wanted.jobs)?;
    for name in BESIDE {
        if let Some(text) = if_told(read_whole(store, name, LARGEST_TEXT))? {
            incoming.put_beside(name, &text)?;
        }
    }
    let manifest = incoming.finish()?;
    let kept = shards.len() - pending.len();
    Ok(Pulled { manifest, fetched: pending.len(), fetched_bytes, kept, absent })
}

/// Some stores say that they refuse what is not there, lest anybody learn that it is not.
fn if_told<T>(found: Result<Option<T>>) -> Result<Option<T>> {
    match found {
        Err(Error::Denied { .. }) => Ok(None),
        found => found,
    }
}

/// The forms that can be fetched: the one that is named, which must be there, or every one of which the first shard is.
/// And the one that was left behind, where the set was written in both and nobody named one.
fn available(store: &dyn Store, manifest: &Manifest, named: Option<Form>) -> Result<(Form, Option<Form>)> {
    let first = |form| manifest.shards_of(form).into_iter().next();
    if let Some(form) = named {
        let is_there = match first(form) {
            Some(file) => store.look(&file.path)?.is_some(),
            None => false,
        };
        let no_form = || Error::NoForm { place: store.place(), form };
        return if is_there { Ok((form, None)) } else { Err(no_form()) };
    }
    if manifest.form != Form::Both {
        return Ok((manifest.form, None));
    }
    let mut there = Vec::new();
    for form in [Form::Safetensors, Form::Parquet] {
        let file = first(form).expect("the set was written in both forms");
        if if_told(store.look(&file.path))?.is_some() {
            there.push(form);
        }
    }
    Ok(match there[..] {
        [Form::Safetensors] => (Form::Safetensors, Some(Form::Parquet)),
        [Form::Parquet] => (Form::Parquet, Some(Form::Safetensors)),
        _ => (Form::Both, None),
    })
}
