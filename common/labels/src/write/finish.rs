//! The end of writing: rows read back, hashed and counted, then card, SHA256SUMS and the manifest put in place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::answered::{condensed, push};
use crate::folder::card;
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, MANIFEST, SUMS, WORK};
use crate::folder::parameters::Parameters;
use crate::folder::plain::map_plain;
use crate::folder::records::{FileRecord, RightAnswers, Robust};
use crate::folder::sums;
use crate::read::open::load_manifest;
use crate::read::verify::{Unwatched, Watch, processors, require_sound};
use crate::row::digest::{FileDigest, Hex, sha256};
use crate::row::dtype::Form;
use crate::row::lost::Lost;
use crate::shard::content::ContentHasher;
use crate::shard::layout::Layout;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::session::{Session, State};
use crate::write::stock::{clear_commit, refuse_strangers};
use crate::write::work::{ShardRecord, Work, begun, recorded};

impl Session {
    /// Publishes the label set: card, SHA256SUMS, and last of all the manifest. Every shard must have been written. The session
    /// of a part is refused: it does not know of the others.
    pub fn finish(self) -> Result<Manifest> {
        Ok(self.finish_unless(&|| false)?.expect("nobody stopped it"))
    }

    /// [`Session::finish`]; none, and nothing is published, where `stop` said so while the rows were read back.
    pub fn finish_unless(self, stop: &dyn Fn() -> bool) -> Result<Option<Manifest>> {
        match self.state {
            State::Finished { manifest, .. } => Ok(Some(*manifest)),
            State::Writing(work) if work.is_of_all() => {
                publish(&self.dir, work, self.parameters, &self.done, self.robust, stop)
            }
            State::Writing(_) | State::Unknown => {
                Err(Error::unusable("session to be finished", "one of the whole label set", "one of a part"))
            }
        }
    }
}

/// Publishes the label set whose shards the sessions of its parts have written ([`Session::open_part`]); all of them must
/// have ended. The bytes are those that one session would have written. One that is published already is verified.
///
/// It removes no shard, whatever is wrong with it, and refuses a set with a shard missing before it locks anybody out.
pub fn finalize(dir: &Path) -> Result<Manifest> {
    Ok(finalize_watched(dir, processors(), &Unwatched)?.expect("nobody stopped it"))
}

/// [`finalize`] with a verification on so many threads; none where it was stopped, and the same call goes on.
pub fn finalize_watched(dir: &Path, threads: usize, watch: &dyn Watch) -> Result<Option<Manifest>> {
    let published = || dir.join(MANIFEST).exists();
    if !published() {
        if !dir.join(WORK).exists() {
            // Says what the folder is.
            return Ok(Some(load_manifest(dir)?.0));
        }
        let parameters = begun(dir)?;
        if let Some(pending) = pending(dir, &parameters, &recorded(dir)?) {
            return Err(pending);
        }
        let work = Work::lock(dir, None)?;
        // What was seen above may be out of date: the lock's last holder may just have published.
        if !published() {
            let stop = || watch.stop();
            let Some(done) = survey(dir, &work, &parameters, &stop)? else { return Ok(None) };
            return publish(dir, work, parameters, &done, None, &stop);
        }
        work.remove();
    }
    let Some((manifest, _)) = require_sound(dir, threads, watch)? else { return Ok(None) };
    // A writer may have been interrupted between its commit and its tidying up, or be at it now.
    if dir.join(WORK).exists()
        && let Ok(work) = Work::lock(dir, None)
    {
        work.remove();
    }
    Ok(Some(manifest))
}

/// The error of a label set that has not all its shards.
pub(crate) fn pending(dir: &Path, parameters: &Parameters, there: &BTreeSet<usize>) -> Option<Error> {
    let shards = parameters.shards();
    let first = (0..shards).find(|index| !there.contains(index))?;
    Some(Error::Pending { dir: dir.into(), pending: shards.saturating_sub(there.len()), shards, first })
}

/// The shards, each of which must be there whole, and be all that is there; none where it was stopped.
fn survey(
    dir: &Path,
    work: &Work,
    parameters: &Parameters,
    stop: &dyn Fn() -> bool,
) -> Result<Option<BTreeMap<usize, ShardRecord>>> {
    let mut done = BTreeMap::new();
    for index in 0..parameters.shards() {
        if stop() {
            return Ok(None);
        }
        if let Some(record) = work.shard(index, parameters)? {
            done.insert(index, record);
        }
    }
    if let Some(pending) = pending(dir, parameters, &done.keys().copied().collect()) {
        return Err(pending);
    }
    let known = done.values().flat_map(|record| record.files.iter().map(|(path, _)| path.clone()));
    refuse_strangers(dir, parameters.form, &known.collect())?;
    clear_commit(dir)?;
    Ok(Some(done))
}

/// Reads the rows back and publishes the label set; none where that was stopped before its first file.
pub(crate) fn publish(
    dir: &Path,
    work: Work,
    mut parameters: Parameters,
    done: &BTreeMap<usize, ShardRecord>,
    robust: Option<Robust>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Manifest>> {
    if let Some(pending) = pending(dir, &parameters, &done.keys().copied().collect()) {
        return Err(pending);
    }
    let Some((content_hash, right, lost)) = read_back(dir, &parameters, done, stop)? else { return Ok(None) };
    let (format, format_version) = Manifest::format(parameters.coding());
    let mut files = Vec::new();
    for form in [Form::Parquet, Form::Safetensors] {
        for (&index, record) in done {
            let path = parameters.shard_path(form, index);
            let Some((_, digest)) = record.files.iter().find(|(inside, _)| *inside == path) else { continue };
            let images = parameters.images_of(index);
            files.push(FileRecord {
                path,
                rows: record.rows,
                images: Some([images.start, images.end]),
                bytes: digest.bytes,
                blake3: digest.blake3,
                sha256: digest.sha256,
            });
        }
    }
    let mut answered = Vec::new();
    for one in done.values().flat_map(|record| record.whose(&parameters)) {
        push(&mut answered, one.rows[1].saturating_sub(one.rows[0]), &one.by);
    }
    // Whoever began it may have answered nothing.
    if let Some(first) = answered.first() {
        parameters.teacher.engine.clone_from(&first.by.engine);
        parameters.teacher.device.clone_from(&first.by.device);
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
        top_k: parameters.top_k,
        features: parameters.features,
        form: parameters.form,
        shard_images: parameters.shard_images,
        teacher: parameters.teacher,
        answered: condensed(answered),
        parents: parameters.parents,
        right,
        lost,
        robust,
        license: parameters.license,
        author: parameters.author,
        files: Vec::new(),
    };
    let publisher = work.publisher();
    let card = publisher.publish_bytes(CARD, card::text(&manifest).as_bytes())?;
    let FileDigest { bytes, blake3, sha256: sum } = card;
    files.insert(0, FileRecord { path: CARD.into(), rows: None, images: None, bytes, blake3, sha256: sum });
    manifest.files = files;
    let bytes = manifest.seal();
    // What no reader would take is not published.
    let manifest = Manifest::parse(&dir.join(MANIFEST), &bytes)?;
    let mut digests: Vec<_> = manifest.files.iter().map(|file| (file.path.clone(), file.sha256)).collect();
    digests.push((MANIFEST.into(), sha256(&bytes)));
    publisher.publish_bytes(SUMS, sums::text(digests).as_bytes())?;
    // The commit. Everything it names is on the disk, synced, under its final name.
    publisher.publish_bytes(MANIFEST, &bytes)?;
    work.remove();
    Ok(Some(manifest))
}

/// Reads the rows back from the disk: what is hashed and counted is what was published.
fn read_back(
    dir: &Path,
    parameters: &Parameters,
    done: &BTreeMap<usize, ShardRecord>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<(Hex, RightAnswers, Option<Lost>)>> {
    let mut content = ContentHasher::new(parameters.coding(), parameters.features.as_ref());
    let mut right = RightAnswers::none(parameters.dataset.classes);
    let (coded, mut lost) = (!parameters.coding().is_plain(), None);
    for (&index, record) in done {
        if stop() {
            return Ok(None);
        }
        let shard = read_recorded(dir, index, parameters, record)?;
        content.add(&shard);
        for (row, _, _, label) in shard.rows() {
            right.add(label, shard.logits(row).argmax());
            if coded && let Some((nanonats, turned)) = shard.answer(row).lost() {
                lost.get_or_insert(Lost::default()).add(nanonats, turned);
            }
        }
    }
    Ok(Some((content.finish(), right, lost)))
}

/// The rows of a shard that is recorded, from the file that is mapped where there is one.
pub(crate) fn read_recorded(
    dir: &Path,
    index: usize,
    parameters: &Parameters,
    record: &ShardRecord,
) -> Result<Shard> {
    let (inside, digest) = record.files.last().expect("a shard has a file");
    let (path, storage) = (dir.join(inside), map_plain(dir, inside, digest.bytes)?);
    let images = parameters.images_of(index);
    let Some(rows) = record.rows else {
        return Err(Error::unusable(format!("record of shard {index}"), "its rows", "an earlier version's"));
    };
    let sizes = [(images.end - images.start) as usize, rows as usize];
    let layout = Layout::new(sizes, parameters.coding());
    let shard = if parameters.form.has_safetensors() {
        Shard::read(&path, storage, layout, images.start)?
    } else {
        parquet::read(&path, storage, layout, images.start, parameters.augment)?
    };
    shard.validate(&path, parameters.augment, parameters.views)?;
    Ok(shard)
}
