//! Files that appear whole or not at all, and folders that one process writes at a time.
//!
//! Whatever rslad leaves whole goes through [`publish`]: label sets, checkpoints, students, reports; only a run's log
//! grows by the line. A process that is killed at any moment leaves a file as it was, or as it was to become.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

mod claim;
mod crash;
mod lock;
mod settle;

use claim::claim;
pub use crash::{CRASH, crash_point};
pub use lock::Lock;
pub use settle::settle;

/// What becomes of a file that stands where a new one is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced, in one step: readers see the old file or the new one.
    Replace,
    /// It stays, and [`publish`] fails with [`io::ErrorKind::AlreadyExists`].
    Refuse,
    /// It stays; a file with the very bytes that were to be written is as good as ours, any other is refused.
    RefuseOther,
}

/// Writes a file beside its place, syncs it, and moves it there; gives what `write` gives.
///
/// The temporary file is hidden, ends in `.partial`, and goes when anything fails; a killed process leaves it behind.
/// The published file is as readable as the user's mask allows.
pub fn publish<T>(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<T>,
) -> io::Result<T> {
    publish_from(folder_of(path), path, existing, write)
}

/// [`publish`] with the temporary file in another folder of the same file system, which must be there.
pub fn publish_from<T>(
    staging: &Path,
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<T>,
) -> io::Result<T> {
    let temporary = temporary_for(staging, path)?;
    crash_point("begin", path);
    let mut buffered = BufWriter::with_capacity(1 << 17, temporary.as_file());
    let given = write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    crash_point("sync", path);
    temporary.as_file().sync_all()?;
    crash_point("place", path);
    place(temporary, path, existing)?;
    crash_point("keep", path);
    sync_folder(folder_of(path))?;
    crash_point("leave", path);
    Ok(given)
}

/// Whether [`publish`] could write here now: fails as it would, and leaves nothing.
pub fn probe(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    temporary_for(folder_of(path), path).map(drop)
}

/// Removes what killed processes left of files with these names in a folder whose lock the caller holds; gives how many.
///
/// Without the lock it would take a living writer's file from under it. What cannot be removed stays: it is in nobody's
/// way.
pub fn sweep(folder: &Path, names: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let of = name.to_str().and_then(temporary_of);
        if of.is_some_and(&names) {
            crash_point("sweep", &entry.path());
            removed += usize::from(fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(removed)
}

/// [`sweep`] of one file, beside its place.
pub fn sweep_beside(path: &Path) -> io::Result<usize> {
    sweep(folder_of(path), |name| path.file_name().is_some_and(|of| of == name))
}

/// Whose temporary file a name is: `.NAME`, six random characters, `.partial`.
fn temporary_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix('.')?.strip_suffix(PARTIAL)?;
    name.split_at_checked(name.len().checked_sub(RANDOM)?).map(|(of, _)| of)
}

/// How temporary names end.
const PARTIAL: &str = ".partial";
/// How many characters of a temporary name are drawn.
const RANDOM: usize = 6;

/// A hidden file that goes with the value.
fn temporary_for(staging: &Path, path: &Path) -> io::Result<NamedTempFile> {
    let prefix = hidden(path, "")
        .ok_or_else(|| io::Error::new(io::ErrorKind::IsADirectory, "the path does not end in a file name"))?;
    let prefix = prefix.file_name().expect("it was made of a file name");
    let made = tempfile::Builder::new()
        .prefix(prefix)
        .suffix(PARTIAL)
        .rand_bytes(RANDOM)
        // Temporary files are private by default; a published one is not.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(staging);
    // What tempfile says names the temporary file, which nobody asked for.
    made.map_err(|error| error.kind().into())
}

fn place(temporary: NamedTempFile, path: &Path, existing: Existing) -> io::Result<()> {
    if existing == Existing::Replace {
        return temporary.persist(path).map(drop).map_err(|refused| refused.error);
    }
    let Err(refused) = claim(temporary, path, |temporary| temporary.persist_noclobber(path)) else {
        return Ok(());
    };
    let same = existing == Existing::RefuseOther
        && refused.error.kind() == io::ErrorKind::AlreadyExists
        && same_bytes(refused.file.path(), path)?;
    if same { Ok(()) } else { Err(refused.error) }
}

/// The name of a file beside this one that lists do not show.
fn hidden(path: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(ending);
    Some(path.with_file_name(name))
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    let [mut a, mut b] = [BufReader::new(File::open(a)?), BufReader::new(File::open(b)?)];
    let (mut left, mut right) = ([0; 1 << 13], [0; 1 << 13]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Makes a new, renamed or removed entry of a folder survive a power cut. Some network file systems cannot sync a
/// folder; they keep what they are told, or nothing that we could do would help.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
            Ok(())
        }
        synced => synced,
    }
}

/// Bytes that this user may still write to the file system of a folder; none where it does not say.
pub fn free_space(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    // Mounts of object stores report nothing, or no size at all.
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, existing: Existing, bytes: &[u8]) -> io::Result<()> {
        publish(path, existing, |out| out.write_all(bytes))
    }

    #[test]
    fn what_stands_there_is_replaced_or_stays_as_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for existing in [Existing::Replace, Existing::Refuse, Existing::RefuseOther] {
            write(&path, existing, b"old").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
            let kind = |bytes| write(&path, existing, bytes).map_err(|error| error.kind());
            let (same, other) = (kind(b"old"), kind(b"new"));
            match existing {
                Existing::Replace => assert_eq!((same, other), (Ok(()), Ok(()))),
                Existing::Refuse => {
                    assert_eq!(
                        (same, other),
                        (Err(io::ErrorKind::AlreadyExists), Err(io::ErrorKind::AlreadyExists))
                    );
                }
                Existing::RefuseOther => {
                    assert_eq!((same, other), (Ok(()), Err(io::ErrorKind::AlreadyExists)));
                }
            }
            let stands: &[u8] = if existing == Existing::Replace { b"new" } else { b"old" };
            assert_eq!(fs::read(&path).unwrap(), stands);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let failed = publish(&path, Existing::Replace, |out| {
            out.write_all(b"half")?;
            Err::<(), _>(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_sweep_takes_what_dead_writers_left_of_the_names_asked_for_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // What a killed writer leaves is the temporary file that a living one has.
        for name in ["ours", "theirs"] {
            temporary_for(folder.path(), &path(name)).unwrap().keep().unwrap();
        }
        for name in ["ours", ".ours", ".partial", ".hidden", "ours123456.partial"] {
            fs::write(path(name), "").unwrap();
        }
        assert_eq!(sweep(folder.path(), |name| name == "ours").unwrap(), 1);
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 6, "{left:?}");
        assert!(left[3].starts_with(".theirs") && left[3].ends_with(".partial"), "{left:?}");
        assert_eq!(sweep(folder.path(), |_| true).unwrap(), 1, "the other's too, once its name is asked for");
    }

    #[test]
    fn a_probe_finds_what_a_write_would_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path| probe(path).map_err(|error| error.kind());
        assert_eq!(kind(&folder.path().join("file")), Ok(()));
        assert_eq!(kind(folder.path()), Err(io::ErrorKind::IsADirectory));
        assert_eq!(kind(&folder.path().join("absent/file")), Err(io::ErrorKind::NotFound));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let error =
            write(&folder.path().join("absent/file"), Existing::Replace, b"").unwrap_err().to_string();
        assert!(!error.contains("partial"), "{error}");
    }

    #[test]
    fn a_published_file_is_as_readable_as_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        write(&ours, Existing::Replace, b"").unwrap();
        fs::write(&theirs, "").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(theirs));
    }

    #[test]
    fn large_files_that_differ_in_their_last_byte_are_not_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut bytes = vec![7; 100_000];
        write(&path, Existing::RefuseOther, &bytes).unwrap();
        write(&path, Existing::RefuseOther, &bytes).unwrap();
        *bytes.last_mut().unwrap() = 8;
        assert_eq!(
            write(&path, Existing::RefuseOther, &bytes).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn a_file_system_says_what_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_space(folder.path()).unwrap();
        // What `df` says, in blocks of 1 KiB.
        let df = std::process::Command::new("df").args(["-Pk"]).arg(folder.path()).output().unwrap();
        let text = String::from_utf8(df.stdout).unwrap();
        let available: u64 = text.lines().last().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
        assert!(free.abs_diff(available * 1024) < 1 << 30, "{free} and {available} KiB");
        assert_eq!(free_space(&folder.path().join("absent")), None);
    }
}
