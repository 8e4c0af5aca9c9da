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
pub(crate) fn look(
    dir: &Path,
    manifest: &Manifest,
    forms: &Forms,
    threads: usize,
    watch: &dyn Watch,
) -> Option<Vec<Looked>> {
    let lines: Vec<Line> = forms.each().map(|(form, files)| Line::new(manifest, form, files)).collect();
    let longest = lines.iter().map(|line| line.files.len()).max().unwrap_or(0);
    watch.begin(lines.iter().flat_map(|line| line.files).map(|file| file.bytes).sum());
    // Forms in turn: the rows of each are put together by themselves.
    let tasks: Vec<(&Line, usize)> = (0..longest)
        .flat_map(|shard| lines.iter().map(move |line| (line, shard)))
        .filter(|(line, shard)| *shard < line.files.len())
        .collect();
    let threads = threads.clamp(1, tasks.len().max(1));
    let (next, left) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let leaving = Leaving { lines: &lines, left: &left };
        let mut block = Vec::new();
        while let Some(&(line, shard)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let member = Member { line, shard, watch, left: &left, most_waiting: WAITING / threads };
            let Some(found) = member.look(dir, manifest, &mut block) else { return };
            if !line.hand_in(shard, found, threads, &left) {
                return;
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
    Some(lines.into_iter().map(Line::finish).collect())
}

/// Tells those who wait that somebody left before the end: that it was stopped, or panicked.
struct Leaving<'a> {
    lines: &'a [Line<'a>],
    left: &'a AtomicBool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.left.store(true, Ordering::SeqCst);
        for line in self.lines {
            // Under the lock, so that nobody looks before it and waits after it.
            let _state = line.state();
            line.moved.notify_all();
        }
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

/// A thread at one shard.
struct Member<'a> {
    line: &'a Line<'a>,
    shard: usize,
    watch: &'a dyn Watch,
    left: &'a AtomicBool,
    most_waiting: usize,
}

/// What a shard's reading ends with that was stopped. Nobody sees it.
fn stopped() -> Error {
    Error::unusable("verification", "somebody who waits", "nobody")
}

impl Member<'_> {
    /// None where it was stopped.
    fn look(&self, dir: &Path, manifest: &Manifest, block: &mut Vec<u8>) -> Option<Found> {
        let record = &self.line.files[self.shard];
        let found = survey::hash(dir, record, block, self)
            .map(|file| survey::read(dir, manifest, (self.line.form, record), file, self));
        (!self.is_over()).then_some(found)
    }

    fn is_over(&self) -> bool {
        self.watch.stop() || self.left.load(Ordering::SeqCst)
    }

    fn go_on(&self) -> Result<()> {
        if self.is_over() { Err(stopped()) } else { Ok(()) }
    }
}

impl Onlooker for Member<'_> {
    fn hashed(&self, bytes: u64) -> Result<()> {
        self.watch.hashed(bytes);
        self.go_on()
    }

    fn between_rows(&self, content: &mut ShardContent) -> Result<()> {
        self.go_on()?;
        if content.waiting() >= self.most_waiting {
            if !self.line.wait(self.left, |state| state.next == self.shard) {
                return Err(stopped());
            }
            // A form with a damaged shard has no hash that these rows would follow.
            let begun = self.line.state().tally.as_ref().map(|tally| tally.content.begun());
            content.follow(begun.unwrap_or_default());
        }
        Ok(())
    }
}
