//! `SHA256SUMS`: for people who have `sha256sum -c` and not this program. Every file but itself.

use crate::row::digest::Hex;

/// The file's text: digest, two spaces, path, sorted by path.
pub(crate) fn text(mut files: Vec<(String, Hex)>) -> String {
    files.sort();
    let lines: Vec<String> = files.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect();
    lines.concat()
}

/// The first line in which a SHA256SUMS differs from what it should say: its number from 1, what was wanted, what was
/// found. Digests of `None` are not known and not compared.
pub(crate) fn difference(
    found: &[u8],
    mut files: Vec<(String, Option<Hex>)>,
) -> Option<(usize, String, String)> {
    files.sort();
    let found = String::from_utf8_lossy(found);
    let mut lines = found.split_inclusive('\n');
    let differs = |line: usize, wanted: &str, found: &str| {
        let found = found.chars().take(200).collect::<String>();
        Some((line + 1, wanted.trim_end_matches('\n').into(), found.escape_debug().to_string()))
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
    lines.next().and_then(|line| differs(files.len(), "the end", line))
}
