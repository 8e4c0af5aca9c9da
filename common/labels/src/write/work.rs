//! `.work`: the lock, the parameters, and a record of each finished shard. It is what a resumed run goes by.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk::{Lock, crash_point};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::folder::answered::{Answered, Answerer, push};
use crate::folder::names::WORK;
use crate::folder::parameters::Parameters;
use crate::folder::plain::{map_plain, nothing_at, read_dir, read_small};
use crate::part::Part;
use crate::read::open::LARGEST_MANIFEST;
use crate::row::digest::FileDigest;
use crate::write::publish::Publisher;

const LOCK: &str = "lock";
const PARAMETERS: &str = "parameters.json";
/// The manifest of a label set that is being fetched.
const INCOMING: &str = "incoming.json";
/// In how many parts the set is written, where it is written in parts.
const PARTS: &str = "parts.json";
const ANSWERS: &str = "answers-";
/// No record is longer: a shard whose rows 65,536 ranges divide among engines has some 10 MB.
const LARGEST_RECORD: u64 = 64 << 20;

/// The staging folder of a label set, locked against other writers for as long as this lives; against those of the same
/// part, where this is one.
pub(crate) struct Work {
    dir: PathBuf,
    path: PathBuf,
    /// Where files are made before they get their names; a part has a folder of its own for that.
    staging: PathBuf,
    part: Option<Part>,
    /// The folder's, and the part's.
    _locks: (Lock, Option<Lock>),
}

/// A finished shard: its rows, its files and what they hash to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardRecord {
    /// Missing in records of earlier versions.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Whose answers its rows are, counted from its first; none where they are those of whoever began the label set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<Answered>,
    pub files: Vec<(String, FileDigest)>,
}

impl ShardRecord {
    /// Whose answers its rows are, counted from its first.
    pub fn whose(&self, parameters: &Parameters) -> Vec<Answered> {
        let mut answered = self.answered.clone();
        if answered.is_empty() {
            push(&mut answered, self.rows.unwrap_or(0), &parameters.answerer());
        }
        answered
    }

    /// Whether those who answered follow on each other from the first row to the last, where they are named.
    fn covers_its_rows(&self) -> bool {
        let mut next = 0;
        let follow = self.answered.iter().all(|one| {
            let [start, end] = one.rows;
            std::mem::replace(&mut next, end) == start && start < end
        });
        follow && (self.answered.is_empty() || self.rows.is_none_or(|rows| rows == next))
    }

    /// Does not say what goes without saying: who began the label set, where they answered all.
    pub fn leave_out(&mut self, begun: &Answerer) {
        if self.answered.iter().all(|one| one.by == *begun) {
            self.answered.clear();
        }
    }
}

impl Work {
    /// Creates `.work` if need be and takes its lock, which the writers of parts share. A second writer, of all or of the
    /// same part, is refused at once.
    pub fn lock(dir: &Path, part: Option<Part>) -> Result<Work> {
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
            let lock = if part.is_some() { Lock::share(&lock_path) } else { Lock::take(&lock_path) };
            match lock {
                Ok(Some(lock)) => return Work::locked(dir, path, lock, part),
                Ok(None) => return Err(Error::Locked { dir: dir.into() }),
                // A writer that finished just now has removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {}
                Err(error) => return Err(Error::io("open", &lock_path)(error)),
            }
        }
    }

    /// Whether this is the only writer.
    pub fn is_of_all(&self) -> bool {
        self.part.is_none()
    }

    /// Takes the lock of a part beside the folder's.
    fn locked(dir: &Path, path: PathBuf, lock: Lock, part: Option<Part>) -> Result<Work> {
        let dir = dir.to_path_buf();
        let Some(Part { index, of }) = part else {
            return Ok(Work { dir, staging: path.clone(), path, part, _locks: (lock, None) });
        };
        let staging = path.join(format!("part-{index}-of-{of}"));
        fs::create_dir_all(&staging).map_err(Error::io("create", &staging))?;
        let its_path = staging.join(LOCK);
        match Lock::take(&its_path).map_err(Error::io("open", &its_path))? {
            Some(its) => Ok(Work { dir, staging, path, part, _locks: (lock, Some(its)) }),
            None => Err(Error::PartLocked { dir, part: Part { index, of } }),
        }
    }

    /// The parameters this folder was begun with; `None` where a writer stopped before it wrote them.
    pub fn parameters(&self) -> Result<Option<Parameters>> {
        self.load(PARAMETERS)
    }

    /// Writes the parameters down, which come before any shard, and gives those that stand: another part may have been
    /// faster.
    pub fn begin(&self, parameters: &Parameters) -> Result<Parameters> {
        if self.part.is_none() {
            self.clear(|_| false)?;
        }
        self.store_once(PARAMETERS, parameters)
    }

    /// Has every part agree on how many there are.
    pub fn agree_on_parts(&self) -> Result<()> {
        let Some(part) = self.part else { return Ok(()) };
        let found = self.load(PARTS)?.map_or_else(|| self.store_once(PARTS, &part.of), Ok)?;
        let agreed = found == part.of;
        if agreed { Ok(()) } else { Err(Error::OtherParts { dir: self.dir.clone(), wanted: part, found }) }
    }

    /// Removes what an interrupted writer left half-written; only what is its own, where it is a part's.
    pub fn clear_temporary(&self) -> Result<()> {
        let kept = |name: &str| name == PARAMETERS || name.starts_with("shard-") || name.starts_with(ANSWERS);
        self.clear(|name| self.part.is_none() && kept(name))
    }

    fn clear(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        for (name, kind) in read_dir(&self.staging)? {
            if name != LOCK && !keep(&name) {
                let path = self.staging.join(&name);
                crash_point("clear", &path);
                let removed = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The record of a shard whose files are all there and still hash to it.
    pub fn shard(&self, index: usize, parameters: &Parameters) -> Result<Option<ShardRecord>> {
        whole_shard(&self.dir, index, parameters)
    }

    /// Whether somebody has a record of the shard; what it says is not looked at.
    pub fn has_shard(&self, index: usize) -> bool {
        self.path.join(record_name(index)).exists()
    }

    pub fn store_shard(&self, index: usize, record: &ShardRecord) -> Result<()> {
        self.store(&record_name(index), record)
    }

    pub fn forget_shard(&self, index: usize) -> Result<()> {
        remove_if_there(&self.path.join(record_name(index)))
    }

    /// The manifest of the label set that was begun to be fetched into this folder.
    pub fn incoming(&self) -> Result<Option<Vec<u8>>> {
        read_small(&self.path.join(INCOMING), LARGEST_MANIFEST)
    }

    /// Writes down which label set is fetched, which comes before any of its files.
    pub fn store_incoming(&self, manifest: &[u8]) -> Result<()> {
        self.clear(|_| false)?;
        self.publisher().publish_bytes(&format!("{WORK}/{INCOMING}"), manifest)?;
        Ok(())
    }

    /// Where the answers to a shard's rows are kept until it is written.
    pub fn answers(&self, index: usize) -> PathBuf {
        answers_of(&self.dir, index)
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
        crash_point("remove", &path);
        let _ = fs::remove_dir(path).and_then(|()| disk::sync_folder(&dir));
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        load(&self.path.join(name))
    }

    fn store<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).expect("records are plain data");
        self.publisher().publish_bytes(&format!("{WORK}/{name}"), &bytes)?;
        Ok(())
    }

    /// Stores a value that several writers may store at the same moment; gives the one that stands.
    fn store_once<T: Serialize + for<'de> Deserialize<'de>>(&self, name: &str, value: &T) -> Result<T> {
        match self.store(name, value) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
            stored => stored?,
        }
        let unreadable = || Error::ManifestSyntax {
            path: self.path.join(name),
            detail: "it was cut short, and is not this part's to mend: run once without --part".into(),
        };
        self.load(name)?.ok_or_else(unreadable)
    }

    /// Where files are made before they get their names.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// What puts this writer's files in their places.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(&self.dir, &self.staging)
    }
}

/// Reads a JSON file of `.work`. One that does not parse, or is longer than any is, is as good as none: it is only ever an
/// interrupted run's.
fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let bytes = read_small(path, LARGEST_RECORD)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The record of a shard, its files not looked at; nobody is locked out for it.
pub(crate) fn record_of(dir: &Path, index: usize, parameters: &Parameters) -> Result<Option<ShardRecord>> {
    let record = load::<ShardRecord>(&dir.join(WORK).join(record_name(index)))?;
    let paths = |record: &ShardRecord| record.files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let sound = |record: &ShardRecord| {
        record.covers_its_rows() && paths(record).into_iter().eq(parameters.files_of(index))
    };
    Ok(record.filter(sound))
}

/// Whether a label set was begun in a folder, and is not finished.
pub(crate) fn is_begun(dir: &Path) -> bool {
    dir.join(WORK).join(PARAMETERS).exists()
}

/// The record of a shard whose files are all there and still hash to it.
pub(crate) fn whole_shard(dir: &Path, index: usize, parameters: &Parameters) -> Result<Option<ShardRecord>> {
    let Some(record) = record_of(dir, index, parameters)? else {
        return Ok(None);
    };
    for (inside, digest) in &record.files {
        match map_plain(dir, inside, digest.bytes) {
            Ok(storage) if FileDigest::of(&storage) == *digest => {}
            Ok(_) | Err(Error::MissingFile { .. } | Error::FileSize { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(record))
}

/// What a label set that is being written was begun with, as far as it may be believed; nobody is locked out for it.
pub(crate) fn begun(dir: &Path) -> Result<Parameters> {
    let path = dir.join(WORK).join(PARAMETERS);
    let bytes = read_small(&path, LARGEST_RECORD)?.ok_or_else(|| Error::Unfinished { dir: dir.into() })?;
    let parameters: Parameters = serde_json::from_slice(&bytes)
        .map_err(|error| Error::ManifestSyntax { path: path.clone(), detail: error.to_string() })?;
    parameters.validate(&path)?;
    Ok(parameters)
}

/// The shards that somebody has a record of; what it says is not looked at.
pub(crate) fn recorded(dir: &Path) -> Result<BTreeSet<usize>> {
    let names = read_dir(&dir.join(WORK))?;
    let index = |name: &str| name.strip_prefix("shard-")?.strip_suffix(".json")?.parse().ok();
    Ok(names.iter().filter_map(|(name, _)| index(name)).collect())
}

/// Where the answers to a shard's rows are kept until it is written.
pub(crate) fn answers_of(dir: &Path, index: usize) -> PathBuf {
    dir.join(WORK).join(format!("{ANSWERS}{index:05}"))
}

fn record_name(index: usize) -> String {
    format!("shard-{index:05}.json")
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    crash_point("remove", path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
