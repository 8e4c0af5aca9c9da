//! `SHA256SUMS`: for people who have `sha256sum -c` and not this program. Every file but itself.

use std::path::Path;

use crate::error::{Error, Result};
use crate::row::digest::Hex;

/// The file's text: digest, two spaces, path, sorted by path.
pub(crate) fn text(mut files: Vec<(String, Hex)>) -> String {
    files.sort();
    let lines: Vec<String> = files.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect();
    lines.concat()
}

/// Compares a SHA256SUMS byte for byte with what it should say; digests of `None` are not known and not compared.
pub(crate) fn check(path: &Path, found: &[u8], mut files: Vec<(String, Option<Hex>)>) -> Result<()> {
    files.sort();
    let found = String::from_utf8_lossy(found);
    let mut lines = found.split_inclusive('\n');
    let differs = |line: usize, wanted: &str, found: &str| {
        Err(Error::Sums {
            path: path.into(),
            line: line + 1,
            wanted: wanted.trim_end_matches('\n').into(),
            found: found.escape_debug().to_string(),
        })
    };
    for (number, (file, sha256)) in files.iter().enumerate() {
        let line = lines.next().unwrap_or("");
        let digest = match sha256 {
            Some(sha256) => *sha256,
            None => match line.get(..64).and_then(|digits| digits.parse().ok()) {
                Some(digest) => digest,
                None => return differs(number, &format!("64 hexadecimal digits  {file}"), line),
            },
        };
        let wanted = format!("{digest}  {file}\n");
        if line != wanted {
            return differs(number, &wanted, line);
        }
    }
    match lines.next() {
        Some(line) => differs(files.len(), "the end", line),
        None => Ok(()),
    }
}
