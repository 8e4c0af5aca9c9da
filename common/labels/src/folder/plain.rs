//! Opening the files of a label set, and listing its folder. Links are followed: a file is what it points to, and that
//! is what is measured, hashed and read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::shard::storage::Storage;

/// What stands in a repository for a file that Git LFS has not fetched begins so, and is short.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const LONGEST_POINTER: u64 = 1024;

/// What a folder holds, sorted by name.
pub(crate) fn read_dir(dir: &Path) -> Result<Vec<(String, fs::FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let kind = entry.file_type().map_err(Error::io("look at", &entry.path()))?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), kind));
    }
    // The system's order is arbitrary; messages are not.
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// The names in a folder that people see, sorted: not those that start with a dot, which are git's, the hub's, Finder's
/// or our own, and not the icon that Finder gives to a folder.
pub(crate) fn visible(dir: &Path) -> Result<Vec<String>> {
    let names = read_dir(dir)?.into_iter().map(|(name, _)| name);
    Ok(names.filter(|name| !name.starts_with('.') && name != "Icon\r").collect())
}

pub(crate) fn not_plain(path: &Path, wanted: &'static str, kind: fs::FileType) -> Error {
    let found = if kind.is_dir() {
        "a folder"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device or pipe"
    };
    Error::NotPlain { path: path.into(), wanted, found }
}

/// Opens a file, or the file that a link points to. A folder or pipe is refused, and an absent one is
/// [`Error::MissingFile`].
pub(crate) fn open_plain(path: &Path, bytes: u64) -> Result<File> {
    let kind = match fs::metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if is_absent(&error) => return Err(missing(path, bytes)),
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    if !kind.is_file() {
        return Err(not_plain(path, "a file", kind));
    }
    // The look above may be out of date: the open itself must not wait for a pipe's writer.
    let flags = rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(Error::io("open", path))?;
    let kind = file.metadata().map_err(Error::io("look at", path))?.file_type();
    if kind.is_file() { Ok(file) } else { Err(not_plain(path, "a file", kind)) }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether nothing has this name, not even a link to nowhere.
pub(crate) fn nothing_at(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| is_absent(&error))
}

fn missing(path: &Path, wanted: u64) -> Error {
    match fs::read_link(path) {
        Ok(target) => Error::BrokenLink { path: path.into(), target },
        Err(_) => Error::MissingFile { path: path.into(), wanted },
    }
}

/// Opens a file that must have so many bytes, to be read.
pub(crate) fn open_sized(path: &Path, bytes: u64) -> Result<File> {
    let file = open_plain(path, bytes)?;
    let found = file.metadata().map_err(Error::io("look at", path))?.len();
    if found == bytes { Ok(file) } else { Err(wrong_size(path, file, bytes, found)) }
}

/// Maps a file that must have so many bytes.
pub(crate) fn map_plain(dir: &Path, inside: &str, bytes: u64) -> Result<Storage> {
    let path = dir.join(inside);
    let file = open_plain(&path, bytes)?;
    match Storage::map(&file, bytes).map_err(Error::io("map", &path))? {
        Ok(storage) => Ok(storage),
        Err(found) => Err(wrong_size(&path, file, bytes, found)),
    }
}

fn wrong_size(path: &Path, file: File, wanted: u64, found: u64) -> Error {
    let path = path.into();
    if is_lfs_pointer(file, found) {
        Error::NotFetched { path, wanted }
    } else {
        Error::FileSize { path, wanted, found }
    }
}

fn is_lfs_pointer(mut file: File, bytes: u64) -> bool {
    let mut start = [0; LFS_POINTER.len()];
    bytes <= LONGEST_POINTER && file.read_exact(&mut start).is_ok() && start == LFS_POINTER
}

/// Reads a file of at most so many bytes; none where there is none.
pub(crate) fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match open_plain(path, 0) {
        Err(Error::MissingFile { .. } | Error::BrokenLink { .. }) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(Some(bytes))
}
