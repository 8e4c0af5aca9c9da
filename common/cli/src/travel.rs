//! Label sets that travel, as a person before a terminal sees it: progress in bytes, Ctrl-C, and what it came to.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use share::{Location, Watch};

use crate::{Error, Progress, Stop, note};

/// Shows what is moved, and asks to stop when the process was asked to.
struct Onlooker {
    stop: Stop,
    progress: Mutex<Progress>,
}

impl Watch for Onlooker {
    fn stop(&self) -> bool {
        self.stop.requested()
    }

    fn begin(&self, before: u64, total: u64) {
        if before < total {
            self.progress.lock().unwrap_or_else(PoisonError::into_inner).begin(before, total);
        }
    }

    fn moved(&self, bytes: u64) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    }
}

/// Who looks on while a label set travels.
pub fn onlooker(stop: &Stop) -> Arc<dyn Watch> {
    Arc::new(Onlooker { stop: stop.clone(), progress: Mutex::new(Progress::on_stderr("bytes")) })
}

/// The folder of a label set that is named by its folder or by a URL; what a URL means is fetched first.
pub fn folder_of_labels(labels: &str, stop: &Stop) -> Result<PathBuf, Error> {
    if !Location::is_url(labels) {
        return Ok(labels.into());
    }
    let location = Location::parse(labels)?;
    let folder = share::cached(&location, &onlooker(stop))?;
    note(format_args!("{location}: read from {}", folder.display()));
    Ok(folder)
}
