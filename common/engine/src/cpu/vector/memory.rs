//! Large buffers that are taken once and used again, so that what a step needs is there before it starts; and memory
//! that threads share.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pages;

/// f32, zero at first, aligned for vectors and huge pages; a large one's lie where the thread is that first writes them.
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
    pub(crate) fn zeros(len: usize) -> Self {
        if len == 0 {
            return Self { start: std::ptr::NonNull::dangling().as_ptr(), len };
        }
        // Aligned for more than f32.
        #[allow(clippy::cast_ptr_alignment)]
        let start = pages::take(Self::layout(len)).cast::<f32>();
        Self { start, len }
    }

    fn layout(len: usize) -> Layout {
        let floats = Layout::array::<f32>(len).expect("a buffer fits the address space");
        // Small buffers need no page of their own.
        let alignment = if floats.size() < pages::HUGE { 64 } else { pages::HUGE };
        floats.align_to(alignment).expect("a buffer fits the address space")
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
            // SAFETY: taken with this layout.
            unsafe { pages::give_back(self.start.cast(), Self::layout(self.len)) }
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

/// A buffer that grows when more is asked for, and goes when for long less than half of it was.
#[derive(Default)]
pub(crate) struct Elastic {
    buffer: Option<Buffer>,
    /// The most that was asked for since the last [`settle`](Self::settle).
    asked: usize,
}

impl Elastic {
    /// Makes sure that it has at least this length; what it held is lost when it grows.
    pub(crate) fn grow(&mut self, len: usize) {
        self.asked = self.asked.max(len);
        if self.len() < len {
            // The old one goes first: both at once would double the peak.
            self.buffer = None;
            self.buffer = Some(Buffer::zeros(len));
        }
    }

    /// Gives its memory back where less than half of it was asked for since the last time.
    pub(crate) fn settle(&mut self) {
        if 2 * std::mem::take(&mut self.asked) < self.len() {
            self.buffer = None;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.as_ref().map_or(0, Buffer::len)
    }
}

impl std::ops::Deref for Elastic {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl std::ops::DerefMut for Elastic {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

/// Memory that several threads write at places of their own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: stands for an exclusive borrow; users of `slice`, and of pointers from `start`, promise that no two threads
// write one place.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Shared<'_, T> {}
#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(memory: &'a mut [T]) -> Self {
        Self { start: memory.as_mut_ptr(), len: memory.len(), borrow: PhantomData }
    }

    /// Where it begins: for kernels whose threads write side by side. What is beyond its length is not theirs.
    #[inline(always)]
    pub(crate) fn start(self) -> *mut T {
        self.start
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// # Safety
    ///
    /// Nobody else uses the range while the slice is.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the borrowed memory; the caller promises exclusive use.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// # Safety
    ///
    /// Nobody writes to the range while the slice is used.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &'a [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the borrowed memory; the caller promises that it stays as it is.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}

impl<'a> Shared<'a, f32> {
    /// The same memory as u16.
    pub(crate) fn halves(self) -> Shared<'a, u16> {
        Shared { start: self.start.cast(), len: 2 * self.len, borrow: PhantomData }
    }
}

/// Locks what is whole between any two statements that hold the lock: a panic elsewhere does not spoil it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
