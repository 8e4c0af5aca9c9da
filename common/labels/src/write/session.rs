//! Writing a label set: begun, interrupted and resumed any number of times, published once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::answered::{Answered, Answerer, push};
use crate::folder::manifest::Manifest;
use crate::folder::names::{MANIFEST, WORK};
use crate::folder::parameters::Parameters;
use crate::folder::records::Robust;
use crate::part::Part;
use crate::read::note::Note;
use crate::read::open::load_manifest;
use crate::read::verify::{Unwatched, Watch, processors, require_sound};
use crate::row::coding::Unkept;
use crate::row::dtype::Form;
use crate::shard::layout::Layout;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::answers::Answers;
use crate::write::publish::{Out, sync_folder};
use crate::write::spec::Spec;
use crate::write::stock::{refuse_occupied, take_stock};
use crate::write::work::{ShardRecord, Work, is_begun, remove_if_there};

/// One shard's work: which images, and how many rows of answers to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardJob {
    /// Number of the shard.
    pub index: usize,
    /// Its images.
    pub images: Range<usize>,
    /// Its rows, counted in the whole set; [`views_of`](crate::RowTable::views_of) lists an image's.
    pub rows: Range<usize>,
}

/// A label set that is being written, locked against other writers.
///
/// Kill the process at any moment, open the session again with the same spec, write what is pending: the finished folder
/// is the same, byte for byte.
pub struct Session {
    pub(crate) dir: PathBuf,
    pub(crate) spec: Spec,
    pub(crate) parameters: Parameters,
    pub(crate) shard_images: usize,
    /// The shards that are this session's: all, or those of its part.
    pub(crate) ours: Range<usize>,
    pub(crate) done: BTreeMap<usize, ShardRecord>,
    pub(crate) state: State,
    pub(crate) robust: Option<Robust>,
    /// What answers in this session.
    pub(crate) us: Answerer,
}

pub(crate) enum State {
    /// Not looked at yet.
    Unknown,
    Writing(Work),
    Finished {
        manifest: Box<Manifest>,
        notes: Vec<Note>,
    },
}

impl Session {
    /// Begins a label set in an empty or absent folder, or goes on with one that the same spec began.
    ///
    /// Finished shards are hashed again before they are trusted. If the folder is already published with this spec, every
    /// byte and row of it is verified; then nothing is pending and [`Session::finish`] returns its manifest. A disk that
    /// cannot hold what is missing is refused now rather than when it is full.
    pub fn open(dir: &Path, spec: Spec) -> Result<Session> {
        let session = Session::open_watched(dir, spec, None, processors(), &Unwatched)?;
        Ok(session.expect("nobody stopped it"))
    }

    /// Begins a part of a label set, or goes on with it, beside those who write the others: on this machine or on others that
    /// share the folder. What a part writes, and the label set in the end, are the bytes that one session would have
    /// written.
    ///
    /// The same part a second time at once is refused, as is another number of parts. Once all are written, [`finalize`] or a
    /// [`Session::open`] of the same spec publishes the set; a part's [`Session::finish`] does not.
    ///
    /// [`finalize`]: crate::finalize
    pub fn open_part(dir: &Path, spec: Spec, part: Part) -> Result<Session> {
        let session = Session::open_watched(dir, spec, Some(part), processors(), &Unwatched)?;
        Ok(session.expect("nobody stopped it"))
    }

    /// The session of all or of a part; what is there is looked at on so many threads. None where that was stopped.
    pub fn open_watched(
        dir: &Path,
        spec: Spec,
        part: Option<Part>,
        threads: usize,
        watch: &dyn Watch,
    ) -> Result<Option<Session>> {
        spec.validate()?;
        refuse_inside(dir)?;
        let shard_images = spec.shard_images();
        let parameters = spec.parameters(shard_images);
        let us = parameters.answerer();
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let mut session = Session {
            dir: dir.into(),
            spec,
            parameters,
            shard_images,
            ours: 0..0,
            done: BTreeMap::new(),
            state: State::Unknown,
            robust: None,
            us,
        };
        let published = || dir.join(MANIFEST).exists();
        let begun = || dir.join(WORK).exists();
        if !published() {
            // Before anything is made in a folder that may be somebody else's. A writer that published meanwhile has
            // taken .work away, one of another part that began has made it.
            if !begun()
                && let Err(occupied) = refuse_occupied(dir, |_| false)
                && !published()
                && !begun()
            {
                return Err(occupied);
            }
            let work = Work::lock(dir, part)?;
            // What was seen above may be out of date: the lock's last holder may just have published.
            if !published() {
                return Ok(session.begin(work, part, watch)?.then_some(session));
            }
        }
        Ok(session.inherit(threads, watch)?.then_some(session))
    }

    /// Goes on with what the folder holds, under its lock; `false` where it was stopped.
    fn begin(&mut self, work: Work, part: Option<Part>, watch: &dyn Watch) -> Result<bool> {
        let begun = if let Some(begun) = work.parameters()? {
            work.clear_temporary()?;
            begun
        } else {
            // What is there now may be what another part has made after its parameters.
            if let Err(occupied) = refuse_occupied(&self.dir, |_| false)
                && work.parameters()?.is_none()
            {
                return Err(occupied);
            }
            work.begin(&self.parameters)?
        };
        self.adopt(&begun);
        self.parameters.require(&self.dir, begun)?;
        sync_folder(&self.dir)?;
        work.agree_on_parts()?;
        self.ours = part.map_or(0..self.shards(), |part| part.range(self.shards()));
        let rows = |index| self.job(index).rows.len() as u64;
        let stop = || watch.stop();
        let Some(done) = take_stock(&self.dir, &work, &self.parameters, self.ours(), rows, &stop)? else {
            return Ok(false);
        };
        self.done = done;
        for (index, record) in &self.done {
            self.require_ours(*index, &record.answered)?;
        }
        self.require_ours_elsewhere()?;
        self.state = State::Writing(work);
        self.require_room()?;
        Ok(true)
    }

    /// A label set that was begun in shards of some size goes on in them where the spec leaves their size open, and what
    /// another engine began goes on where the spec is content with any.
    fn adopt(&mut self, begun: &Parameters) {
        if let (None, Ok(images @ 1..)) = (self.spec.shard_images, usize::try_from(begun.shard_images)) {
            self.spec.shard_images = Some(images);
            self.shard_images = images;
            self.parameters.shard_images = begun.shard_images;
        }
        if self.spec.any_engine {
            self.parameters.teacher.engine.clone_from(&begun.teacher.engine);
            self.parameters.teacher.device.clone_from(&begun.teacher.device);
            self.parameters.build.clone_from(&begun.build);
        }
    }

    /// Takes the label set that is published for ours, if it is: the same parameters, and every row still there. `false` where
    /// it was stopped.
    fn inherit(&mut self, threads: usize, watch: &dyn Watch) -> Result<bool> {
        let (manifest, _) = load_manifest(&self.dir)?;
        let begun = Parameters::of(&manifest);
        self.adopt(&begun);
        self.parameters.require(&self.dir, begun)?;
        self.require_ours_in(&manifest)?;
        let Some((manifest, notes)) = require_sound(&self.dir, threads, watch)? else { return Ok(false) };
        // A writer may have been interrupted between its commit and its tidying up, or be at it now.
        if self.dir.join(WORK).exists()
            && let Ok(work) = Work::lock(&self.dir, None)
        {
            work.remove();
        }
        self.state = State::Finished { manifest: Box::new(manifest), notes };
        Ok(true)
    }

    /// Whether the label set was there already, published with this spec; nothing is pending then.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished { .. })
    }

    /// What is other than it was written in a label set that was there already.
    pub fn notes(&self) -> &[Note] {
        match &self.state {
            State::Finished { notes, .. } => notes,
            State::Writing(_) | State::Unknown => &[],
        }
    }

    /// Has the manifest and the card say how the teacher does under attack.
    pub fn measured(&mut self, robust: Robust) {
        self.robust = Some(robust);
    }

    /// The spec this session writes.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Number of shards, finished and pending.
    pub fn shards(&self) -> usize {
        self.parameters.shards()
    }

    /// Rows of this session's shards.
    pub fn rows(&self) -> usize {
        self.ours().map(|index| self.job(index).rows.len()).sum()
    }

    /// Shards of the whole label set that nobody has written yet.
    pub fn missing(&self) -> usize {
        match &self.state {
            State::Writing(work) => (0..self.shards()).filter(|&index| !work.has_shard(index)).count(),
            State::Finished { .. } | State::Unknown => 0,
        }
    }

    /// The shards of this session that are to be written, or were.
    pub fn ours(&self) -> Range<usize> {
        self.ours.clone()
    }

    /// The shards of this session that have no answers yet, in order.
    pub fn pending(&self) -> Vec<ShardJob> {
        if self.is_finished() {
            return Vec::new();
        }
        self.ours().filter(|index| !self.done.contains_key(index)).map(|index| self.job(index)).collect()
    }

    /// The answers to a shard's rows that an earlier writer kept, to be added to until every row has one.
    ///
    /// Answers that are kept survive this process; what is not written as a shard yet is all that a kill may cost.
    pub fn answers(&self, job: &ShardJob) -> Result<Answers> {
        let work = self.work()?;
        let sizes = [job.rows.len(), self.spec.coding().kept()];
        let answers = Answers::open(work.answers(job.index), sizes, &self.parameters.answerer(), &self.us)?;
        self.require_ours(job.index, answers.answered())?;
        Ok(answers)
    }

    fn work(&self) -> Result<&Work> {
        match &self.state {
            State::Writing(work) => Ok(work),
            State::Finished { .. } | State::Unknown => Err(Error::Finished { dir: self.dir.clone() }),
        }
    }

    /// Writes one shard of answers that were all kept, some of them by an earlier writer on another engine, perhaps.
    pub fn write_kept(&mut self, job: &ShardJob, answers: &Answers) -> Result<()> {
        self.write_by(job, answers.values().into(), answers.answered().to_vec())
    }

    /// Writes one shard: its safetensors file, its Parquet twin, and the record that lets a resumed run skip it.
    ///
    /// `answers` are (rows, K + F), row after row in the order of the row table: the logits of each, then its feature maps where
    /// the spec has some, in its order, each channel by channel and row by row. Writing a finished shard again does nothing.
    /// Answers that were kept of its rows go: they are in the shard now, and are recorded as this session's.
    pub fn write(&mut self, job: &ShardJob, answers: &[f32]) -> Result<()> {
        let mut answered = Vec::new();
        push(&mut answered, job.rows.len() as u64, &self.us);
        let kept = kept(&self.spec, job, answers)?;
        self.write_by(job, kept, answered)
    }

    fn write_by(&mut self, job: &ShardJob, kept: Cow<[f32]>, answered: Vec<Answered>) -> Result<()> {
        let work = self.work()?;
        if self.done.contains_key(&job.index) {
            return Ok(());
        }
        if !self.ours.contains(&job.index) || *job != self.job(job.index) {
            return Err(Error::unusable("shard", "one of the session's own jobs", format!("{job:?}")));
        }
        let shard = filled(&self.spec, job, &kept)?;
        drop(kept);
        let publisher = work.publisher();
        let mut files = Vec::new();
        if self.spec.form.has_parquet() {
            let inside = self.parameters.shard_path(Form::Parquet, job.index);
            let write = |out: &mut Out| parquet::write(&shard, self.spec.augment, out);
            files.push((inside.clone(), publisher.publish(&inside, write)?));
        }
        if self.spec.form.has_safetensors() {
            let inside = self.parameters.shard_path(Form::Safetensors, job.index);
            files.push((inside.clone(), publisher.publish_bytes(&inside, shard.bytes())?));
        }
        let mut record = ShardRecord { rows: Some(job.rows.len() as u64), answered, files };
        record.leave_out(&self.parameters.answerer());
        work.store_shard(job.index, &record)?;
        remove_if_there(&work.answers(job.index))?;
        self.done.insert(job.index, record);
        Ok(())
    }

    pub(crate) fn job(&self, index: usize) -> ShardJob {
        let start = index * self.shard_images;
        let images = start..start.saturating_add(self.shard_images).min(self.spec.dataset.len());
        ShardJob { index, rows: self.spec.rows.rows_of(images.clone()), images }
    }

    pub(crate) fn layout(&self, job: &ShardJob) -> Layout {
        layout(&self.spec, job)
    }
}

fn layout(spec: &Spec, job: &ShardJob) -> Layout {
    let sizes = [job.images.len(), job.rows.len()];
    Layout::new(sizes, spec.coding())
}

fn require_values(job: &ShardJob, values: &[f32], of_row: usize) -> Result<()> {
    let wanted = job.rows.len() * of_row;
    if values.len() == wanted {
        return Ok(());
    }
    Err(Error::unusable(format!("number of values of shard {}", job.index), wanted, values.len()))
}

/// The answers to a shard's rows as they are kept.
pub(crate) fn kept<'a>(spec: &Spec, job: &ShardJob, answers: &'a [f32]) -> Result<Cow<'a, [f32]>> {
    let coding = spec.coding();
    require_values(job, answers, coding.given())?;
    coding.keep(answers).map_err(|Unkept { row, class, value }| {
        let mut rows = job
            .images
            .clone()
            .flat_map(|image| spec.rows.views_of(image).iter().map(move |&view| (image as u64, view)));
        let place = rows.nth(row).expect("as many rows as answers");
        Error::of_answer(spec.features.as_ref(), &coding, class, place, value)
    })
}

/// The shard of answers as they are kept.
pub(crate) fn filled(spec: &Spec, job: &ShardJob, kept: &[f32]) -> Result<Shard> {
    require_values(job, kept, spec.coding().kept())?;
    let (dataset, images) = (&spec.dataset, job.images.clone());
    let mut shard = Shard::blank(layout(spec, job), images.start as u64);
    for (slot, offset) in shard.offsets_mut().iter_mut().zip(spec.rows.offsets_in(images.clone())) {
        *slot = offset;
    }
    shard.labels_mut().copy_from_slice(&dataset.labels[images.clone()]);
    shard.hashes_mut().copy_from_slice(&dataset.hashes[images.clone()]);
    shard.views_mut().copy_from_slice(spec.rows.views_in(images));
    shard.fill(kept, spec.features.as_ref())?;
    Ok(shard)
}

/// Where a folder lies, or will: without links and steps upwards.
pub(crate) fn resolved(dir: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(dir).map_err(Error::io("find", dir))?;
    let there = absolute.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    Ok(there.map_or_else(
        || absolute.clone(),
        |(above, found)| found.join(absolute.strip_prefix(above).unwrap_or(Path::new(""))),
    ))
}

/// Refuses a folder inside a label set, published or not, which would have a stranger then.
pub(crate) fn refuse_inside(dir: &Path) -> Result<()> {
    let place = resolved(dir)?;
    let is_set = |folder: &&Path| Manifest::read(folder).is_ok() || is_begun(folder);
    let around = place.ancestors().skip(1).find(is_set);
    match around {
        None => Ok(()),
        Some(around) => Err(Error::Inside { dir: dir.into(), around: around.into() }),
    }
}
