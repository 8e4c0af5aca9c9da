//! Ctrl-C and SIGTERM: asked for between batches, so nothing is left half-way.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;

/// Whether somebody asked this process to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that nobody sets.
    pub fn never() -> Self {
        Self::default()
    }

    /// One that Ctrl-C, SIGTERM and SIGHUP set. The second signal ends the process at once with exit code 75, which
    /// is safe: only whole shards are ever on the disk.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let flag = stop.0.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                process::exit(75);
            }
        })?;
        Ok(stop)
    }

    /// Whether to stop now.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
