//! One shard that is arriving: what has come of it is kept in `.work`, where nobody takes it for a shard, so that a
//! killed process is gone on with at the next byte.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use disk::crash_point;

use crate::error::{Error, Result};
use crate::folder::records::FileRecord;
use crate::row::digest::Hex;

/// A shard on its way, and the hash of what is there of it.
pub struct Arriving<'a> {
    file: &'a FileRecord,
    /// Where it will lie.
    path: PathBuf,
    /// Where it grows.
    grown: PathBuf,
    /// What it is called where it comes from.
    origin: String,
    out: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> Arriving<'a> {
    /// Opens what is there of a shard in a staging folder and hashes it. What cannot be its beginning is removed.
    pub(crate) fn open(
        dir: &Path,
        staging: &Path,
        origin: &str,
        file: &'a FileRecord,
    ) -> Result<Arriving<'a>> {
        let grown = place_of(staging, file);
        if there_of(staging, file) == 0 {
            remove(&grown).map_err(Error::io("remove", &grown))?;
        }
        let opened = File::options().read(true).append(true).create(true).open(&grown);
        let mut out = opened.map_err(Error::io("open", &grown))?;
        let mut hasher = blake3::Hasher::new();
        let bytes = io::copy(&mut out, &mut hasher).map_err(Error::io("read", &grown))?;
        let origin = format!("{origin}/{}", file.path);
        Ok(Arriving { file, path: dir.join(&file.path), grown, origin, out, hasher, bytes })
    }

    /// Bytes that are there; the next one that is wanted follows on them.
    pub fn there(&self) -> u64 {
        self.bytes
    }

    /// Takes the rest from `next`, which gives it piece by piece and then none. The shard gets its name once it has the
    /// length and the hash that the manifest says.
    ///
    /// Whatever `next` fails with, what came before stays. Of a shard that is another one nothing does.
    pub fn take<E: From<Error>>(
        mut self,
        mut next: impl FnMut() -> std::result::Result<Option<Vec<u8>>, E>,
    ) -> std::result::Result<(), E> {
        while self.bytes <= self.file.bytes {
            let Some(piece) = next()? else { break };
            crash_point("arrive", &self.path);
            // What is written of a piece that no room is left for is hashed by whoever goes on.
            self.out.write_all(&piece).map_err(|error| Error::io("write", &self.grown)(error))?;
            self.hasher.update(&piece);
            self.bytes += piece.len() as u64;
        }
        Ok(self.end()?)
    }

    fn end(self) -> Result<()> {
        let Arriving { file, path, grown, origin, out, hasher, bytes } = self;
        drop(out);
        let found = Hex(*hasher.finalize().as_bytes());
        let differs = if bytes == file.bytes {
            (found != file.blake3).then(|| ("BLAKE3", file.blake3.to_string(), found.to_string()))
        } else {
            let more = if bytes > file.bytes { "or more " } else { "" };
            Some(("length", format!("{} bytes", file.bytes), format!("{bytes} {more}bytes")))
        };
        if let Some((what, wanted, found)) = differs {
            remove(&grown).map_err(Error::io("remove", &grown))?;
            return Err(Error::Arrived { origin, what, wanted, found });
        }
        let folder = path.parent().expect("shards lie in a folder");
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        disk::settle(&grown, &path).map_err(Error::io("write", &path))
    }
}

/// Bytes that are there of a shard; 0 where what is there cannot be its beginning.
pub(crate) fn there_of(staging: &Path, file: &FileRecord) -> u64 {
    // A link would have us write elsewhere.
    let found = fs::symlink_metadata(place_of(staging, file)).ok().filter(fs::Metadata::is_file);
    found.map(|found| found.len()).filter(|&bytes| bytes <= file.bytes).unwrap_or(0)
}

/// Where a shard grows: the two forms' names differ by their ends.
fn place_of(staging: &Path, file: &FileRecord) -> PathBuf {
    let name = Path::new(&file.path).file_name().expect("a shard has a name");
    staging.join(format!("arriving-{}", name.to_string_lossy()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
