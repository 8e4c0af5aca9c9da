//! `push`: a label set into a store, so that whoever reads there sees all of it or none. The Hub, which has commits, has
//! a way of its own.
//!
//! Data first, manifest last and only if none is there. A claim, also put only if absent, keeps the push of another label
//! set out of the same place; pushes of the same one write the same bytes and may run beside each other.

use std::path::Path;
use std::sync::Arc;

use labels::{Hex, Manifest, Outgoing, Piece};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::location::Location;
#[cfg(feature = "remote")]
use crate::location::Scheme;
use crate::pull::{LARGEST_MANIFEST, MANIFEST};
use crate::store::{Store, Watch, open, read_whole, require_writable};

/// Says which label set is being pushed; gone once it is published.
const CLAIM: &str = ".rslad-push.json";
/// How the names begin by which a store is tried.
pub(crate) const PROBE: &str = ".rslad-probe-";
const LARGEST_CLAIM: u64 = 1 << 16;

/// What a push came to.
#[derive(Debug)]
pub struct Pushed {
    /// What was pushed.
    pub manifest: Manifest,
    /// Files that were sent, the manifest among them.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Files that were there already.
    pub kept: usize,
}

#[derive(Serialize, Deserialize)]
struct Claim {
    id: Hex,
}

/// Verifies a label set and sends it to a place.
///
/// What is there of an earlier push, by length and hash, is not sent again. Refused are places with another label set,
/// or the beginning of one, and stores that write over what was to be created only if absent.
pub fn push(dir: &Path, location: &Location, watch: &Arc<dyn Watch>) -> Result<Pushed> {
    require_writable(location)?;
    #[cfg(feature = "remote")]
    if location.scheme() == Scheme::Hf {
        return crate::remote::push_to_hub(dir, location, watch);
    }
    let store = open(location, watch)?;
    push_to(dir, store.as_ref(), watch.as_ref())
}

/// [`push`] into a store that is open.
pub fn push_to(dir: &Path, store: &dyn Store, watch: &dyn Watch) -> Result<Pushed> {
    let outgoing = verified(dir, watch)?;
    let going = Going { dir, store, watch, outgoing: &outgoing };
    let was_published = going.is_published()?;
    if !was_published {
        going.probe()?;
        going.claim()?;
        // The claim may be ours because whoever had it before has just published.
        if let Err(error) = going.is_published() {
            // With a manifest there nobody needs it. Without, another push of this label set may.
            if matches!(error, Error::OtherSet { .. }) {
                store.remove(CLAIM)?;
            }
            return Err(error);
        }
    }
    let (sent, sent_bytes) = going.send()?;
    let manifest_sent = !was_published && going.publish()?;
    store.remove(CLAIM)?;
    Ok(Pushed {
        sent: sent + usize::from(manifest_sent),
        sent_bytes: sent_bytes + if manifest_sent { outgoing.manifest_bytes.len() as u64 } else { 0 },
        kept: outgoing.files.len() - sent + usize::from(!manifest_sent),
        manifest: outgoing.manifest,
    })
}

/// What is sent, once all of it was verified.
pub(crate) fn verified(dir: &Path, watch: &dyn Watch) -> Result<Outgoing> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Outgoing::of_watched(dir, threads, &Verifying(watch))?.ok_or(Error::Interrupted)
}

/// Who waits for a push and for the verification before it.
struct Verifying<'a>(&'a dyn Watch);

impl labels::Watch for Verifying<'_> {
    fn begin(&self, _: u64) {}
    fn hashed(&self, _: u64) {}
    fn stop(&self) -> bool {
        self.0.stop()
    }
}

/// A push that is under way.
struct Going<'a> {
    dir: &'a Path,
    store: &'a dyn Store,
    watch: &'a dyn Watch,
    outgoing: &'a Outgoing,
}

impl Going<'_> {
    fn id(&self) -> Hex {
        self.outgoing.manifest.id
    }

    /// Whether this very label set is published there; another one is refused.
    fn is_published(&self) -> Result<bool> {
        match read_whole(self.store, MANIFEST, LARGEST_MANIFEST)? {
            None => Ok(false),
            Some(there) if there == self.outgoing.manifest_bytes => Ok(true),
            Some(there) => {
                let place = self.store.place();
                let found = Manifest::of_bytes(&place, &there)
                    .map_or_else(|_| "that of no manifest".into(), |other| other.id.to_string());
                Err(Error::OtherSet { place, wanted: self.id(), found })
            }
        }
    }

    /// Refuses a store that does not honour put-if-absent. Leaves nothing there.
    fn probe(&self) -> Result<()> {
        let key = format!("{PROBE}{:016x}", random());
        // The first may be told that it is there already where the answer to its own request was lost.
        let created = self.store.create(&key, b"rslad asks whether this store honours put-if-absent\n");
        let again = created.and_then(|_| self.store.create(&key, b"it does not\n"));
        let removed = self.store.remove(&key);
        if again? {
            return Err(Error::Overwrites { place: self.store.place() });
        }
        removed
    }

    /// Keeps pushes of other label sets out.
    fn claim(&self) -> Result<()> {
        let ours = serde_json::to_vec(&Claim { id: self.id() }).expect("a claim is plain data");
        if self.store.create(CLAIM, &ours)? {
            return Ok(());
        }
        // None, where the push that had it has just ended: the manifest says which it was.
        let Some(there) = read_whole(self.store, CLAIM, LARGEST_CLAIM)? else { return Ok(()) };
        let found = serde_json::from_slice(&there).map(|Claim { id }| id);
        if found.as_ref().is_ok_and(|&id| id == self.id()) {
            return Ok(());
        }
        Err(Error::OtherPush {
            place: self.store.place(),
            wanted: self.id(),
            found: found.map_or_else(|_| "that cannot be read".into(), |id| id.to_string()),
            claim: CLAIM,
        })
    }

    /// Sends the files that are not there; gives how many, and their bytes.
    fn send(&self) -> Result<(usize, u64)> {
        let (mut missing, mut there) = (Vec::new(), 0);
        for piece in &self.outgoing.files {
            if self.is_there(piece)? {
                there += piece.bytes;
            } else {
                missing.push(piece);
            }
        }
        let bytes = missing.iter().map(|piece| piece.bytes).sum();
        self.watch.begin(there, there + bytes);
        for piece in &missing {
            self.store.write(piece, &self.dir.join(&piece.path), &mut |bytes| self.watch.moved(bytes))?;
        }
        Ok((missing.len(), bytes))
    }

    /// Whether a file is there whole: by the hash that was left with it, or else by reading it.
    fn is_there(&self, piece: &Piece) -> Result<bool> {
        if self.watch.stop() {
            return Err(Error::Interrupted);
        }
        let Some(found) = self.store.look(&piece.path)? else { return Ok(false) };
        if found.bytes != piece.bytes {
            return Ok(false);
        }
        match found.blake3 {
            Some(blake3) => Ok(blake3 == piece.blake3),
            None => is_whole(self.store, piece),
        }
    }

    /// The commit. `false` where another push of the same label set was faster.
    fn publish(&self) -> Result<bool> {
        let created = self.store.create(MANIFEST, &self.outgoing.manifest_bytes)?;
        // Another one's cannot be there: its push would have had the claim. Should somebody write there by other means,
        // it is refused here.
        if !created && !self.is_published()? {
            return Err(Error::Broken {
                place: format!("{}/{MANIFEST}", self.store.place()),
                what: "it was there, and is not any more".into(),
            });
        }
        Ok(created)
    }
}

/// Whether a file is there whole, by reading it.
pub(crate) fn is_whole(store: &dyn Store, piece: &Piece) -> Result<bool> {
    let Some(mut source) = store.read(&piece.path, 0)? else { return Ok(false) };
    let mut hasher = blake3::Hasher::new();
    while let Some(bytes) = source.next()? {
        hasher.update(&bytes);
    }
    Ok(*hasher.finalize().as_bytes() == piece.blake3.0)
}

/// A number that no other process has: the standard library's hash keys are random.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
