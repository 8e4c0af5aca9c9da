//! The card and SHA256SUMS: written with a label set, but no part of what identifies it.

use std::path::Path;

use crate::error::Result;
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, MANIFEST, SUMS};
use crate::folder::plain::read_small;
use crate::folder::records::FileRecord;
use crate::folder::sums;
use crate::read::note::Note;
use crate::row::digest::{Hex, sha256};

/// A card beyond this is looked at up to here.
const LONGEST_CARD: u64 = 16 << 20;

/// Looks at the card; says whether it is as it was written.
pub(crate) fn check_card(dir: &Path, manifest: &Manifest, notes: &mut Vec<Note>) -> Result<bool> {
    let record = manifest.card();
    let path = dir.join(&record.path);
    let Some(card) = read_small(&path, LONGEST_CARD)? else {
        notes.push(Note::Absent { path });
        return Ok(false);
    };
    if Hex::blake3(&card) == record.blake3 {
        return Ok(true);
    }
    let hash = manifest.content_hash.to_string();
    let quotes = card.windows(hash.len()).any(|window| window == hash.as_bytes());
    notes.push(Note::CardChanged { path, quotes });
    Ok(false)
}

/// Compares SHA256SUMS with the manifest, whose bytes these are. Of a card that was edited no digest is known, and its
/// line may have been written anew.
pub(crate) fn check_sums(
    dir: &Path,
    (manifest, manifest_bytes): (&Manifest, &[u8]),
    card_is_as_written: bool,
    notes: &mut Vec<Note>,
) -> Result<()> {
    let path = dir.join(SUMS);
    let known = |path: &str| path != CARD || card_is_as_written;
    let of = |file: &FileRecord| (file.path.clone(), known(&file.path).then_some(file.sha256));
    let mut files: Vec<(String, Option<Hex>)> = manifest.files.iter().map(of).collect();
    files.push((MANIFEST.into(), Some(sha256(manifest_bytes))));
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
