//! Ctrl-C and SIGTERM: asked for between batches and steps, so nothing is left half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{Error, Exit};

/// Whether somebody asked this process to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that nobody sets.
    pub fn never() -> Self {
        Self::default()
    }

    /// One that Ctrl-C and SIGTERM set. The second signal ends the process at once, which is safe: only whole files are
    /// ever on the disk. SIGHUP keeps its meaning, so that `nohup` works.
    pub fn on_signals() -> Result<Self, Error> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, stop.0.clone())
                .map_err(Error::Signals)?;
            flag::register(signal, stop.0.clone()).map_err(Error::Signals)?;
        }
        Ok(stop)
    }

    /// Whether to stop now.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
