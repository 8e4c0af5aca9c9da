//! Large memory that nobody has touched: the system places a page when somebody first writes to it, on a machine with
//! several memory nodes at the node of the thread that does, and gives zeros until then.
//!
//! An allocator that clears what it gives, as Rust's does for such alignments, would place all of it where it was asked for.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Larger memory starts on a huge page: fewer misses when a kernel walks many rows at once.
pub(super) const HUGE: usize = 2 << 20;

/// Memory of this layout, which is not empty; all zeros.
#[allow(unsafe_code)]
pub(super) fn take(layout: Layout) -> *mut u8 {
    assert!(layout.size() > 0, "no memory has no place");
    #[cfg(target_os = "linux")]
    if layout.size() >= HUGE {
        return mapped::take(layout.size()).unwrap_or_else(|| handle_alloc_error(layout));
    }
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        handle_alloc_error(layout);
    }
    start
}

/// Gives it back.
///
/// # Safety
///
/// It was taken with this layout, and nobody uses it any more.
#[allow(unsafe_code)]
pub(super) unsafe fn give_back(start: *mut u8, layout: Layout) {
    #[cfg(target_os = "linux")]
    if layout.size() >= HUGE {
        // SAFETY: the caller's promise.
        return unsafe { mapped::give_back(start, layout.size()) };
    }
    // SAFETY: the caller's promise.
    unsafe { dealloc(start, layout) }
}

/// Straight from the system.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod mapped {
    use std::ptr::null_mut;

    use super::HUGE;

    pub(super) fn take(size: usize) -> Option<*mut u8> {
        let size = size.checked_next_multiple_of(HUGE)?;
        let all = size.checked_add(HUGE)?;
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping touches nothing that is there.
        let start = unsafe { libc::mmap(null_mut(), all, rights, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = start.cast::<u8>();
        let before = start.align_offset(HUGE);
        // SAFETY: both ends are the mapping's own and not handed out; advice changes no contents, and comes before the
        // pages are touched: one that is there already stays small.
        unsafe {
            let first = start.add(before);
            if before > 0 {
                libc::munmap(start.cast(), before);
            }
            if before < HUGE {
                libc::munmap(first.add(size).cast(), HUGE - before);
            }
            libc::madvise(first.cast(), size, libc::MADV_HUGEPAGE);
            Some(first)
        }
    }

    /// # Safety
    ///
    /// It was taken with this size, and nobody uses it any more.
    pub(super) unsafe fn give_back(start: *mut u8, size: usize) {
        // SAFETY: the caller's promise; `take` kept whole huge pages of the mapping.
        unsafe { libc::munmap(start.cast(), size.next_multiple_of(HUGE)) };
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(unsafe_code)]
mod tests {
    use super::super::memory::Buffer;
    use super::HUGE;

    const PAGE: usize = 4096;

    /// Which of a buffer's pages have a place in memory, as Linux tells it.
    fn placed(buffer: &Buffer) -> usize {
        let start = buffer.as_ptr().cast_mut();
        let bytes = size_of_val::<[f32]>(buffer);
        let mut pages = vec![0u8; bytes.div_ceil(PAGE)];
        // SAFETY: the range is the buffer's, and there is a byte for each of its pages.
        let done = unsafe { libc::mincore(start.cast(), bytes, pages.as_mut_ptr()) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        pages.iter().filter(|&&page| page & 1 == 1).count()
    }

    #[test]
    fn a_large_buffer_has_no_page_before_a_thread_writes_to_it() {
        let mut buffer = Buffer::zeros(8 * HUGE / size_of::<f32>());
        assert_eq!(buffer.as_ptr().align_offset(HUGE), 0);
        assert_eq!(placed(&buffer), 0);
        let middle = buffer.len() / 2;
        std::thread::scope(|scope| scope.spawn(|| buffer[middle] = 1.0).join()).expect("a write");
        let found = placed(&buffer);
        assert!((1..=HUGE / PAGE).contains(&found), "{found} pages for one value");
        assert_eq!(buffer.iter().filter(|&&value| value != 0.0).count(), 1);
    }
}
