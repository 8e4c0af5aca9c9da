//! `.work`: the lock, the parameters, and a record of each finished shard. It is what a resumed run goes by.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk::Lock;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::folder::names::WORK;
use crate::folder::parameters::Parameters;
use crate::folder::plain::{map_plain, nothing_at, read_dir};
use crate::row::digest::FileDigest;
use crate::write::publish::{Publisher, sync_folder};

const LOCK: &str = "lock";
const PARAMETERS: &str = "parameters.json";
const ANSWERS: &str = "answers-";

/// The staging folder of a label set, locked against other writers for as long as this lives.
pub(crate) struct Work {
    dir: PathBuf,
    path: PathBuf,
    _lock: Lock,
}

/// A finished shard: its files and what they hash to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardRecord {
    pub files: Vec<(String, FileDigest)>,
}

impl Work {
    /// Creates `.work` if need be and takes its lock. A second writer is refused at once.
    pub fn lock(dir: &Path) -> Result<Work> {
        let path = dir.join(WORK);
        let lock_path = path.join(LOCK);
        loop {
            match fs::create_dir_all(&path) {
                // It was there, and a writer that finished just now has removed it.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && (path.is_dir() || nothing_at(&path)) =>
                {
                    continue;
                }
                made => made.map_err(Error::io("create", &path))?,
            }
            match Lock::take(&lock_path) {
                Ok(Some(lock)) => return Ok(Work { dir: dir.into(), path, _lock: lock }),
                Ok(None) => return Err(Error::Locked { dir: dir.into() }),
                // A writer that finished just now has removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {}
                Err(error) => return Err(Error::io("open", &lock_path)(error)),
            }
        }
    }

    /// The parameters this folder was begun with; `None` where a writer stopped before it wrote them.
    pub fn parameters(&self) -> Result<Option<Parameters>> {
        self.load(PARAMETERS)
    }

    /// Writes the parameters down. They come before any shard.
    pub fn begin(&self, parameters: &Parameters) -> Result<()> {
        self.clear(|_| false)?;
        self.store(PARAMETERS, parameters)?;
        sync_folder(&self.dir)
    }

    /// Removes what an interrupted writer left half-written.
    pub fn clear_temporary(&self) -> Result<()> {
        self.clear(|name| name == PARAMETERS || name.starts_with("shard-") || name.starts_with(ANSWERS))
    }

    fn clear(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        for (name, kind) in read_dir(&self.path)? {
            if name != LOCK && !keep(&name) {
                let path = self.path.join(&name);
                let removed = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The record of a shard whose files are all there and still hash to it.
    pub fn shard(&self, index: usize) -> Result<Option<ShardRecord>> {
        let Some(record) = self.load::<ShardRecord>(&record_name(index))? else {
            return Ok(None);
        };
        for (inside, digest) in &record.files {
            match map_plain(&self.dir, inside, digest.bytes) {
                Ok(storage) if FileDigest::of(&storage) == *digest => {}
                Ok(_) | Err(Error::MissingFile { .. } | Error::FileSize { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(record))
    }

    pub fn store_shard(&self, index: usize, record: &ShardRecord) -> Result<()> {
        self.store(&record_name(index), record)
    }

    pub fn forget_shard(&self, index: usize) -> Result<()> {
        remove_if_there(&self.path.join(record_name(index)))
    }

    /// Where the answers to a shard's rows are kept until it is written.
    pub fn answers(&self, index: usize) -> PathBuf {
        self.path.join(format!("{ANSWERS}{index:05}"))
    }

    /// Removes `.work`, after the commit. The label set is published by then and readers pass `.work` by, so what cannot
    /// be removed stays: that is no failure of the commit.
    pub fn remove(self) {
        let (dir, path) = (self.dir.clone(), self.path.clone());
        // The lock goes last: whoever holds it may still assume that the rest is theirs.
        let emptied = self.clear(|_| false).and_then(|()| remove_if_there(&path.join(LOCK)));
        if emptied.is_err() {
            return;
        }
        // NFS keeps a removed file under another name for as long as it is open.
        drop(self);
        let _ = fs::remove_dir(path).and_then(|()| disk::sync_folder(&dir));
    }

    /// Reads a JSON file of `.work`. One that does not parse is as good as none: it is only ever an interrupted run's.
    fn load<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    fn store<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).expect("records are plain data");
        Publisher::new(&self.dir).publish_bytes(&format!("{WORK}/{name}"), &bytes)?;
        Ok(())
    }
}

fn record_name(index: usize) -> String {
    format!("shard-{index:05}.json")
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
