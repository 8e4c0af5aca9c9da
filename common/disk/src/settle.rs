//! A file that grew bit by bit beside its place, over several processes perhaps, and is whole now.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::{crash_point, folder_of, sync_folder};

/// Moves a whole file to its place on the same file system, over whatever is there: synced first, then in one step.
///
/// Before it, nobody sees the file under its name; a process that is killed leaves it whole in one of the two places.
pub fn settle(grown: &Path, path: &Path) -> io::Result<()> {
    crash_point("sync", path);
    File::open(grown)?.sync_all()?;
    crash_point("place", path);
    fs::rename(grown, path)?;
    crash_point("keep", path);
    sync_folder(folder_of(path))?;
    crash_point("leave", path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_moved_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [grown, path] = ["grown", "file"].map(|name| folder.path().join(name));
        fs::write(&grown, b"new").unwrap();
        fs::write(&path, b"old").unwrap();
        settle(&grown, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!grown.exists());
        assert_eq!(settle(&grown, &path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
