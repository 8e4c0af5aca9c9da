//! A label set into a data set of the Hub's. Bytes first, which nobody sees; then a commit, which is there whole or not at
//! all, and is made upon the very commit that was looked at.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use labels::{Form, Hex, Manifest, Outgoing, Piece};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::location::Location;
use crate::pull::{LARGEST_MANIFEST, MANIFEST};
use crate::push::{Pushed, is_whole, verified};
use crate::remote::calls::Calls;
use crate::remote::hub::client::Client;
use crate::remote::hub::repo::Repo;
use crate::remote::hub::upload::{self, Uploads};
use crate::remote::hub::wire::{self, Blob, Entry};
use crate::remote::{Objects, connect, hub};
use crate::store::{Watch, read_whole};

/// The Hub advises against more files a commit.
const MOST_FILES: usize = 99;
/// Bytes of files that are in a commit themselves, beyond which it takes no more of them.
const MOST_BYTES: u64 = 32 << 20;
/// How often somebody else may commit just before us, or undo what we did.
const AGAIN: usize = 20;

/// [`push`](crate::push) to the Hub.
pub(crate) fn push(dir: &Path, location: &Location, watch: &Arc<dyn Watch>) -> Result<Pushed> {
    let repo = Repo::of(location.path());
    repo.require_branch(location)?;
    let no_token = || Error::Denied {
        place: location.to_string(),
        what: "the Hub takes files from those alone whom it knows".into(),
        hint: "set HF_TOKEN to a token that may write, or log in with `hf auth login`".into(),
    };
    let token = hub::token().ok_or_else(no_token)?;
    connect::provide_tls();
    let client = Client::new(Calls::to(location, watch)?, &hub::endpoint(), token)?;
    let outgoing = verified(dir, watch.as_ref())?;
    let going = Going::new(dir, location, client, repo, &outgoing);
    let (sent, sent_bytes) = going.run()?;
    let kept = going.files.len() - sent;
    Ok(Pushed { manifest: outgoing.manifest, sent, sent_bytes, kept })
}

/// A push that is under way.
struct Going<'a> {
    dir: &'a Path,
    location: &'a Location,
    client: Client,
    repo: Repo,
    outgoing: &'a Outgoing,
    /// Every file, the manifest last.
    files: Vec<Piece>,
    /// What files are called by Git LFS, as far as somebody asked.
    blobs: RefCell<BTreeMap<usize, Blob>>,
    /// Files that were sent.
    sent: RefCell<BTreeSet<usize>>,
}

impl<'a> Going<'a> {
    fn new(
        dir: &'a Path,
        location: &'a Location,
        client: Client,
        repo: Repo,
        outgoing: &'a Outgoing,
    ) -> Going<'a> {
        let bytes = &outgoing.manifest_bytes;
        let manifest = Piece { path: MANIFEST.into(), bytes: bytes.len() as u64, blake3: Hex::blake3(bytes) };
        let files = outgoing.files.iter().cloned().chain([manifest]).collect();
        Going {
            dir,
            location,
            client,
            repo,
            outgoing,
            files,
            blobs: RefCell::default(),
            sent: RefCell::default(),
        }
    }

    /// Sends and commits what is missing; gives how many files were sent, and their bytes.
    fn run(&self) -> Result<(usize, u64)> {
        let (mut others, mut fewest) = (0, usize::MAX);
        let mut has_begun = false;
        while others < AGAIN {
            let head = self.repo.head(&self.client)?;
            let there =
                Objects::on_hub(self.location, &hub::files_at(&self.repo, &head), &self.client.calls)?;
            let is_published = self.is_published(&there)?;
            let missing = self.missing(&there, &head, is_published)?;
            if !std::mem::replace(&mut has_begun, true) {
                let bytes =
                    |files: &mut dyn Iterator<Item = usize>| files.map(|at| self.files[at].bytes).sum();
                let total: u64 = bytes(&mut (0..self.files.len()));
                self.client.calls.watch.begin(total - bytes(&mut missing.iter().copied()), total);
            }
            if missing.is_empty() {
                let sent = self.sent.borrow();
                return Ok((sent.len(), sent.iter().map(|&at| self.files[at].bytes).sum()));
            }
            // A commit after which nothing less is missing was none.
            let is_nearer = missing.len() < fewest;
            fewest = fewest.min(missing.len());
            others += usize::from(!self.commit(&head, &missing)? || !is_nearer);
        }
        Err(self.client.broken(format!(
            "somebody else committed there {AGAIN} times meanwhile, or it does not show what was committed"
        )))
    }

    /// Whether this very label set is published there; another one is refused.
    fn is_published(&self, there: &Objects) -> Result<bool> {
        match read_whole(there, MANIFEST, LARGEST_MANIFEST)? {
            None => Ok(false),
            Some(bytes) if bytes == self.outgoing.manifest_bytes => Ok(true),
            Some(bytes) => {
                let place = self.location.to_string();
                let found = Manifest::of_bytes(&place, &bytes)
                    .map_or_else(|_| "that of no manifest".into(), |other| other.id.to_string());
                Err(Error::OtherSet { place, wanted: self.outgoing.manifest.id, found })
            }
        }
    }

    /// The files that are not there as they should be, by their places in order.
    fn missing(&self, there: &Objects, commit: &str, is_published: bool) -> Result<Vec<usize>> {
        let entries = self.repo.files(&self.client, commit)?;
        if !is_published {
            self.refuse_others(&entries)?;
        }
        let entries: BTreeMap<&str, &Entry> =
            entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let mut missing = Vec::new();
        for (at, piece) in self.files.iter().enumerate() {
            let is_there = match entries.get(self.repo.path(&piece.path).as_str()) {
                None => false,
                Some(entry) => match &entry.lfs {
                    Some(blob) => blob.size == piece.bytes && *blob == self.blob(at)?,
                    None => entry.size == piece.bytes && is_whole(there, piece)?,
                },
            };
            if !is_there {
                missing.push(at);
            }
        }
        Ok(missing)
    }

    /// Refuses shards of another label set, which would lie among ours.
    fn refuse_others(&self, entries: &[Entry]) -> Result<()> {
        let ours: BTreeSet<String> = self
            .outgoing
            .manifest
            .shards_of(Form::Both)
            .iter()
            .map(|file| self.repo.path(&file.path))
            .collect();
        let folders = ["data/", "shards/"].map(|folder| self.repo.path(folder));
        let is_other = |entry: &&Entry| {
            folders.iter().any(|folder| entry.path.starts_with(folder)) && !ours.contains(&entry.path)
        };
        match entries.iter().find(is_other) {
            None => Ok(()),
            Some(entry) => Err(Error::Location {
                place: self.location.to_string(),
                what: format!("{} is there, which is none of the label set's", entry.path),
                hint: "push to another folder or branch, or remove what is there".into(),
            }),
        }
    }

    /// Sends some of what is missing and commits it, the manifest with the last. `false` where somebody else has committed
    /// since.
    fn commit(&self, head: &str, missing: &[usize]) -> Result<bool> {
        let modes = self.modes(missing)?;
        let (mut now, mut bytes) = (Vec::new(), 0);
        for (&at, &is_blob) in missing.iter().zip(&modes) {
            bytes += if is_blob { 0 } else { self.files[at].bytes };
            if now.len() == MOST_FILES || (bytes > MOST_BYTES && !now.is_empty()) {
                break;
            }
            now.push((at, is_blob));
        }
        let blobs: Vec<usize> = now.iter().filter(|(_, is_blob)| *is_blob).map(|(at, _)| *at).collect();
        self.send(&blobs)?;
        let summary = format!("Label set with content_hash {}", self.outgoing.manifest.content_hash);
        let mut lines = format!("{}\n", wire::header(&summary, head));
        for &(at, is_blob) in &now {
            let path = self.repo.path(&self.files[at].path);
            let line = if is_blob {
                wire::lfs_file(&path, &self.blob(at)?)
            } else {
                wire::file(&path, &BASE64_STANDARD.encode(self.bytes(at)?))
            };
            lines.extend([line.to_string(), "\n".into()]);
        }
        if !self.repo.commit(&self.client, &lines)? {
            return Ok(false);
        }
        for (at, is_blob) in now {
            if !is_blob && self.sent.borrow_mut().insert(at) {
                self.client.calls.watch.moved(self.files[at].bytes);
            }
        }
        Ok(true)
    }

    /// Whether each of some files goes as a blob.
    fn modes(&self, files: &[usize]) -> Result<Vec<bool>> {
        let mut asked = Vec::new();
        for &at in files {
            let (path, mut sample) = (self.local(at), Vec::new());
            let read = File::open(&path).and_then(|file| file.take(512).read_to_end(&mut sample));
            read.map_err(Error::io("read", &path))?;
            asked.push((self.repo.path(&self.files[at].path), self.files[at].bytes, sample));
        }
        let modes = self.repo.modes(&self.client, &asked)?;
        let modes: BTreeMap<&str, _> = modes.iter().map(|mode| (mode.path.as_str(), mode)).collect();
        let is_blob = |(path, bytes, _): &(String, u64, Vec<u8>)| {
            let unsaid = || self.client.broken(format!("it did not say how {path} goes"));
            let mode = modes.get(path.as_str()).ok_or_else(unsaid)?;
            if mode.is_ignored {
                return Err(Error::Location {
                    place: self.location.to_string(),
                    what: format!("the data set's .gitignore names {path}"),
                    hint: "push to another folder, or change that file".into(),
                });
            }
            // A store has no blob without bytes.
            Ok(mode.goes == "lfs" && *bytes > 0)
        };
        asked.iter().map(is_blob).collect()
    }

    /// Sends the blobs of files that are not there.
    fn send(&self, files: &[usize]) -> Result<()> {
        let id = self.repo.id();
        let uploads = Uploads { client: &self.client, repo: &id, revision: &self.repo.revision };
        for files in files.chunks(upload::AT_ONCE) {
            let blobs: Vec<Blob> = files.iter().map(|&at| self.blob(at)).collect::<Result<_>>()?;
            for (index, actions) in uploads.missing(&blobs)? {
                uploads.send(&blobs[index], &actions, &self.local(files[index]))?;
                self.sent.borrow_mut().insert(files[index]);
            }
        }
        Ok(())
    }

    fn local(&self, at: usize) -> PathBuf {
        self.dir.join(&self.files[at].path)
    }

    /// The bytes of a small file, which is as it was when it was verified.
    fn bytes(&self, at: usize) -> Result<Vec<u8>> {
        let path = self.local(at);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        if Hex::blake3(&bytes) == self.files[at].blake3 { Ok(bytes) } else { Err(Error::Changed { path }) }
    }

    /// What Git LFS calls a file, which is as it was when it was verified.
    fn blob(&self, at: usize) -> Result<Blob> {
        if let Some(blob) = self.blobs.borrow().get(&at) {
            return Ok(blob.clone());
        }
        let path = self.local(at);
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        let (mut sha256, mut blake3, mut piece) = (Sha256::new(), blake3::Hasher::new(), vec![0; 1 << 20]);
        loop {
            if self.client.calls.watch.stop() {
                return Err(Error::Interrupted);
            }
            let count = file.read(&mut piece).map_err(Error::io("read", &path))?;
            if count == 0 {
                break;
            }
            sha256.update(&piece[..count]);
            blake3.update(&piece[..count]);
        }
        if *blake3.finalize().as_bytes() != self.files[at].blake3.0 {
            return Err(Error::Changed { path });
        }
        let oid = Hex(sha256.finalize().into()).to_string();
        let blob = Blob { oid, size: self.files[at].bytes };
        self.blobs.borrow_mut().insert(at, blob.clone());
        Ok(blob)
    }
}
