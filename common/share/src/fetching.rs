//! Shards on their way into a folder, several at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use labels::{FileRecord, Incoming};

use crate::error::{Error, Result};
use crate::store::{Source, Store, Watch};

/// What is fetched from where, and how far that is.
pub(crate) struct Fetching<'a> {
    store: &'a dyn Store,
    incoming: &'a Incoming,
    watch: &'a dyn Watch,
    /// Bytes that came.
    moved: AtomicU64,
    /// The first error, in the order of the shards.
    failed: Mutex<Option<(usize, Error)>>,
}

impl<'a> Fetching<'a> {
    pub fn new(store: &'a dyn Store, incoming: &'a Incoming, watch: &'a dyn Watch) -> Fetching<'a> {
        Fetching { store, incoming, watch, moved: AtomicU64::new(0), failed: Mutex::new(None) }
    }

    /// Fetches shards, so many at once; gives the bytes that came. Where one fails the others stop, and keep what came of
    /// theirs. Memory: a piece of each, a mebibyte at most.
    pub fn all(self, pending: &[FileRecord], jobs: usize) -> Result<u64> {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = pending.get(index) else { break };
                if let Err(error) = self.one(file) {
                    self.fail(index, error);
                    break;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..jobs.min(pending.len()) {
                scope.spawn(work);
            }
            work();
        });
        match self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(self.moved.into_inner()),
        }
    }

    /// Remembers an error. Those who stop because of it say that they were interrupted, which is no news.
    fn fail(&self, index: usize, error: Error) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = |(first, known): &(usize, Error)| match (known, &error) {
            (_, Error::Interrupted) => false,
            (Error::Interrupted, _) => true,
            _ => index < *first,
        };
        if failed.as_ref().is_none_or(is_news) {
            *failed = Some((index, error));
        }
    }

    fn is_to_stop(&self) -> bool {
        self.watch.stop() || self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn one(&self, file: &FileRecord) -> Result<()> {
        loop {
            let arriving = self.incoming.arriving(file)?;
            let from = arriving.there();
            // Nothing is missing of one whose process died before it got its name.
            let mut source = if from < file.bytes { Some(self.source(file, from)?) } else { None };
            let taken = arriving.take(|| {
                if self.is_to_stop() {
                    return Err(Error::Interrupted);
                }
                let Some(source) = &mut source else { return Ok(None) };
                let piece = source.next()?;
                let bytes = piece.as_ref().map_or(0, |piece| piece.len() as u64);
                self.moved.fetch_add(bytes, Ordering::Relaxed);
                self.watch.moved(bytes);
                Ok(piece)
            });
            match taken {
                // A power cut can leave other bytes than those that came: they are gone now, and it begins anew.
                Err(Error::Labels(labels::Error::Arrived { .. })) if from > 0 => {}
                taken => return taken,
            }
        }
    }

    fn source(&self, file: &FileRecord, from: u64) -> Result<Box<dyn Source>> {
        let missing = || Error::Missing { place: format!("{}/{}", self.store.place(), file.path) };
        self.store.read(&file.path, from)?.ok_or_else(missing)
    }
}
