//! Putting a file of a label set in its place: staged in `.work` or below it, hashed on the way, never replacing one that is there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use disk::Existing;

use crate::error::{Error, Result};
use crate::row::digest::{FileDigest, HashingWriter};

/// Publishes files of one label set through a staging folder.
pub(crate) struct Publisher {
    dir: PathBuf,
    staging: PathBuf,
}

/// What a file is written to: it hashes what passes.
pub(crate) type Out<'a, 'b> = HashingWriter<&'a mut BufWriter<&'b File>>;

impl Publisher {
    pub fn new(dir: &Path, staging: &Path) -> Publisher {
        Publisher { dir: dir.into(), staging: staging.into() }
    }

    /// Writes the file at a path inside the folder. After a crash at any moment it is there whole, or not at all.
    pub fn publish(
        &self,
        inside: &str,
        write: impl FnOnce(&mut Out) -> io::Result<()>,
    ) -> Result<FileDigest> {
        let path = self.dir.join(inside);
        let hashed = |out: &mut BufWriter<&File>| {
            let mut out = HashingWriter::new(out);
            write(&mut out)?;
            Ok(out.finish())
        };
        disk::publish_from(&self.staging, &path, Existing::Refuse, hashed).map_err(|error| {
            let stands = error.kind() == io::ErrorKind::AlreadyExists;
            Error::io(if stands { "move into place" } else { "write" }, &path)(error)
        })
    }

    /// Publishes bytes that are at hand.
    pub fn publish_bytes(&self, inside: &str, bytes: &[u8]) -> Result<FileDigest> {
        self.publish(inside, |out| out.write_all(bytes))
    }
}

/// Makes a new or removed folder entry survive a power cut.
pub(crate) fn sync_folder(dir: &Path) -> Result<()> {
    disk::sync_folder(dir).map_err(Error::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::folder::names::WORK;

    fn folder() -> (tempfile::TempDir, Publisher) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(WORK)).unwrap();
        let publisher = Publisher::new(dir.path(), &dir.path().join(WORK));
        (dir, publisher)
    }

    #[test]
    fn a_file_of_a_label_set_is_never_replaced() {
        let (dir, publisher) = folder();
        fs::write(dir.path().join("x"), "old").unwrap();
        let error = publisher.publish_bytes("x", b"new").unwrap_err();
        assert!(error.to_string().starts_with("cannot move into place "), "{error}");
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path().join(WORK)).unwrap().count(), 0);
        fs::remove_file(dir.path().join("x")).unwrap();
        assert_eq!(publisher.publish_bytes("x", b"new").unwrap(), FileDigest::of(b"new"));
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"new");
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let (dir, publisher) = folder();
        let error = publisher
            .publish("x", |out| {
                out.write_all(b"half")?;
                Err(io::ErrorKind::StorageFull.into())
            })
            .unwrap_err();
        assert!(error.to_string().contains("hint: free some space"), "{error}");
        assert_eq!(fs::read_dir(dir.path().join(WORK)).unwrap().count(), 0);
        assert!(!dir.path().join("x").exists());
    }
}
