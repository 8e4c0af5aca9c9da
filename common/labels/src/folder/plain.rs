//! Opening the files of a label set, and listing its folder, without following links.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::shard::storage::Storage;

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

pub(crate) fn not_plain(path: &Path, kind: fs::FileType) -> Error {
    let found = if kind.is_symlink() {
        "a link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device or pipe"
    };
    Error::NotPlain { path: path.into(), found }
}

/// Opens a plain file; a link, folder or pipe is refused, and an absent one is [`Error::MissingFile`].
pub(crate) fn open_plain(path: &Path, bytes: u64) -> Result<File> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(Error::MissingFile { path: path.into(), wanted: bytes });
        }
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    if !kind.is_file() {
        return Err(not_plain(path, kind));
    }
    // The look above may be out of date: the open itself must not follow a link, nor wait for a pipe's writer.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(Error::io("open", path))?;
    let kind = file.metadata().map_err(Error::io("look at", path))?.file_type();
    if kind.is_file() { Ok(file) } else { Err(not_plain(path, kind)) }
}

/// Maps a file that must have so many bytes. Its folder is looked at too: `shards` may be a link.
pub(crate) fn map_plain(dir: &Path, inside: &str, bytes: u64) -> Result<Storage> {
    let path = dir.join(inside);
    if let Some((folder, _)) = inside.split_once('/') {
        let folder = dir.join(folder);
        if let Ok(meta) = fs::symlink_metadata(&folder)
            && !meta.is_dir()
        {
            return Err(not_plain(&folder, meta.file_type()));
        }
    }
    let file = open_plain(&path, bytes)?;
    match Storage::map(&file, bytes).map_err(Error::io("map", &path))? {
        Ok(storage) => Ok(storage),
        Err(found) => Err(Error::FileSize { path, wanted: bytes, found }),
    }
}
