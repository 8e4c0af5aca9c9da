//! A GPU for tests: the machine's own, or an emulated driver that runs the same kernels on the processor.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::emulated::{emulated_driver, on_hardware};

/// The right to use the GPU: one test of a process at a time.
pub struct Gpu {
    _alone: MutexGuard<'static, ()>,
}

/// The GPU of this process: the machine's own where `RSLAD_GPU` is set, else an emulated one.
///
/// Without a C++ compiler a test that needs it has nothing to do: it prints that `test` is skipped, and returns.
pub fn gpu(test: &str) -> Option<Gpu> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !on_hardware() {
        open(&emulated_driver(test)?.join("libcuda.so.1"));
    }
    Some(Gpu { _alone: alone })
}

/// Opens the library for the whole process: whoever asks for libcuda.so.1 afterwards gets it.
#[allow(unsafe_code)]
fn open(library: &Path) {
    let path = CString::new(library.as_os_str().as_bytes()).expect("a path has no zeros");
    // SAFETY: loads a library that was just built for this.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    assert!(!handle.is_null(), "{} cannot be loaded", library.display());
}
