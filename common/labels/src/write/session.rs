//! Writing a label set: begun, interrupted and resumed any number of times, published once.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, DATA, MANIFEST, SHARDS, SUMS, WORK, shard_path};
use crate::folder::parameters::Parameters;
use crate::folder::plain::visible;
use crate::folder::records::Robust;
use crate::read::note::Note;
use crate::read::open::load_manifest;
use crate::read::verify::verify;
use crate::row::dtype::Form;
use crate::shard::layout::Layout;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::answers::Answers;
use crate::write::publish::{Out, Publisher, sync_folder};
use crate::write::spec::Spec;
use crate::write::work::{ShardRecord, Work, remove_if_there};

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
    pub(crate) done: BTreeMap<usize, ShardRecord>,
    pub(crate) state: State,
    pub(crate) robust: Option<Robust>,
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
        spec.validate()?;
        let shard_images = spec.shard_images();
        let parameters = spec.parameters(shard_images);
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let mut session = Session {
            dir: dir.into(),
            spec,
            parameters,
            shard_images,
            done: BTreeMap::new(),
            state: State::Unknown,
            robust: None,
        };
        let published = || dir.join(MANIFEST).exists();
        if !published() {
            // Before anything is made in a folder that may be somebody else's. A writer that published meanwhile has
            // taken .work away.
            if !dir.join(WORK).exists()
                && let Err(occupied) = refuse_occupied(dir, |_| false)
                && !published()
            {
                return Err(occupied);
            }
            let work = Work::lock(dir)?;
            // What was seen above may be out of date: the lock's last holder may just have published.
            if !published() {
                session.begin(work)?;
                return Ok(session);
            }
            work.remove();
        }
        session.inherit()?;
        Ok(session)
    }

    /// Goes on with what the folder holds, under its lock.
    fn begin(&mut self, work: Work) -> Result<()> {
        if let Some(begun) = work.parameters()? {
            self.adopt(&begun);
            self.parameters.require(&self.dir, begun)?;
            work.clear_temporary()?;
        } else {
            refuse_occupied(&self.dir, |_| false)?;
            work.begin(&self.parameters)?;
        }
        self.state = State::Writing(work);
        self.take_stock()?;
        self.require_room()
    }

    /// A label set that was begun in shards of some size goes on in them where the spec leaves their size open.
    fn adopt(&mut self, begun: &Parameters) {
        if let (None, Ok(images @ 1..)) = (self.spec.shard_images, usize::try_from(begun.shard_images)) {
            self.spec.shard_images = Some(images);
            self.shard_images = images;
            self.parameters.shard_images = begun.shard_images;
        }
    }

    /// Takes the label set that is published for ours, if it is: the same parameters, and every row still there.
    fn inherit(&mut self) -> Result<()> {
        let (manifest, _) = load_manifest(&self.dir)?;
        let begun = Parameters::of(&manifest);
        self.adopt(&begun);
        self.parameters.require(&self.dir, begun)?;
        let report = verify(&self.dir)?;
        if let Some(problem) = report.problems.into_iter().next() {
            return Err(problem);
        }
        // A writer may have been interrupted between its commit and its tidying up, or be at it now.
        if self.dir.join(WORK).exists()
            && let Ok(work) = Work::lock(&self.dir)
        {
            work.remove();
        }
        self.state = State::Finished { manifest: Box::new(manifest), notes: report.notes };
        Ok(())
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
        self.spec.dataset.len().div_ceil(self.shard_images)
    }

    /// The shards that have no answers yet, in order.
    pub fn pending(&self) -> Vec<ShardJob> {
        if self.is_finished() {
            return Vec::new();
        }
        (0..self.shards())
            .filter(|index| !self.done.contains_key(index))
            .map(|index| self.job(index))
            .collect()
    }

    /// The answers to a shard's rows that an earlier writer kept, to be added to until every row has one.
    ///
    /// Answers that are kept survive this process; what is not written as a shard yet is all that a kill may cost.
    pub fn answers(&self, job: &ShardJob) -> Result<Answers> {
        let work = self.work()?;
        Answers::open(work.answers(job.index), job.rows.len(), self.spec.width())
    }

    fn work(&self) -> Result<&Work> {
        match &self.state {
            State::Writing(work) => Ok(work),
            State::Finished { .. } | State::Unknown => Err(Error::Finished { dir: self.dir.clone() }),
        }
    }

    /// Writes one shard: its safetensors file, its Parquet twin, and the record that lets a resumed run skip it.
    ///
    /// `answers` are (rows, K + F), row after row in the order of the row table: the logits of each, then its feature maps where
    /// the spec has some, in its order, each channel by channel and row by row. Writing a finished shard again does nothing.
    /// Answers that were kept of its rows go: they are in the shard now.
    pub fn write(&mut self, job: &ShardJob, answers: &[f32]) -> Result<()> {
        let work = self.work()?;
        if self.done.contains_key(&job.index) {
            return Ok(());
        }
        if job.index >= self.shards() || *job != self.job(job.index) {
            return Err(Error::unusable("shard", "one of the session's own jobs", format!("{job:?}")));
        }
        let wanted = job.rows.len() * self.spec.width();
        if answers.len() != wanted {
            let what = format!("number of values of shard {}", job.index);
            return Err(Error::unusable(what, wanted, answers.len()));
        }
        let shard = self.shard(job, answers)?;
        let publisher = Publisher::new(&self.dir);
        let mut files = Vec::new();
        if self.spec.form.has_parquet() {
            let inside = self.shard_path(Form::Parquet, job.index);
            let write = |out: &mut Out| parquet::write(&shard, self.spec.augment, out);
            files.push((inside.clone(), publisher.publish(&inside, write)?));
        }
        if self.spec.form.has_safetensors() {
            let inside = self.shard_path(Form::Safetensors, job.index);
            files.push((inside.clone(), publisher.publish_bytes(&inside, shard.bytes())?));
        }
        let record = ShardRecord { files };
        work.store_shard(job.index, &record)?;
        remove_if_there(&work.answers(job.index))?;
        self.done.insert(job.index, record);
        Ok(())
    }

    /// Finds the finished shards, and removes what belongs to none of them.
    fn take_stock(&mut self) -> Result<()> {
        let State::Writing(work) = &self.state else { return Ok(()) };
        let mut ours: Vec<String> = vec![CARD.into(), SUMS.into()];
        for (folder, present) in
            [(DATA, self.spec.form.has_parquet()), (SHARDS, self.spec.form.has_safetensors())]
        {
            if present {
                let path = self.dir.join(folder);
                fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
                ours.push(folder.into());
            }
        }
        sync_folder(&self.dir)?;
        refuse_occupied(&self.dir, |name| ours.iter().any(|ours| ours == name))?;
        // Written by a `finish` that was interrupted before its commit.
        for name in [CARD, SUMS] {
            remove_if_there(&self.dir.join(name))?;
        }
        for index in 0..self.shards() {
            if let Some(record) = work.shard(index)? {
                remove_if_there(&work.answers(index))?;
                self.done.insert(index, record);
                continue;
            }
            work.forget_shard(index)?;
            for form in [Form::Parquet, Form::Safetensors] {
                remove_if_there(&self.dir.join(self.shard_path(form, index)))?;
            }
        }
        let done = self.done.values().flat_map(|record| record.files.iter().map(|(path, _)| path));
        let done: Vec<&String> = done.collect();
        for folder in ours.iter().filter(|name| [DATA, SHARDS].contains(&name.as_str())) {
            for name in visible(&self.dir.join(folder))? {
                let entry = format!("{folder}/{name}");
                if !done.contains(&&entry) {
                    let dir = self.dir.clone();
                    return Err(Error::Occupied { dir, entry });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn job(&self, index: usize) -> ShardJob {
        let start = index * self.shard_images;
        let images = start..start.saturating_add(self.shard_images).min(self.spec.dataset.len());
        ShardJob { index, rows: self.spec.rows.rows_of(images.clone()), images }
    }

    pub(crate) fn layout(&self, job: &ShardJob) -> Layout {
        let (sizes, spec) = ([job.images.len(), job.rows.len()], &self.spec);
        Layout::new(sizes, spec.dataset.classes, spec.dtype, spec.features.as_ref())
    }

    fn shard(&self, job: &ShardJob, answers: &[f32]) -> Result<Shard> {
        let (dataset, images) = (&self.spec.dataset, job.images.clone());
        let mut shard = Shard::blank(self.layout(job), images.start as u64);
        for (slot, offset) in shard.offsets_mut().iter_mut().zip(self.spec.rows.offsets_in(images.clone())) {
            *slot = offset;
        }
        shard.labels_mut().copy_from_slice(&dataset.labels[images.clone()]);
        shard.hashes_mut().copy_from_slice(&dataset.hashes[images.clone()]);
        shard.views_mut().copy_from_slice(self.spec.rows.views_in(images));
        shard.fill(answers, self.spec.features.as_ref())?;
        Ok(shard)
    }

    pub(crate) fn shard_path(&self, form: Form, index: usize) -> String {
        shard_path(form, &self.spec.dataset.split, index, self.shards())
    }
}

/// Refuses a folder with something in it that is not ours. Names that start with a dot are nobody's business.
fn refuse_occupied(dir: &Path, ours: impl Fn(&str) -> bool) -> Result<()> {
    match visible(dir)?.into_iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(entry) => Err(Error::Occupied { dir: dir.into(), entry }),
    }
}
