//! One process at a time in a folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Use of a folder, exclusive or shared, by a lock on a file in it; the lock goes with the value or the process, the file
/// stays.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock on this file, made if need be; none while another holder lives.
    ///
    /// The file's folder must be there. A holder may remove file and folder before it lets go: the next one then finds
    /// [`io::ErrorKind::NotFound`], or makes a file of its own.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        Self::locked(path, OpenOptions::new().write(true), |file| is_ours(file.try_lock()))
    }

    /// The lock for holders who know how to share: none while somebody has it for himself, who gets it once all are done.
    pub fn share(path: &Path) -> io::Result<Option<Self>> {
        // Network file systems share a lock with those who read.
        Self::locked(path, OpenOptions::new().read(true).write(true), |file| is_ours(file.try_lock_shared()))
    }

    /// [`Lock::take`], once every holder is done.
    pub(crate) fn wait(path: &Path) -> io::Result<Option<Self>> {
        Self::locked(path, OpenOptions::new().write(true), |file| file.lock().map(|()| true))
    }

    fn locked(
        path: &Path,
        options: &OpenOptions,
        lock: impl Fn(&File) -> io::Result<bool>,
    ) -> io::Result<Option<Self>> {
        loop {
            let file = options.clone().create(true).truncate(false).open(path)?;
            if !lock(&file)? {
                return Ok(None);
            }
            // A holder that was done between our open and our lock may have removed the file: take the new one.
            let ours = file.metadata()?.ino();
            if fs::metadata(path).is_ok_and(|found| found.ino() == ours) {
                return Ok(Some(Self { file }));
            }
        }
    }
}

fn is_ours(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Drop for Lock {
    /// Lets go by name. Closing the file would not do: a child that another thread is starting holds a copy of its
    /// descriptor until that child's program runs, and with it the lock.
    fn drop(&mut self) {
        // What fails here still ends with the process.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_free_when_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::take(&path).unwrap().unwrap();
        assert!(Lock::take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::take(&path).unwrap().is_some());
    }

    #[test]
    fn a_shared_lock_is_held_by_many_and_keeps_out_who_wants_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = [Lock::share(&path).unwrap().unwrap(), Lock::share(&path).unwrap().unwrap()];
        assert!(Lock::take(&path).unwrap().is_none());
        drop(held);
        let alone = Lock::take(&path).unwrap().unwrap();
        assert!(Lock::share(&path).unwrap().is_none());
        drop(alone);
        assert!(Lock::share(&path).unwrap().is_some());
    }

    #[test]
    fn a_lock_that_a_child_inherited_goes_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::take(&path).unwrap().unwrap();
        // What `fork` leaves in a child: a second descriptor of one open file.
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        assert!(Lock::take(&path).unwrap().is_some());
        drop(inherited);
    }

    #[test]
    fn a_lock_on_a_file_that_its_holder_removed_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::take(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(Lock::take(&path).unwrap().is_some(), "the path names another file now");
        drop(held);
    }
}
