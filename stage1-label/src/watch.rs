//! Who waits while a label set is verified: a line of progress, and the signals.

use std::sync::{Mutex, PoisonError};

use cli::{Progress, Stop};
use labels::Watch;

/// Shows what is hashed, and asks to stop when the process was asked to.
pub(crate) struct Onlooker<'a> {
    stop: &'a Stop,
    progress: Mutex<Progress>,
}

impl<'a> Onlooker<'a> {
    pub fn new(stop: &'a Stop) -> Self {
        Self { stop, progress: Mutex::new(Progress::on_stderr("bytes")) }
    }
}

impl Watch for Onlooker<'_> {
    fn begin(&self, total: u64) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).begin(0, total);
    }

    fn hashed(&self, bytes: u64) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    }

    fn stop(&self) -> bool {
        self.stop.requested()
    }
}
