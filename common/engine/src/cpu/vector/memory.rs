//! Large buffers that are taken once and used again: what a step needs is there before it starts.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers start on a huge page: fewer misses when a kernel walks many rows at once.
const ALIGNMENT: usize = 2 << 20;

/// f32, zero at first, aligned for vectors and huge pages.
pub(crate) struct Buffer {
    start: *mut f32,
    len: usize,
}

// SAFETY: a buffer owns its memory, as a `Vec<f32>` does.
#[allow(unsafe_code)]
unsafe impl Send for Buffer {}
#[allow(unsafe_code)]
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    #[allow(unsafe_code)]
    pub(crate) fn zeros(len: usize) -> Self {
        if len == 0 {
            return Self { start: std::ptr::NonNull::dangling().as_ptr(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty, and aligned for more than f32.
        #[allow(clippy::cast_ptr_alignment)]
        let start = unsafe { alloc(layout) }.cast::<f32>();
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the range is what was just allocated. The advice changes no contents, and comes before the pages are
        // touched: a page that is there already stays small.
        unsafe {
            #[cfg(target_os = "linux")]
            libc::madvise(start.cast(), layout.size(), libc::MADV_HUGEPAGE);
            start.write_bytes(0, len);
        }
        Self { start, len }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len * size_of::<f32>();
        // Small buffers need no page of their own.
        let alignment = if bytes < ALIGNMENT { 64 } else { ALIGNMENT };
        Layout::from_size_align(bytes, alignment).expect("a buffer fits the address space")
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    #[allow(unsafe_code)]
    fn deref(&self) -> &[f32] {
        // SAFETY: the buffer holds `len` initialised values.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Buffer {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.cast(), Self::layout(self.len)) }
        }
    }
}

/// Buffers that nobody uses at the moment.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Buffer>>);

impl Spare {
    /// A buffer of at least `len` values, whatever they are: the smallest spare one that is not more than twice too
    /// large, or a new one.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut spare = locked(&self.0);
        let fits = |buffer: &Buffer| buffer.len() >= len && buffer.len() <= 2 * len.max(1024);
        let best = (0..spare.len()).filter(|&i| fits(&spare[i])).min_by_key(|&i| spare[i].len());
        let found = best.map(|index| spare.remove(index));
        drop(spare);
        found.unwrap_or_else(|| Buffer::zeros(len))
    }

    /// Keeps a buffer for the next [`take`](Self::take). Only a few: what does not come back soon is another batch's.
    pub(crate) fn put(&self, buffer: Buffer) {
        const FEW: usize = 6;
        if buffer.is_empty() {
            return;
        }
        let mut spare = locked(&self.0);
        spare.push(buffer);
        if spare.len() > FEW {
            spare.remove(0);
        }
    }
}

/// Locks what is whole between any two statements that hold the lock: a panic elsewhere does not spoil it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
