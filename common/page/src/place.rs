//! Where a page may be written.

use std::io::{self, Read, Write};
use std::path::Path;

use disk::Existing;

use crate::frame::BEGINNING;

/// Whether nothing lies there, or a page of this kind, which may be written anew. An error is that of the place: no such
/// folder, no permission.
pub fn is_free(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        file => {
            file?.take(BEGINNING.len() as u64).read_to_end(&mut start)?;
        }
    }
    if !start.is_empty() && start != BEGINNING.as_bytes() {
        return Ok(false);
    }
    disk::probe(path).map(|()| true)
}

/// Writes a page, whole or not at all.
pub fn write(path: &Path, page: &str) -> io::Result<()> {
    disk::publish(path, Existing::Replace, |out| out.write_all(page.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Page;

    #[test]
    fn only_a_page_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        assert!(is_free(&path).unwrap());
        write(&path, &Page::new("a", "b").finish()).unwrap();
        assert!(is_free(&path).unwrap(), "an earlier page");
        std::fs::write(&path, "<html>").unwrap();
        assert!(!is_free(&path).unwrap());
        assert!(is_free(&folder.path().join("nowhere/page.html")).is_err());
    }
}
