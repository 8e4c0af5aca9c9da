//! The folder of a label set: names of its files, and opening them without following links.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::dtype::Form;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::map::Storage;

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const CARD: &str = "README.md";
pub(crate) const SUMS: &str = "SHA256SUMS";
pub(crate) const WORK: &str = ".work";
pub(crate) const SHARDS: &str = "shards";
pub(crate) const DATA: &str = "data";

/// Path of a shard inside the folder, like `shards/train-00000-of-00064.safetensors`.
pub(crate) fn shard_path(form: Form, split: &str, index: usize, shards: usize) -> String {
    let (folder, ending) = match form {
        Form::Parquet => (DATA, "parquet"),
        Form::Safetensors | Form::Both => (SHARDS, "safetensors"),
    };
    format!("{folder}/{split}-{index:05}-of-{shards:05}.{ending}")
}

/// The folder's name in messages about what is in it.
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

/// What stands in the folder that the manifest does not list, or is a link. `.work` may remain from a writer that was
/// interrupted after its commit.
pub(crate) fn strangers(dir: &Path, manifest: &Manifest) -> Result<Vec<Error>> {
    let listed: HashSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let mut found = Vec::new();
    let mut look = |folder: &str| -> Result<()> {
        let at = dir.join(folder);
        for (name, kind) in read_dir(&at)? {
            let path = at.join(&name);
            let inside = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_folder = folder.is_empty()
                && ((name == WORK)
                    || (name == DATA && manifest.form.has_parquet())
                    || (name == SHARDS && manifest.form.has_safetensors()));
            let is_file = listed.contains(inside.as_str()) || inside == MANIFEST || inside == SUMS;
            if !is_folder && !is_file {
                found.push(Error::ExtraFile { path });
            } else if (is_folder && !kind.is_dir()) || (is_file && !kind.is_file()) {
                found.push(not_plain(&path, kind));
            }
        }
        Ok(())
    };
    look("")?;
    for (folder, present) in [(DATA, manifest.form.has_parquet()), (SHARDS, manifest.form.has_safetensors())]
    {
        // A link or an absent folder is reported by what should be inside it.
        if present && fs::symlink_metadata(dir.join(folder)).is_ok_and(|meta| meta.is_dir()) {
            look(folder)?;
        }
    }
    Ok(found)
}

fn not_plain(path: &Path, kind: fs::FileType) -> Error {
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
