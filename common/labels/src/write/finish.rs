//! The end of writing: rows read back, hashed and counted, then card, SHA256SUMS and the manifest put in place.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::card;
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, MANIFEST, SUMS, WORK};
use crate::folder::parameters::Parameters;
use crate::folder::plain::map_plain;
use crate::folder::records::{FileRecord, RightAnswers, Robust};
use crate::folder::sums;
use crate::read::open::load_manifest;
use crate::read::verify::verify;
use crate::row::digest::{FileDigest, Hex};
use crate::row::dtype::Form;
use crate::shard::content::ContentHasher;
use crate::shard::layout::Layout;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::session::{Session, State};
use crate::write::stock::take_stock;
use crate::write::work::{ShardRecord, Work};

impl Session {
    /// Publishes the label set: card, SHA256SUMS, and last of all the manifest. Every shard must have been written. The session
    /// of a part is refused: it does not know of the others.
    pub fn finish(self) -> Result<Manifest> {
        match self.state {
            State::Finished { manifest, .. } => Ok(*manifest),
            State::Writing(work) if work.is_of_all() => {
                publish(&self.dir, work, self.parameters, &self.done, self.robust)
            }
            State::Writing(_) | State::Unknown => {
                Err(Error::unusable("session to be finished", "one of the whole label set", "one of a part"))
            }
        }
    }
}

/// Publishes the label set whose shards the sessions of its parts have written ([`Session::open_part`]); all of them must
/// have ended. The bytes are those that one session would have written. One that is published already is verified.
pub fn finalize(dir: &Path) -> Result<Manifest> {
    if dir.join(MANIFEST).exists() {
        let report = verify(dir)?;
        return report.problems.into_iter().next().map_or(Ok(report.manifest), Err);
    }
    if !dir.join(WORK).exists() {
        // Says what the folder is.
        return Ok(load_manifest(dir)?.0);
    }
    let work = Work::lock(dir, None)?;
    let Some(parameters) = work.parameters()? else {
        return Err(Error::Unfinished { dir: dir.into() });
    };
    let done = take_stock(dir, &work, &parameters, 0..parameters.shards())?;
    publish(dir, work, parameters, &done, None)
}

fn publish(
    dir: &Path,
    work: Work,
    parameters: Parameters,
    done: &BTreeMap<usize, ShardRecord>,
    robust: Option<Robust>,
) -> Result<Manifest> {
    let shards = parameters.shards();
    if let Some(first) = (0..shards).find(|index| !done.contains_key(index)) {
        return Err(Error::Pending { dir: dir.into(), pending: shards - done.len(), shards, first });
    }
    let (content_hash, right) = read_back(dir, &parameters, done)?;
    let (format, format_version) = Manifest::format(parameters.features.is_some());
    let (mut files, mut digests) = (Vec::new(), Vec::new());
    for form in [Form::Parquet, Form::Safetensors] {
        for (&index, record) in done {
            let path = parameters.shard_path(form, index);
            let Some((_, digest)) = record.files.iter().find(|(inside, _)| *inside == path) else { continue };
            let images = parameters.images_of(index);
            digests.push((path.clone(), digest.sha256));
            files.push(FileRecord {
                path,
                rows: Some(record.rows),
                images: Some([images.start, images.end]),
                bytes: digest.bytes,
                blake3: digest.blake3,
            });
        }
    }
    let mut manifest = Manifest {
        format,
        format_version,
        id: Hex([0; 32]),
        content_hash,
        dataset: parameters.dataset,
        augment: parameters.augment,
        views: parameters.views,
        rows: parameters.rows,
        dtype: parameters.dtype,
        features: parameters.features,
        form: parameters.form,
        shard_images: parameters.shard_images,
        teacher: parameters.teacher,
        parents: parameters.parents,
        right,
        robust,
        license: parameters.license,
        author: parameters.author,
        files: Vec::new(),
    };
    let publisher = work.publisher();
    let card = publisher.publish_bytes(CARD, card::text(&manifest).as_bytes())?;
    digests.push((CARD.into(), card.sha256));
    let card =
        FileRecord { path: CARD.into(), rows: None, images: None, bytes: card.bytes, blake3: card.blake3 };
    files.insert(0, card);
    manifest.files = files;
    let bytes = manifest.seal();
    digests.push((MANIFEST.into(), FileDigest::of(&bytes).sha256));
    publisher.publish_bytes(SUMS, sums::text(digests).as_bytes())?;
    // The commit. Everything it names is on the disk, synced, under its final name.
    publisher.publish_bytes(MANIFEST, &bytes)?;
    work.remove();
    Ok(manifest)
}

/// Reads the rows back from the disk: what is hashed and counted is what was published.
fn read_back(
    dir: &Path,
    parameters: &Parameters,
    done: &BTreeMap<usize, ShardRecord>,
) -> Result<(Hex, RightAnswers)> {
    let (classes, features) = (parameters.dataset.classes, parameters.features.as_ref());
    let mut content = ContentHasher::new(parameters.dtype, classes, features);
    let mut right = RightAnswers::none(classes);
    for (&index, record) in done {
        let (inside, digest) = record.files.last().expect("a shard has a file");
        let (path, storage) = (dir.join(inside), map_plain(dir, inside, digest.bytes)?);
        let images = parameters.images_of(index);
        let sizes = [(images.end - images.start) as usize, record.rows as usize];
        let layout = Layout::new(sizes, classes, parameters.dtype, features);
        let shard = if parameters.form.has_safetensors() {
            Shard::read(&path, storage, layout, images.start)?
        } else {
            parquet::read(&path, storage, layout, images.start, parameters.augment)?
        };
        shard.validate(&path, parameters.augment, parameters.views)?;
        content.add(&shard);
        for (row, _, _, label) in shard.rows() {
            right.add(label, shard.logits(row..row + 1).argmax());
        }
    }
    Ok((content.finish(), right))
}
