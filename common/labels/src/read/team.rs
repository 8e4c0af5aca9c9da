//! Threads that look at the shards of a label set, in any order, while what they find is put together in the shards' own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::records::FileRecord;
use crate::read::forms::Forms;
use crate::read::survey::{self, Findings, Onlooker};
use crate::read::verify::{Tally, Watch};
use crate::row::dtype::Form;
use crate::shard::content::ShardContent;

/// Bytes of rows that may wait, over all threads, for what they follow.
const WAITING: usize = 64 << 20;

/// What was found in the shards of a form.
pub(crate) struct Looked {
    pub form: Form,
    /// The files whose hash holds.
    pub hashed: Hashed,
    pub problems: Vec<Error>,
    /// Rows in order have a hash; a form with a damaged shard has none.
    pub tally: Option<Tally>,
}

/// Files whose hash holds.
#[derive(Default)]
pub(crate) struct Hashed {
    pub files: usize,
    pub bytes: u64,
}

/// Looks at every shard of every form; none where that was stopped.
///
/// Of two forms the rows of one are looked at and those of the other compared with them, which is faster. What is wrong
/// with a form whose rows are others is found by looking at it alone.
pub(crate) fn look(
    dir: &Path,
    manifest: &Manifest,
    forms: &Forms,
    threads: usize,
    watch: &dyn Watch,
) -> Option<Vec<Looked>> {
    let team = Team { dir, manifest, threads, watch };
    let Forms { parquet, safetensors } = *forms;
    if parquet.is_empty() || parquet.len() != safetensors.len() {
        return forms.each().map(|(form, files)| Some(team.look(form, files, &[])?.0)).collect();
    }
    let (first, twins) = team.look(Form::Safetensors, safetensors, parquet)?;
    let second = match &first.tally {
        Some(tally) if twins => Looked {
            form: Form::Parquet,
            hashed: Hashed { files: parquet.len(), bytes: bytes(parquet) },
            problems: Vec::new(),
            tally: Some(tally.clone()),
        },
        _ => team.look(Form::Parquet, parquet, &[])?.0,
    };
    Some(vec![second, first])
}

fn bytes(files: &[FileRecord]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

/// Threads, and what they look at for whom.
struct Team<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    threads: usize,
    watch: &'a dyn Watch,
}

impl Team<'_> {
    /// Looks at the shards of a form, and whether so many of `twins` have the same rows; none where that was stopped.
    fn look(&self, form: Form, files: &[FileRecord], twins: &[FileRecord]) -> Option<(Looked, bool)> {
        let line = Line::new(self.manifest, form, files);
        self.watch.begin(bytes(files) + bytes(twins));
        let tasks: Vec<Task> = (0..files.len())
            .flat_map(|shard| {
                let twin = twins.get(shard).map(|twin| Task::Compare([twin, &files[shard]]));
                [Some(Task::Read(shard)), twin].into_iter().flatten()
            })
            .collect();
        let threads = self.threads.clamp(1, tasks.len().max(1));
        let (next, left, differ) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let work = || {
            let leaving = Leaving { line: &line, left: &left };
            let mut block = Vec::new();
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let member = Member { team: self, left: &left };
                match *task {
                    Task::Read(shard) => {
                        let found = member.read(&line, shard, WAITING / threads, &mut block);
                        if !found.is_some_and(|found| line.hand_in(shard, found, threads, &left)) {
                            return;
                        }
                    }
                    // With a form of which a shard is damaged nothing is compared.
                    Task::Compare(pair) if !differ.load(Ordering::Relaxed) => {
                        let same = line.state().tally.is_some()
                            && survey::is_twin(self.dir, self.manifest, pair, &mut block, &member)
                                .is_ok_and(|same| same);
                        if member.is_over() {
                            return;
                        }
                        differ.fetch_or(!same, Ordering::Relaxed);
                    }
                    Task::Compare(_) => {}
                }
            }
            std::mem::forget(leaving);
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        if left.load(Ordering::SeqCst) {
            return None;
        }
        Some((line.finish(), !differ.into_inner()))
    }
}

/// What a thread does next.
enum Task<'a> {
    /// Looks at a shard of the form.
    Read(usize),
    /// Compares a Parquet shard with its safetensors twin.
    Compare([&'a FileRecord; 2]),
}

/// Tells those who wait that somebody left before the end: that it was stopped, or panicked.
struct Leaving<'a> {
    line: &'a Line<'a>,
    left: &'a AtomicBool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.left.store(true, Ordering::SeqCst);
        // Under the lock, so that nobody looks before it and waits after it.
        let _state = self.line.state();
        self.line.moved.notify_all();
    }
}

/// What was found in a shard: whether its file is the manifest's, and then its rows.
type Found = Result<Result<Findings>>;

/// The shards of a form, whose findings are put together one after the other.
struct Line<'a> {
    form: Form,
    files: &'a [FileRecord],
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    /// The shard that is put to the others next.
    next: usize,
    early: BTreeMap<usize, Found>,
    hashed: Hashed,
    problems: Vec<Error>,
    tally: Option<Tally>,
}

impl<'a> Line<'a> {
    fn new(manifest: &Manifest, form: Form, files: &'a [FileRecord]) -> Line<'a> {
        let state = State {
            next: 0,
            early: BTreeMap::new(),
            hashed: Hashed::default(),
            problems: Vec::new(),
            tally: Some(Tally::new(manifest)),
        };
        Line { form, files, state: Mutex::new(state), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this holds; `false` where somebody left.
    fn wait(&self, left: &AtomicBool, holds: impl Fn(&State) -> bool) -> bool {
        let waits = |state: &mut State| !holds(state) && !left.load(Ordering::SeqCst);
        drop(self.moved.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner));
        !left.load(Ordering::SeqCst)
    }

    /// Takes what was found in a shard, once those not far before it are through; `false` where somebody left.
    fn hand_in(&self, shard: usize, found: Found, ahead: usize, left: &AtomicBool) -> bool {
        let mut state = self.state();
        state.early.insert(shard, found);
        let mut moved = false;
        while let Some(found) = {
            let next = state.next;
            state.early.remove(&next)
        } {
            let bytes = self.files[state.next].bytes;
            state.add(bytes, found);
            state.next += 1;
            moved = true;
        }
        drop(state);
        if moved {
            self.moved.notify_all();
        }
        self.wait(left, |state| shard < state.next + ahead)
    }

    fn finish(self) -> Looked {
        let State { hashed, problems, tally, .. } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Looked { form: self.form, hashed, problems, tally }
    }
}

impl State {
    fn add(&mut self, bytes: u64, found: Found) {
        let rows = match found {
            Ok(rows) => rows,
            Err(problem) => {
                self.problems.push(problem);
                self.tally = None;
                return;
            }
        };
        self.hashed.files += 1;
        self.hashed.bytes += bytes;
        match rows {
            Ok(Findings { content, images, right, lost }) => {
                if let Some(tally) = &mut self.tally {
                    tally.content.join(content);
                    tally.images.add_bytes(&images);
                    tally.right.add_all(&right);
                    tally.lost.add_all(&lost);
                }
            }
            Err(problem) => {
                self.problems.push(problem);
                self.tally = None;
            }
        }
    }
}

/// A thread of a team.
struct Member<'a> {
    team: &'a Team<'a>,
    left: &'a AtomicBool,
}

/// What a shard's reading ends with that was stopped. Nobody sees it.
fn stopped() -> Error {
    Error::unusable("verification", "somebody who waits", "nobody")
}

impl Member<'_> {
    /// Looks at a shard, of whose rows so many bytes may wait; none where it was stopped.
    fn read(&self, line: &Line, shard: usize, most_waiting: usize, block: &mut Vec<u8>) -> Option<Found> {
        let Team { dir, manifest, .. } = *self.team;
        let record = &line.files[shard];
        let between_rows = |content: &mut ShardContent| {
            self.go_on()?;
            if content.waiting() >= most_waiting {
                if !line.wait(self.left, |state| state.next == shard) {
                    return Err(stopped());
                }
                // A form with a damaged shard has no hash that these rows would follow.
                let begun = line.state().tally.as_ref().map(|tally| tally.content.begun());
                content.follow(begun.unwrap_or_default());
            }
            Ok(())
        };
        let found = survey::hash(dir, record, block, self)
            .map(|file| survey::read(dir, manifest, (line.form, record), file, between_rows));
        (!self.is_over()).then_some(found)
    }

    fn is_over(&self) -> bool {
        self.team.watch.stop() || self.left.load(Ordering::SeqCst)
    }
}

impl Onlooker for Member<'_> {
    fn hashed(&self, bytes: u64) -> Result<()> {
        self.team.watch.hashed(bytes);
        self.go_on()
    }

    fn go_on(&self) -> Result<()> {
        if self.is_over() { Err(stopped()) } else { Ok(()) }
    }
}
