//! How many threads candle and its matrix product use.
//!
//! Both read the environment, once, when they first start a pool; there is no other switch. Results do not depend
//! on the number: products are split over rows and columns, never over the summed dimension.

use rayon::ThreadPool;

/// Sets the number of threads for the whole process. Call it first thing in `main`, before any tensor exists.
///
/// Element-wise work stays on one thread: candle's own pool spins while it waits, which costs more than it gains
/// beside the micro-batches that [`crate::Reference`] runs in parallel.
#[allow(unsafe_code)]
pub fn configure(threads: usize) {
    // SAFETY: the caller promises that no other thread runs yet, so none can read the environment meanwhile.
    unsafe {
        std::env::set_var("RAYON_NUM_THREADS", threads.max(1).to_string());
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    }
}

/// A pool of this many threads.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(|i| format!("engine-{i}")).build()
}
