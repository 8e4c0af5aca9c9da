//! Parts of one label set that were written into folders of their own, on machines that share no disk, made one folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{MANIFEST, WORK};
use crate::folder::parameters::{Parameters, difference, plain};
use crate::folder::plain::map_plain;
use crate::read::open::load_manifest;
use crate::read::verify::{Watch, require_sound};
use crate::row::digest::FileDigest;
use crate::shard::rows::Shard;
use crate::write::finish::{pending, publish, read_recorded};
use crate::write::publish::sync_folder;
use crate::write::room::require_free;
use crate::write::session::{refuse_inside, resolved};
use crate::write::stock::{refuse_occupied, take_stock};
use crate::write::work::{ShardRecord, Work, begun, record_of, recorded, whole_shard};

/// What became of a label set's parts.
#[derive(Debug)]
pub enum Joined {
    /// They are published in the new folder.
    Set(Box<Manifest>),
    /// Somebody asked to stop; the same call goes on.
    Stopped {
        /// Rows that are in the new folder.
        done: u64,
        /// Rows of the whole label set.
        rows: u64,
    },
}

/// A folder that some shards are in.
struct Source<'a> {
    dir: &'a Path,
    parameters: Parameters,
}

/// Publishes in a folder of its own the label set that these folders have the shards of, none of them published. What it
/// leaves is, byte for byte, what one writer would have left.
///
/// The folders must have been begun with the same spec, but for what answered; nobody is locked out of them and nothing there
/// is changed. A shard that several have is taken once, and refused where their rows differ. Nothing is begun unless every shard
/// is there, and room for all. Whoever watches is asked before each; one that is published already is verified on so many threads.
pub fn join(parts: &[PathBuf], out: &Path, threads: usize, watch: &dyn Watch) -> Result<Joined> {
    let source = |dir| match Manifest::read(dir) {
        Ok(_) => Err(Error::Finished { dir: dir.into() }),
        Err(Error::Unfinished { .. }) => Ok(Source { dir, parameters: begun(dir)? }),
        Err(error) => Err(error),
    };
    let sources = parts.iter().map(|dir| source(dir));
    let sources: Vec<Source> = sources.collect::<Result<_>>()?;
    let Some(first) = sources.first() else {
        return Err(Error::unusable("number of parts", "at least 1", 0));
    };
    for source in &sources[1..] {
        first.require_like(source)?;
    }
    let published = || out.join(MANIFEST).exists();
    if !published() {
        require_all(&sources, out)?;
        refuse_inside(out)?;
        let place = resolved(out)?;
        for source in &sources {
            if resolved(source.dir)? == place {
                return Err(Error::Inside { dir: out.into(), around: source.dir.into() });
            }
        }
        fs::create_dir_all(out).map_err(Error::io("create", out))?;
        if !out.join(WORK).exists() {
            refuse_occupied(out, |_| false)?;
        }
        let work = Work::lock(out, None)?;
        // What was seen above may be out of date: the lock's last holder may just have published.
        if !published() {
            return first.write(&sources, out, work, &|| watch.stop());
        }
    }
    let whole = || Joined::Stopped { done: first.parameters.rows, rows: first.parameters.rows };
    let inherited = first.inherit(out, threads, watch)?;
    Ok(inherited.map_or_else(whole, |manifest| Joined::Set(Box::new(manifest))))
}

/// Every shard must be recorded somewhere.
fn require_all(sources: &[Source], out: &Path) -> Result<()> {
    let mut there = BTreeSet::new();
    for source in sources {
        there.extend(recorded(source.dir)?);
    }
    pending(out, &sources[0].parameters, &there).map_or(Ok(()), Err)
}

impl Source<'_> {
    /// Refuses a folder that was begun as another label set.
    fn require_like(&self, other: &Source) -> Result<()> {
        let found = as_begun_by(&other.parameters, &self.parameters);
        let Some((parameter, wanted, found)) = difference("", &plain(&self.parameters), &plain(&found))
        else {
            return Ok(());
        };
        let wanted = format!("{wanted} in {}", self.dir.display());
        Err(Error::Unlike { dir: other.dir.into(), parameter, wanted, found })
    }

    /// Takes the label set that is published for ours, if it is.
    fn inherit(&self, out: &Path, threads: usize, watch: &dyn Watch) -> Result<Option<Manifest>> {
        let (manifest, _) = load_manifest(out)?;
        self.parameters.require(out, as_begun_by(&Parameters::of(&manifest), &self.parameters))?;
        let Some((manifest, _)) = require_sound(out, threads, watch)? else { return Ok(None) };
        // A writer may have been interrupted between its commit and its tidying up, or be at it now.
        if out.join(WORK).exists()
            && let Ok(work) = Work::lock(out, None)
        {
            work.remove();
        }
        Ok(Some(manifest))
    }

    fn write(&self, sources: &[Source], out: &Path, work: Work, stop: &dyn Fn() -> bool) -> Result<Joined> {
        let parameters = if let Some(begun) = work.parameters()? {
            self.parameters.require(out, as_begun_by(&begun, &self.parameters))?;
            work.clear_temporary()?;
            begun
        } else {
            refuse_occupied(out, |_| false)?;
            work.begin(&self.parameters)?
        };
        sync_folder(out)?;
        let rows = |index: usize| {
            let of = |source: &Source| record_of(source.dir, index, &source.parameters).ok()??.rows;
            sources.iter().find_map(of).unwrap_or(0)
        };
        let stopped = |done: &BTreeMap<usize, ShardRecord>| Joined::Stopped {
            done: done.values().filter_map(|record| record.rows).sum(),
            rows: parameters.rows,
        };
        let Some(mut done) = take_stock(out, &work, &parameters, 0..parameters.shards(), rows, stop)? else {
            return Ok(stopped(&BTreeMap::new()));
        };
        require_room(sources, out, &done)?;
        for index in 0..parameters.shards() {
            if let Some(record) = done.get(&index) {
                require_same(sources, out, index, record)?;
                continue;
            }
            if stop() {
                return Ok(stopped(&done));
            }
            let (source, record) = agreed(sources, index)?;
            done.insert(index, source.copy(&work, index, &record, &parameters)?);
        }
        let stopped = stopped(&done);
        let published = publish(out, work, parameters, &done, None, stop)?;
        Ok(published.map_or(stopped, |manifest| Joined::Set(Box::new(manifest))))
    }

    /// Brings a shard into the new folder; gives its record there.
    fn copy(
        &self,
        work: &Work,
        index: usize,
        record: &ShardRecord,
        parameters: &Parameters,
    ) -> Result<ShardRecord> {
        let publisher = work.publisher();
        for (inside, digest) in &record.files {
            let storage = map_plain(self.dir, inside, digest.bytes)?;
            let written = publisher.publish(inside, |out| out.write_all(&storage))?;
            if written != *digest {
                return Err(Error::FileHash {
                    path: self.dir.join(inside),
                    wanted: digest.blake3.to_string(),
                    found: written.blake3.to_string(),
                });
            }
        }
        let mut record = ShardRecord { answered: record.whose(&self.parameters), ..record.clone() };
        record.leave_out(&parameters.answerer());
        work.store_shard(index, &record)?;
        Ok(record)
    }
}

/// Refuses a disk that cannot hold the shards that are not in the new folder yet.
fn require_room(sources: &[Source], out: &Path, done: &BTreeMap<usize, ShardRecord>) -> Result<()> {
    let shards = sources[0].parameters.shards();
    let mut wanted = 0;
    for index in (0..shards).filter(|index| !done.contains_key(index)) {
        for source in sources {
            if let Some(record) = record_of(source.dir, index, &source.parameters)? {
                wanted += record.files.iter().map(|(_, digest)| digest.bytes).sum::<u64>();
                break;
            }
        }
    }
    require_free(out, wanted)
}

/// The same parameters, as if they had been begun by who began others.
fn as_begun_by(parameters: &Parameters, others: &Parameters) -> Parameters {
    let mut parameters = parameters.clone();
    parameters.teacher.engine.clone_from(&others.teacher.engine);
    parameters.teacher.device.clone_from(&others.teacher.device);
    parameters.build.clone_from(&others.build);
    parameters
}

/// A shard that lies in the new folder must be the one that the folders have: somebody else may have begun it.
fn require_same(sources: &[Source], out: &Path, index: usize, record: &ShardRecord) -> Result<()> {
    let (source, wanted) = agreed(sources, index)?;
    if wanted.files == record.files {
        return Ok(());
    }
    let entry = record.files.first().map_or_else(String::new, |(path, _)| path.clone());
    let parameters = &source.parameters;
    let ours = read_recorded(source.dir, index, parameters, &wanted)?;
    let theirs = read_recorded(out, index, parameters, record)?;
    Err(contradiction([source.dir, out], [&ours, &theirs])
        .unwrap_or(Error::Occupied { dir: out.into(), entry }))
}

/// What is wrong with a shard that is whole in no folder, of the first that has a record of it.
fn damage(sources: &[Source], index: usize) -> Result<Error> {
    for source in sources {
        let Some(record) = record_of(source.dir, index, &source.parameters)? else { continue };
        for (inside, digest) in &record.files {
            let found = FileDigest::of(&map_plain(source.dir, inside, digest.bytes)?);
            if found != *digest {
                let [wanted, found] = [digest.blake3, found.blake3].map(|hash| hash.to_string());
                return Ok(Error::FileHash { path: source.dir.join(inside), wanted, found });
            }
        }
    }
    Ok(Error::unusable("shard", "a record of it in one of the parts that fits its rows", index))
}

/// The first folder that has a shard whole, and its record; refuses rows in others that are not the same.
fn agreed<'a>(sources: &'a [Source], index: usize) -> Result<(&'a Source<'a>, ShardRecord)> {
    let mut first: Option<(&Source, ShardRecord)> = None;
    for source in sources {
        let Some((one, record)) = &first else {
            first = whole_shard(source.dir, index, &source.parameters)?.map(|record| (source, record));
            continue;
        };
        let Some(other) = record_of(source.dir, index, &source.parameters)? else { continue };
        if other.files != record.files && whole_shard(source.dir, index, &source.parameters)?.is_some() {
            let ours = read_recorded(one.dir, index, &one.parameters, record)?;
            let theirs = read_recorded(source.dir, index, &source.parameters, &other)?;
            contradiction([one.dir, source.dir], [&ours, &theirs]).map_or(Ok(()), Err)?;
        }
    }
    first.map_or_else(|| Err(damage(sources, index)?), Ok)
}

/// The first value in which two shards of the same rows differ.
fn contradiction(dirs: [&Path; 2], [ours, theirs]: [&Shard; 2]) -> Option<Error> {
    ours.rows().find_map(|(row, image, view, _)| {
        let of = |shard: &Shard| {
            let mut kept = vec![0.0; shard.layout.kept()];
            shard.answer(row).keep(&mut kept);
            kept
        };
        let (one, other) = (of(ours), of(theirs));
        let place = one.iter().zip(&other).position(|(one, other)| one.to_bits() != other.to_bits())?;
        let [first, second] = dirs.map(PathBuf::from);
        Some(Error::Contradiction {
            first,
            second,
            image,
            view,
            place,
            one: one[place],
            other: other[place],
            of_parts: true,
        })
    })
}
