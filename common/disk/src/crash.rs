//! Named places at which a process dies when it is told to, so that tests can look at what it leaves there.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable that says where: the number of a crash point, from 1, in the order in which the process comes by; or its name,
/// such as `place manifest.json`, for the first of that name. With 0 each is named on stderr and none is a crash.
pub const CRASH: &str = "RSLAD_CRASH";

/// One of the steps of writing a file or tidying a folder: the process dies here, as if killed, if [`CRASH`] says so.
pub fn crash_point(step: &str, path: &Path) {
    static WHERE: OnceLock<Option<String>> = OnceLock::new();
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let Some(place) = WHERE.get_or_init(|| env::var(CRASH).ok()) else { return };
    let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    let name = format!("{step} {}", path.file_name().unwrap_or_default().to_string_lossy());
    if place == "0" {
        // Nobody has to listen.
        let _ = writeln!(io::stderr(), "crash point {number}: {name}");
    } else if *place == number.to_string() || *place == name {
        // Nothing is flushed, dropped or tidied up.
        process::abort();
    }
}
