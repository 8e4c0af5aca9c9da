//! What a binary sets for its whole process before it touches a tensor: threads and the allocator.

use rayon::ThreadPool;

/// Prepares this process to run networks on `threads` threads. Call it first thing in `main`: where other threads run
/// already, candle's number of threads stays what the environment says.
///
/// candle and its matrix product read their number of threads from the environment, once, when they first start a
/// pool; there is no other switch. Element-wise work stays on one thread: candle's own pool spins while it waits,
/// which costs more than it gains beside the micro-batches that [`crate::Reference`] runs in parallel. Results do
/// not depend on any of this: products are split over rows and columns, never over the summed dimension.
#[allow(unsafe_code)]
pub fn configure(threads: usize) {
    if is_alone() {
        // SAFETY: this is the process's only thread, so nobody reads the environment meanwhile.
        unsafe {
            std::env::set_var("RAYON_NUM_THREADS", threads.max(1).to_string());
            std::env::set_var("CANDLE_NUM_THREADS", "1");
        }
    }
    keep_freed_memory();
}

/// Whether no other thread runs; no where the system does not say.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Tells glibc to keep what is freed. By default it gives every large block back to the kernel and asks for a new
/// one, and clearing those pages took 40 % of a training step of the reference engine.
#[allow(unsafe_code)]
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only stores numbers; a value it does not like changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// A pool of this many threads.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(|i| format!("engine-{i}")).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_left_alone_where_other_threads_run() {
        let before = std::env::var_os("RAYON_NUM_THREADS");
        std::thread::scope(|scope| {
            scope.spawn(|| configure(77)).join().expect("nothing to panic about");
        });
        assert_eq!(std::env::var_os("RAYON_NUM_THREADS"), before);
    }
}
