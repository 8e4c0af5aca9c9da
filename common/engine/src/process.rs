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

/// Gives back what is free, where glibc was told to keep it: for the moment before large memory is asked for that does not
/// come out of it.
#[allow(unsafe_code)]
pub(crate) fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: nothing that is in use moves.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A pool of this many threads.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(|i| format!("engine-{i}")).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the page of an address has a place in memory, as Linux tells it.
    #[allow(unsafe_code)]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn is_placed(address: usize) -> bool {
        const PAGE: usize = 4096;
        let page = std::ptr::without_provenance_mut(address / PAGE * PAGE);
        let mut placed = 0u8;
        // SAFETY: nothing is read there; there is a byte for the one page.
        let done = unsafe { libc::mincore(page, PAGE, &raw mut placed) };
        done == 0 && placed & 1 == 1
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn memory_that_was_freed_below_what_is_in_use_goes_back_when_it_is_said_and_not_before() {
        const NAME: &str = "process::tests::memory_that_was_freed_below_what_is_in_use_goes_back_when_it_is_said_and_not_before";
        const PIECE: usize = 64 << 10;
        const COUNT: usize = 256;
        // In a process of its own: other tests' memory would lie between.
        if std::env::var_os("ALONE").is_none() {
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let ended =
                alone.args(["--exact", NAME, "--test-threads", "1"]).env("ALONE", "1").output().unwrap();
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let pieces: Vec<Vec<u8>> = (0..COUNT).map(|_| vec![1; PIECE]).collect();
        // glibc gives back the end of a heap by itself.
        let above = vec![1u8; PIECE];
        let middles: Vec<usize> = pieces.iter().map(|piece| piece.as_ptr().addr() + PIECE / 2).collect();
        drop(pieces);
        let placed = || middles.iter().filter(|&&middle| is_placed(middle)).count();
        let kept = placed();
        give_back_freed_memory();
        let left = placed();
        assert!(kept > COUNT / 2 && left < COUNT / 8, "{kept} of {COUNT} pieces, then {left}");
        drop(above);
    }

    #[test]
    fn the_environment_is_left_alone_where_other_threads_run() {
        let before = std::env::var_os("RAYON_NUM_THREADS");
        std::thread::scope(|scope| {
            scope.spawn(|| configure(77)).join().expect("nothing to panic about");
        });
        assert_eq!(std::env::var_os("RAYON_NUM_THREADS"), before);
    }
}
