//! Putting a file in its place: written beside, hashed on the way, synced, renamed without replacing.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use crate::error::{Error, Result};
use crate::folder::names::WORK;
use crate::row::digest::{FileDigest, HashingWriter};

/// Publishes files of one label set through its `.work`.
pub(crate) struct Publisher {
    dir: PathBuf,
}

/// What a file is written to: it hashes what passes.
pub(crate) type Out = HashingWriter<BufWriter<File>>;

impl Publisher {
    pub fn new(dir: &Path) -> Publisher {
        Publisher { dir: dir.into() }
    }

    /// Writes the file at a path inside the folder. After a crash at any moment it is there whole, or not at all.
    pub fn publish(&self, inside: &str, write: impl FnOnce(Out) -> io::Result<Out>) -> Result<FileDigest> {
        let path = self.dir.join(inside);
        let temporary = self.dir.join(WORK).join(format!("{}.tmp", inside.replace('/', "-")));
        let written = write_synced(&temporary, write).map_err(Error::io("write", &path));
        let placed = written.and_then(|digest| {
            rename_new(&temporary, &path).map_err(Error::io("move into place", &path))?;
            Ok(digest)
        });
        if placed.is_err() {
            // A full disk should get its space back; the next run clears what this cannot.
            let _ = fs::remove_file(&temporary);
        }
        let digest = placed?;
        sync_folder(path.parent().expect("files lie in the label set's folder"))?;
        Ok(digest)
    }

    /// Publishes bytes that are at hand.
    pub fn publish_bytes(&self, inside: &str, bytes: &[u8]) -> Result<FileDigest> {
        self.publish(inside, |mut out| {
            out.write_all(bytes)?;
            Ok(out)
        })
    }
}

fn write_synced(path: &Path, write: impl FnOnce(Out) -> io::Result<Out>) -> io::Result<FileDigest> {
    let file = File::create(path)?;
    let out = write(HashingWriter::new(BufWriter::with_capacity(1 << 17, file)))?;
    let (buffered, digest) = out.finish();
    let file = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(digest)
}

/// Makes a new or changed folder entry survive a power cut.
pub(crate) fn sync_folder(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(Error::io("sync", dir))
}

/// Renames a file and fails where the target exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, RenameFlags::NOREPLACE) {
        // Some network and FUSE file systems, and old kernels, do not know the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            link_new(from, to)
        }
        result => result.map_err(io::Error::from),
    }
}

/// The same in two steps: a hard link never replaces, and a crash between the steps leaves a second name in `.work`.
fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_way_of_renaming_replaces_a_file() {
        for rename in [rename_new, link_new] {
            let dir = tempfile::tempdir().unwrap();
            let (from, to) = (dir.path().join("from"), dir.path().join("to"));
            fs::write(&from, "new").unwrap();
            fs::write(&to, "old").unwrap();
            assert_eq!(rename(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&to).unwrap(), b"old");
            fs::remove_file(&to).unwrap();
            rename(&from, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"new");
            assert!(!from.exists());
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(WORK)).unwrap();
        let error = Publisher::new(dir.path())
            .publish("x", |mut out| {
                out.write_all(b"half")?;
                Err(io::ErrorKind::StorageFull.into())
            })
            .unwrap_err();
        assert!(error.to_string().contains("hint: free some space"), "{error}");
        assert_eq!(fs::read_dir(dir.path().join(WORK)).unwrap().count(), 0);
        assert!(!dir.path().join("x").exists());
    }
}
