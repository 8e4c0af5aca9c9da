//! A folder as a store: `file://`, which every build has. Files appear whole, synced, under their names.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use disk::{Existing, Lock};
use labels::Piece;

use crate::error::{Error, Result};
use crate::push::PROBE;
use crate::store::{Found, Source, Store, Watch};

/// Bytes moved between two looks at whether to stop.
const PIECE: usize = 1 << 20;
/// Whoever pushes shares it; who has it alone may tidy up.
const LOCK: &str = ".rslad-push.lock";

/// A folder that other machines can read, or a disk that is carried there.
pub struct Folder {
    root: PathBuf,
    place: String,
    watch: Arc<dyn Watch>,
    /// Held from the first file that is written.
    lock: Mutex<Option<Lock>>,
}

impl Folder {
    /// This folder, which need not be there before something is written; `place` is what messages call it.
    pub fn at(root: PathBuf, place: String, watch: Arc<dyn Watch>) -> Folder {
        Folder { root, place, watch, lock: Mutex::new(None) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The path with its folder made, and the lock held.
    fn prepared(&self, key: &str) -> Result<PathBuf> {
        let path = self.path(key);
        let folder = path.parent().expect("a key has a folder, the store's own");
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let lock = self.path(LOCK);
            let locked = |taken: io::Result<Option<Lock>>| taken.map_err(Error::io("lock", &lock));
            if let Some(_alone) = locked(Lock::take(&lock))? {
                self.tidy().map_err(Error::io("tidy", &self.root))?;
            }
            *held = locked(Lock::share(&lock))?;
        }
        Ok(path)
    }

    /// Removes what killed pushes left half-written, and their probes. Nobody else may push.
    fn tidy(&self) -> io::Result<()> {
        for folder in ["", "data", "shards"].map(|name| self.path(name)).iter().filter(|path| path.is_dir()) {
            disk::sweep(folder, |_| true)?;
        }
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PROBE) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Store for Folder {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn look(&self, key: &str) -> Result<Option<Found>> {
        let path = self.path(key);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(Found { bytes: found.len(), blake3: None })),
            Ok(_) => Err(Error::io("read", &path)(io::ErrorKind::IsADirectory.into())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::io("look at", &path)(error)),
        }
    }

    fn read(&self, key: &str, from: u64) -> Result<Option<Box<dyn Source>>> {
        let path = self.path(key);
        // A pipe would be waited for.
        if self.look(key)?.is_none() {
            return Ok(None);
        }
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        file.seek(SeekFrom::Start(from)).map_err(Error::io("read", &path))?;
        Ok(Some(Box::new(Reading { file, path, watch: self.watch.clone() })))
    }

    fn write(&self, piece: &Piece, file: &Path, sent: &mut dyn FnMut(u64)) -> Result<()> {
        let from = File::open(file).map_err(Error::io("open", file))?;
        let mut from = Reading { file: from, path: file.into(), watch: self.watch.clone() };
        let path = self.prepared(&piece.path)?;
        let mut refused = None;
        let written = disk::publish(&path, Existing::Replace, |out| {
            let mut hasher = blake3::Hasher::new();
            let stopped = loop {
                match from.next() {
                    Ok(Some(bytes)) => {
                        hasher.update(&bytes);
                        out.write_all(&bytes)?;
                        sent(bytes.len() as u64);
                    }
                    Ok(None) if *hasher.finalize().as_bytes() == piece.blake3.0 => return Ok(()),
                    Ok(None) => break Error::Changed { path: file.into() },
                    Err(error) => break error,
                }
            };
            refused = Some(stopped);
            Err(io::Error::other("it is not to be kept"))
        });
        match refused {
            Some(why) => Err(why),
            None => written.map_err(Error::io("write", &path)),
        }
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.prepared(key)?;
        match disk::publish(&path, Existing::Refuse, |out| out.write_all(bytes)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::io("write", &path)(error)),
        }
    }

    fn remove(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        if self.path(LOCK).exists() {
            // A killed push has left it, if no other is under way.
            self.prepared(key)?;
        }
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => Err(Error::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

/// The last of several pushes leaves no lock behind.
impl Drop for Folder {
    fn drop(&mut self) {
        let held = self.lock.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(shared) = held.take() else { return };
        drop(shared);
        let lock = self.path(LOCK);
        if let Ok(Some(_alone)) = Lock::take(&lock) {
            // What stays is hidden and empty.
            let _ = fs::remove_file(&lock);
        }
    }
}

/// A file that is read.
struct Reading {
    file: File,
    path: PathBuf,
    watch: Arc<dyn Watch>,
}

impl Source for Reading {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.watch.stop() {
            return Err(Error::Interrupted);
        }
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(PIECE as u64).read_to_end(&mut bytes);
        read.map_err(Error::io("read", &self.path))?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
