//! Opening a label set: manifest, files, hashes and rows, checked before anyone reads a logit.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{DATA, MANIFEST, SHARDS, WORK};
use crate::folder::plain::{map_plain, open_plain, visible};
use crate::folder::records::FileRecord;
use crate::read::beside::{check_card, check_sums};
use crate::read::forms::Forms;
use crate::read::lookup::LabelSet;
use crate::read::strangers::strangers;
use crate::row::dataset::IdentityHasher;
use crate::row::digest::Hex;
use crate::row::dtype::Form;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::shard::storage::Storage;

/// Manifests of a million files have under 256 MiB; a larger one is a trap for memory.
pub(crate) const LARGEST_MANIFEST: u64 = 256 << 20;

/// How much [`LabelSet::open`] checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Every byte of the manifest and of every shard in both forms, and every logit and feature for NaN and infinities.
    Hashes,
    /// The same of the form that is read; of the other form the names and lengths. What a training wants: neither
    /// safetensors nor Parquet notices a flipped bit, and a second form would be hashed for nothing.
    Used,
    /// The same of a label set whose files of that form were hashed when they were fetched, a moment ago: every logit and
    /// feature is looked at, no byte hashed again.
    Fetched,
    /// Names and lengths of the files, and the structure of the rows; logits are not looked at.
    /// A set without safetensors is still hashed, because its decoder trusts its input.
    Sizes,
}

impl LabelSet {
    /// Opens a published label set. Safetensors shards are mapped; a set of Parquet alone is decoded into memory.
    ///
    /// What identifies a label set must be as it was written: its manifest and the shards of the forms that are there,
    /// of which one suffices. What else differs is among the [`LabelSet::notes`].
    ///
    /// Do not change a label set's files while it is open: truncating a mapped file ends the process.
    pub fn open(dir: &Path, check: Check) -> Result<LabelSet> {
        let (manifest, bytes) = load_manifest(dir)?;
        if let Some(stranger) = strangers(dir, &manifest)?.into_iter().next() {
            return Err(stranger);
        }
        let mut notes = Vec::new();
        let card_is_as_written = check_card(dir, &manifest, &mut notes)?;
        let mut shards = Vec::with_capacity(manifest.shards());
        let forms = Forms::of(dir, &manifest, &mut notes);
        for (form, files) in forms.each() {
            let read = form == forms.read();
            let hashed = match check {
                Check::Hashes => true,
                Check::Used => read,
                Check::Fetched => false,
                // Its decoder trusts its input.
                Check::Sizes => read && form == Form::Parquet,
            };
            for file in files {
                let storage =
                    if hashed { check_file(dir, file)? } else { map_plain(dir, &file.path, file.bytes)? };
                if read {
                    let shard = read_shard(dir, &manifest, form, file, storage)?;
                    if check != Check::Sizes {
                        shard.check_answers(&dir.join(&file.path), manifest.features.as_ref())?;
                    }
                    shards.push(shard);
                }
            }
        }
        check_sums(dir, (&manifest, &bytes), card_is_as_written, &mut notes)?;
        let mut images = IdentityHasher::new(manifest.dataset.images);
        for shard in &shards {
            images.add(shard.hashes(), shard.labels());
        }
        check_dataset(dir, &manifest, images.finish())?;
        Ok(LabelSet::new(dir, manifest, shards, notes))
    }
}

impl Manifest {
    /// The manifest of a published label set, whose id holds. Its files are not looked at.
    pub fn read(dir: &Path) -> Result<Manifest> {
        Ok(load_manifest(dir)?.0)
    }
}

/// Reads the manifest of a published label set; gives its bytes too.
pub(crate) fn load_manifest(dir: &Path) -> Result<(Manifest, Vec<u8>)> {
    let path = dir.join(MANIFEST);
    fs::read_dir(dir).map_err(Error::io("open label set", dir))?;
    let file = match open_plain(&path, 0) {
        Err(Error::MissingFile { .. }) if dir.join(WORK).exists() => {
            return Err(Error::Unfinished { dir: dir.into() });
        }
        Err(Error::MissingFile { .. }) if has_shards(dir) => {
            return Err(Error::WithoutWork { dir: dir.into() });
        }
        Err(Error::MissingFile { .. }) => {
            return Err(Error::NotALabelSet { dir: dir.into(), inside: label_set_inside(dir) });
        }
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
    Ok((Manifest::parse(&path, &bytes)?, bytes))
}

/// Whether files lie there that are named as shards are.
fn has_shards(dir: &Path) -> bool {
    [(DATA, "parquet"), (SHARDS, "safetensors")].into_iter().any(|(folder, ending)| {
        let names = visible(&dir.join(folder)).unwrap_or_default();
        names.iter().any(|name| name.contains("-of-") && name.ends_with(ending))
    })
}

/// The one folder in this one, or in its `snapshots` as the hub's cache has them, that does hold a manifest.
fn label_set_inside(dir: &Path) -> Option<PathBuf> {
    let folders = [dir.to_path_buf(), dir.join("snapshots")];
    let mut found = folders.iter().flat_map(|folder| {
        let names = visible(folder).unwrap_or_default();
        names.into_iter().map(|name| folder.join(name)).filter(|path| path.join(MANIFEST).exists())
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Maps a file after comparing its length and its hash. What is hashed is what is read later: one mapping.
pub(crate) fn check_file(dir: &Path, file: &FileRecord) -> Result<Storage> {
    let storage = map_plain(dir, &file.path, file.bytes)?;
    let found = Hex::blake3(&storage);
    if found == file.blake3 {
        return Ok(storage);
    }
    let (wanted, found) = (file.blake3.to_string(), found.to_string());
    Err(Error::FileHash { path: dir.join(&file.path), wanted, found })
}

/// The shard in a file of either form, its rows validated.
pub(crate) fn read_shard(
    dir: &Path,
    manifest: &Manifest,
    form: Form,
    file: &FileRecord,
    storage: Storage,
) -> Result<Shard> {
    let path = dir.join(&file.path);
    let (first, layout) = manifest.layout(file);
    let shard = match form {
        Form::Parquet => parquet::read(&path, storage, layout, first, manifest.augment)?,
        Form::Safetensors | Form::Both => Shard::read(&path, storage, layout, first)?,
    };
    shard.validate(&path, manifest.augment, manifest.views)?;
    Ok(shard)
}

/// Image hashes and labels over all shards must hash to the manifest's dataset.
pub(crate) fn check_dataset(dir: &Path, manifest: &Manifest, found: Hex) -> Result<()> {
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
