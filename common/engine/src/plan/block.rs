//! How channels lie in memory.

/// The multiple to which every channel count is padded, in f32: equal on all machines, so that a plan fits each.
pub(crate) const BLOCK: usize = 16;

/// `n` rounded up to whole blocks.
pub(crate) const fn padded(n: usize) -> usize {
    n.next_multiple_of(BLOCK)
}
