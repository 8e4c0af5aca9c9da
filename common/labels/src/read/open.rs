//! Opening a label set: manifest, files, hashes and rows, checked before anyone reads a logit.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{MANIFEST, SUMS, WORK};
use crate::folder::plain::{map_plain, open_plain};
use crate::folder::records::FileRecord;
use crate::folder::sums;
use crate::read::lookup::LabelSet;
use crate::read::strangers::strangers;
use crate::row::dataset::identity;
use crate::row::digest::{FileDigest, Hex};
use crate::row::dtype::Form;
use crate::shard::content::ContentHasher;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::shard::storage::Storage;

/// Manifests of a million files have under 256 MiB; a larger one is a trap for memory.
const LARGEST_MANIFEST: u64 = 256 << 20;

/// How much [`LabelSet::open`] checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Every byte of every file against the manifest, and every logit for NaN and infinities. The default: neither
    /// safetensors nor Parquet notices a flipped bit.
    Hashes,
    /// Names and lengths of the files, and the structure of the rows; logits are not looked at.
    /// A set without safetensors is still hashed, because its decoder trusts its input.
    Sizes,
}

impl LabelSet {
    /// Opens a published label set. Safetensors shards are mapped; a set of Parquet alone is decoded into memory.
    ///
    /// Do not change a label set's files while it is open: truncating a mapped file ends the process.
    pub fn open(dir: &Path, check: Check) -> Result<LabelSet> {
        let manifest = load_manifest(dir)?;
        if let Some(stranger) = strangers(dir, &manifest)?.into_iter().next() {
            return Err(stranger);
        }
        let hashed = check == Check::Hashes;
        let mut digests = Vec::with_capacity(manifest.files.len() + 1);
        let mut shards = Vec::with_capacity(manifest.shards());
        for file in &manifest.files {
            let form = form_of(&manifest, file);
            let rows = match form {
                Some(Form::Parquet) => !manifest.form.has_safetensors(),
                Some(_) => true,
                None => false,
            };
            let (storage, digest) = check_file(dir, file, hashed || (rows && form == Some(Form::Parquet)))?;
            if form.is_none() {
                check_card(dir, &manifest, &storage)?;
            }
            if rows {
                let shard = read_shard(dir, &manifest, file, storage)?;
                if hashed {
                    shard.check_finite(&dir.join(&file.path))?;
                }
                shards.push(shard);
            }
            digests.push((file.path.clone(), if hashed { digest } else { None }));
        }
        check_sums(dir, &digests)?;
        check_dataset(dir, &manifest, &shards)?;
        Ok(LabelSet::new(dir, manifest, shards))
    }
}

/// Reads the manifest of a published label set.
pub(crate) fn load_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    fs::read_dir(dir).map_err(Error::io("open label set", dir))?;
    let file = match open_plain(&path, 0) {
        Err(Error::MissingFile { .. }) if dir.join(WORK).exists() => {
            return Err(Error::Unfinished { dir: dir.into() });
        }
        Err(Error::MissingFile { .. }) => return Err(Error::NotALabelSet { dir: dir.into() }),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_MANIFEST + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
    if bytes.len() as u64 > LARGEST_MANIFEST {
        return Err(Error::ManifestSyntax {
            path,
            detail: format!("wanted at most {LARGEST_MANIFEST} bytes, found more"),
        });
    }
    Manifest::parse(&path, &bytes)
}

/// Which form a file belongs to; none for the card.
pub(crate) fn form_of(manifest: &Manifest, file: &FileRecord) -> Option<Form> {
    if std::ptr::eq(file, manifest.card()) {
        None
    } else if manifest.parquet_files().as_ptr_range().contains(&std::ptr::from_ref(file)) {
        Some(Form::Parquet)
    } else {
        Some(Form::Safetensors)
    }
}

/// Maps a file after comparing its length, and its hash if asked to. What is hashed is what is read later: one mapping.
pub(crate) fn check_file(dir: &Path, file: &FileRecord, hash: bool) -> Result<(Storage, Option<FileDigest>)> {
    let storage = map_plain(dir, &file.path, file.bytes)?;
    if !hash {
        return Ok((storage, None));
    }
    let digest = FileDigest::of(&storage);
    if digest.blake3 != file.blake3 {
        return Err(Error::FileHash {
            path: dir.join(&file.path),
            wanted: file.blake3.to_string(),
            found: digest.blake3.to_string(),
        });
    }
    Ok((storage, Some(digest)))
}

/// The shard in a file of either form, its rows validated.
pub(crate) fn read_shard(
    dir: &Path,
    manifest: &Manifest,
    file: &FileRecord,
    storage: Storage,
) -> Result<Shard> {
    let path = dir.join(&file.path);
    let (first, layout) = manifest.layout(file);
    let shard = match form_of(manifest, file) {
        Some(Form::Parquet) => parquet::read(&path, storage, layout, first, manifest.augment)?,
        _ => Shard::read(&path, storage, layout, first)?,
    };
    shard.validate(&path, manifest.augment, manifest.views)?;
    Ok(shard)
}

/// The card must speak of this label set.
pub(crate) fn check_card(dir: &Path, manifest: &Manifest, card: &[u8]) -> Result<()> {
    let wanted = manifest.content_hash.to_string();
    if card.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
        return Ok(());
    }
    Err(Error::Card { path: dir.join(&manifest.card().path), wanted })
}

/// SHA256SUMS must say, line by line, what the files hash to.
pub(crate) fn check_sums(dir: &Path, digests: &[(String, Option<FileDigest>)]) -> Result<()> {
    let path = dir.join(SUMS);
    let manifest = fs::read(dir.join(MANIFEST)).map_err(Error::io("read", &dir.join(MANIFEST)))?;
    let mut files: Vec<(String, Option<Hex>)> =
        digests.iter().map(|(path, digest)| (path.clone(), digest.map(|digest| digest.sha256))).collect();
    files.push((MANIFEST.into(), Some(FileDigest::of(&manifest).sha256)));
    let bytes = files.iter().map(|(path, _)| path.len() as u64 + 67).sum();
    sums::check(&path, &map_plain(dir, SUMS, bytes)?, files)
}

/// Image hashes and labels over all shards must hash to the manifest's dataset.
pub(crate) fn check_dataset(dir: &Path, manifest: &Manifest, shards: &[Shard]) -> Result<()> {
    let images: Vec<_> = shards
        .iter()
        .flat_map(|shard| shard.hashes().iter().copied().zip(shard.labels().iter().copied()))
        .collect();
    let found = identity(images.into_iter());
    if found == manifest.dataset.hash {
        return Ok(());
    }
    Err(Error::ManifestField {
        path: dir.join(MANIFEST),
        field: "dataset.hash".into(),
        wanted: format!("{found}, as the shards' images and labels hash to"),
        found: manifest.dataset.hash.to_string(),
    })
}

/// The content hash of all shards, in order.
pub(crate) fn content_hash(manifest: &Manifest, shards: &[Shard]) -> Hex {
    let mut content = ContentHasher::new(manifest.dtype, manifest.dataset.classes);
    for shard in shards {
        content.add(shard);
    }
    content.finish()
}
