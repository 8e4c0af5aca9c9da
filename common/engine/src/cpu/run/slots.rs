//! Slots as slices: the one place where a plan's promises become references.

use std::ops::Range;

use crate::cpu::vector::memory::Shared;
use crate::plan::{Place, Plan, Slot, SlotInfo};

/// f32 of a batch's map that the caches are not expected to hold until all threads have passed it.
const LARGE: usize = 1 << 20;

/// The memory of one program's run.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) plan: &'a Plan,
    /// Images of the batch.
    pub(super) images: usize,
    /// Images that a thread takes at a time.
    pub(super) chunk: usize,
    pub(super) tape: Shared<'a, f32>,
    pub(super) batch: Shared<'a, f32>,
    pub(super) threads: Shared<'a, f32>,
    /// f32 of one thread's own memory.
    pub(super) per_thread: usize,
}

impl<'a> Slots<'a> {
    /// The images' part of a slot, to read.
    ///
    /// # Safety
    ///
    /// The plan keeps slots that live at the same time apart; the caller writes to no slot that it reads, and only to
    /// the images that it was given.
    #[allow(unsafe_code)]
    pub(super) unsafe fn read(&self, slot: Slot, images: &Range<usize>, thread: usize) -> &'a [f32] {
        let (memory, range) = self.map(slot, images, thread);
        // SAFETY: the caller's promise.
        unsafe { memory.read(range) }
    }

    /// The images' part of a slot, to write.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(super) unsafe fn write(&self, slot: Slot, images: &Range<usize>, thread: usize) -> &'a mut [f32] {
        let (memory, range) = self.map(slot, images, thread);
        // SAFETY: the caller's promise.
        unsafe { memory.slice(range) }
    }

    /// Where the images' part of a slot lies.
    fn map(&self, slot: Slot, images: &Range<usize>, thread: usize) -> (Shared<'a, f32>, Range<usize>) {
        let SlotInfo::Map { len, .. } = self.plan.slots[slot.0] else { unreachable!("u16 are not a map") };
        let (memory, start, first) = self.region(slot, images, thread);
        (memory, start + first * len..start + (first + images.len()) * len)
    }

    /// The images' part of a slot of u16, to read or to write.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(super) unsafe fn halves(&self, slot: Slot, images: &Range<usize>, thread: usize) -> &'a mut [u16] {
        let SlotInfo::Halves { len } = self.plan.slots[slot.0] else { unreachable!("a map is not u16") };
        let (memory, start, first) = self.region(slot, images, thread);
        // SAFETY: the caller's promise; the slot's f32 hold its u16, any bits are a u16, and its alignment is smaller.
        unsafe { memory.halves().slice(2 * start + first * len..2 * start + (first + images.len()) * len) }
    }

    /// Whether a map is made in a thread's own memory and then handed on to this slot.
    pub(super) fn stages(&self, to: Slot) -> bool {
        self.plan.slots[to.0].reserved() * self.images >= LARGE
    }

    /// The memory of a slot, where the slot begins, and which of its images is the first of `images`.
    fn region(&self, slot: Slot, images: &Range<usize>, thread: usize) -> (Shared<'a, f32>, usize, usize) {
        match self.plan.places[slot.0] {
            Place::Tape(offset) => (self.tape, offset * self.images, images.start),
            Place::Batch(offset) => (self.batch, offset * self.images, images.start),
            Place::Stage(_, to) if !self.stages(to) => self.region(to, images, thread),
            Place::Chunk(offset) | Place::Stage(offset, _) => {
                (self.threads, thread * self.per_thread + offset * self.chunk, 0)
            }
            Place::Nowhere => unreachable!("an instruction touches a slot that no program has"),
        }
    }
}
