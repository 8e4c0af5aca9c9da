//! A file under a name that nobody has, on every file system.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::{NamedTempFile, PersistError};

use crate::{Lock, hidden};

/// Moves the file to a name that nobody has.
///
/// `at_once` does it by a rename that replaces nothing, else by a hard link. Mounts of object stores and some network
/// file systems know neither: there we look, then rename, under a lock that keeps out other processes of ours. What
/// appears is whole in any case; only a program that does not ask for the lock could lose a file that it makes between
/// our look and our rename.
pub(crate) fn claim(
    temporary: NamedTempFile,
    path: &Path,
    at_once: impl FnOnce(NamedTempFile) -> Result<File, PersistError>,
) -> Result<(), PersistError> {
    let Err(PersistError { error, file }) = at_once(temporary) else { return Ok(()) };
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Err(PersistError { error, file });
    }
    let lock_path = hidden(path, ".lock");
    let lock = lock_path.as_deref().and_then(|lock| Lock::wait(lock).ok());
    let placed = match fs::symlink_metadata(path) {
        Ok(_) => Err(PersistError { error: io::ErrorKind::AlreadyExists.into(), file }),
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => file.persist(path).map(drop),
        Err(error) => Err(PersistError { error, file }),
    };
    if let (Some(_), Some(lock)) = (&lock, lock_path) {
        let _ = fs::remove_file(lock);
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{folder_of, temporary_for};

    /// A file system that can neither rename without replacing nor make hard links, as mounts of object stores cannot.
    fn claim_without_help(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = temporary_for(folder_of(path), path)?;
        temporary.write_all(bytes)?;
        let refuse = |file| Err(PersistError { error: io::ErrorKind::Unsupported.into(), file });
        claim(temporary, path, refuse).map_err(|refused| refused.error)
    }

    #[test]
    fn where_neither_rename_without_replacing_nor_hard_links_work_there_is_a_third_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        claim_without_help(&path, b"first").unwrap();
        let kind = claim_without_help(&path, b"second").unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "neither lock nor temporary file is left"
        );
    }

    #[test]
    fn of_many_that_go_the_third_way_at_once_one_wins_and_its_file_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = folder.path().join(format!("file{round}"));
            let start = std::sync::Barrier::new(4);
            let won: Vec<u8> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..4u8)
                    .map(|racer| {
                        let (path, start) = (&path, &start);
                        scope.spawn(move || {
                            start.wait();
                            claim_without_help(path, &[racer; 5000]).is_ok().then_some(racer)
                        })
                    })
                    .collect();
                racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
            });
            assert_eq!(won.len(), 1, "{won:?}");
            assert!(fs::read(&path).unwrap() == vec![won[0]; 5000]);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 200);
    }
}
