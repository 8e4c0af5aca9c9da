//! A label set that is being fetched: a folder that is none until every file of it has arrived and was hashed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use disk::Existing;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{MANIFEST, WORK};
use crate::folder::plain::{nothing_at, read_small};
use crate::folder::records::FileRecord;
use crate::read::open::{LARGEST_MANIFEST, check_file};
use crate::row::dtype::Form;
use crate::travel::arriving::{Arriving, there_of};
use crate::travel::outgoing::is_beside;
use crate::write::publish::sync_folder;
use crate::write::session::refuse_inside;
use crate::write::stock::refuse_occupied;
use crate::write::work::Work;

/// A folder that a label set is fetched into, locked against everybody else who would write there.
///
/// Kill the process at any moment and begin again with the same manifest: what has arrived is hashed and stays, to the
/// last byte of a shard that was on its way. The manifest comes to its place last, so that no reader takes half a label set for one.
pub struct Incoming {
    dir: PathBuf,
    origin: String,
    manifest: Manifest,
    bytes: Vec<u8>,
    work: Work,
    published: bool,
}

impl Manifest {
    /// Reads the bytes of a `manifest.json` from anywhere; `origin` names them in messages. Nothing is believed before
    /// its version, its id and its paths hold.
    pub fn of_bytes(origin: &str, bytes: &[u8]) -> Result<Manifest> {
        Manifest::parse(Path::new(origin), bytes)
    }

    /// The records of a form's shards; of both, Parquet first. None where the set was not written in it.
    pub fn shards_of(&self, form: Form) -> Vec<FileRecord> {
        let of = |wanted: bool, files: &[FileRecord]| if wanted { files.to_vec() } else { Vec::new() };
        let mut files = of(form.has_parquet(), self.parquet_files());
        files.extend(of(form.has_safetensors(), self.safetensors_files()));
        files
    }
}

impl Incoming {
    /// Begins, or goes on with, a label set with this manifest in a folder that is empty, absent or holds a part of it
    /// already. A finished one may be begun again, and is mended.
    ///
    /// `origin` says where it comes from, in messages. Refused are a folder with anything else in it and one that
    /// somebody is writing.
    pub fn begin(dir: &Path, origin: &str, bytes: &[u8]) -> Result<Incoming> {
        let manifest = Manifest::of_bytes(&format!("{origin}/{MANIFEST}"), bytes)?;
        refuse_inside(dir)?;
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let other = |there: &[u8]| {
            let found = Manifest::parse(&dir.join(MANIFEST), there)
                .map_or_else(|_| "that of no manifest".into(), |other| other.id.to_string());
            Error::OtherSet { dir: dir.into(), wanted: manifest.id.to_string(), found }
        };
        let published = || read_small(&dir.join(MANIFEST), LARGEST_MANIFEST);
        match published()? {
            Some(there) if there != bytes => return Err(other(&there)),
            None if !dir.join(WORK).exists() => refuse_occupied(dir, |_| false)?,
            _ => {}
        }
        let work = Work::lock(dir, None)?;
        // What was seen above may be out of date: the lock's last holder may just have published.
        let published = published()?;
        let begun = published.clone().map_or_else(|| work.incoming(), |there| Ok(Some(there)))?;
        match begun {
            Some(there) if there == bytes => {}
            Some(there) => return Err(other(&there)),
            None if work.parameters()?.is_some() => return Err(Error::BeingWritten { dir: dir.into() }),
            None => {
                refuse_occupied(dir, |_| false)?;
                work.store_incoming(bytes)?;
                sync_folder(dir)?;
            }
        }
        Ok(Incoming {
            dir: dir.into(),
            origin: origin.into(),
            manifest,
            bytes: bytes.into(),
            work,
            published: published.is_some(),
        })
    }

    /// What is being fetched.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The shards of a form that are not there as they should be. What is there is hashed.
    pub fn pending(&self, form: Form) -> Result<Vec<FileRecord>> {
        Ok(self.pending_until(form, || false)?.expect("nobody stopped it"))
    }

    /// [`pending`](Incoming::pending); none where it was stopped, which is asked before each shard.
    pub fn pending_until(&self, form: Form, stop: impl Fn() -> bool) -> Result<Option<Vec<FileRecord>>> {
        let mut pending = Vec::new();
        for file in self.manifest.shards_of(form) {
            if stop() {
                return Ok(None);
            }
            match check_file(&self.dir, &file) {
                Ok(_) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(_) => pending.push(file),
            }
        }
        Ok(Some(pending))
    }

    /// Bytes of a shard that came before and are kept.
    pub fn there(&self, file: &FileRecord) -> u64 {
        there_of(self.work.staging(), file)
    }

    /// Begins to take a shard, or goes on with what is there of it. Several may arrive at once, each of them once.
    pub fn arriving<'a>(&self, file: &'a FileRecord) -> Result<Arriving<'a>> {
        Arriving::open(&self.dir, self.work.staging(), &self.origin, file)
    }

    /// Puts a file for people beside the shards: card, `SHA256SUMS`, licence. One that is there stays, as somebody may
    /// have edited it. Panics on any other name.
    pub fn put_beside(&self, name: &str, text: &[u8]) -> Result<()> {
        assert!(is_beside(name), "only what is for people is put beside the shards");
        let path = self.dir.join(name);
        if path.exists() {
            return Ok(());
        }
        disk::sweep_beside(&path).map_err(Error::io("tidy beside", &path))?;
        let placed = disk::publish(&path, Existing::Refuse, |out| out.write_all(text));
        placed.map_err(Error::io("write", &path))
    }

    /// Makes the folder a label set: the manifest comes to its place. One whole form must have arrived.
    pub fn finish(self) -> Result<Manifest> {
        let forms = [Form::Safetensors, Form::Parquet].map(|form| self.manifest.shards_of(form));
        let missing =
            |files: &[FileRecord]| files.iter().find(|file| nothing_at(&self.dir.join(&file.path))).cloned();
        let missing: Vec<_> =
            forms.iter().filter(|files| !files.is_empty()).map(|files| missing(files)).collect();
        if let Some(Some(file)) = missing.iter().min_by_key(|missing| missing.is_some()) {
            return Err(Error::MissingFile { path: self.dir.join(&file.path), wanted: file.bytes });
        }
        if !self.published {
            self.work.publisher().publish_bytes(MANIFEST, &self.bytes)?;
        }
        self.work.remove();
        Ok(self.manifest)
    }
}
