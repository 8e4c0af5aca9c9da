//! Ctrl-C and SIGTERM: asked for between batches, so nothing is left half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Result;

/// Whether somebody asked this process to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that nobody sets.
    pub fn never() -> Self {
        Self::default()
    }

    /// One that Ctrl-C and SIGTERM set. The second signal ends the process at once with exit code 75, which is safe:
    /// only whole shards are ever on the disk. SIGHUP keeps its meaning, so that `nohup` works.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 75, stop.0.clone())?;
            flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    /// Whether to stop now.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
