//! The card and SHA256SUMS: written with a label set, but no part of what identifies it.

use std::path::Path;

use crate::error::Result;
use crate::folder::manifest::Manifest;
use crate::folder::names::{MANIFEST, SUMS};
use crate::folder::plain::read_small;
use crate::folder::sums;
use crate::read::note::Note;
use crate::row::digest::{FileDigest, Hex};

/// A card beyond this is looked at up to here.
const LONGEST_CARD: u64 = 16 << 20;

/// Looks at the card. Gives its digest if it is as it was written.
pub(crate) fn check_card(
    dir: &Path,
    manifest: &Manifest,
    notes: &mut Vec<Note>,
) -> Result<Option<FileDigest>> {
    let record = manifest.card();
    let path = dir.join(&record.path);
    let Some(card) = read_small(&path, LONGEST_CARD)? else {
        notes.push(Note::Absent { path });
        return Ok(None);
    };
    let digest = FileDigest::of(&card);
    if digest.blake3 == record.blake3 {
        return Ok(Some(digest));
    }
    let hash = manifest.content_hash.to_string();
    let quotes = card.windows(hash.len()).any(|window| window == hash.as_bytes());
    notes.push(Note::CardChanged { path, quotes });
    Ok(None)
}

/// Compares SHA256SUMS with what the files hash to; files whose digest is not known are passed by.
pub(crate) fn check_sums(
    dir: &Path,
    manifest: &[u8],
    digests: &[(String, Option<FileDigest>)],
    notes: &mut Vec<Note>,
) -> Result<()> {
    let path = dir.join(SUMS);
    let mut files: Vec<(String, Option<Hex>)> =
        digests.iter().map(|(path, digest)| (path.clone(), digest.map(|digest| digest.sha256))).collect();
    files.push((MANIFEST.into(), Some(FileDigest::of(manifest).sha256)));
    let bytes: u64 = files.iter().map(|(path, _)| path.len() as u64 + 67).sum();
    // One byte more than there should be shows in the comparison.
    match read_small(&path, bytes + 1)? {
        None => notes.push(Note::Absent { path }),
        Some(found) => {
            let differs = sums::difference(&found, files);
            notes.extend(differs.map(|(line, wanted, found)| Note::SumsChanged {
                path,
                line,
                wanted,
                found,
            }));
        }
    }
    Ok(())
}
