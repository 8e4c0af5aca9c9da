//! Where the places of several images lie, one after the other.

use super::phases::{Phase, Phases};

/// Walks over the places of several images.
pub(super) struct Cursor<'a> {
    phases: &'a Phases,
    phase: &'a Phase,
    next: usize,
    /// Offsets of the current image, read and written; where places are [even](Phase::even), of the next place.
    at: [usize; 2],
}

impl<'a> Cursor<'a> {
    /// At the first place of images that are written from `write` on.
    #[inline(always)]
    pub(super) fn new(phases: &'a Phases, phase: &'a Phase, write: usize) -> Self {
        let [read, first] = if phase.even.is_some() { phase.places[0].offsets() } else { [0; 2] };
        Self { phases, phase, next: 0, at: [read, write + first] }
    }

    /// Offsets of the next places: read, written.
    #[inline(always)]
    pub(super) fn steps<const N: usize>(&mut self) -> [[usize; 2]; N] {
        let Some([read, write]) = self.phase.even else {
            return std::array::from_fn(|_| self.step());
        };
        let at = self.at;
        self.at = [at[0] + N * read, at[1] + N * write];
        std::array::from_fn(|i| [at[0] + i * read, at[1] + i * write])
    }

    /// Offsets of the next place.
    #[inline(always)]
    pub(super) fn step(&mut self) -> [usize; 2] {
        if let Some([read, write]) = self.phase.even {
            let at = self.at;
            self.at = [at[0] + read, at[1] + write];
            return at;
        }
        if self.next == self.phase.places.len() {
            self.next = 0;
            self.at = [self.at[0] + self.phases.source.read_len(), self.at[1] + self.phases.write_len];
        }
        let [read, write] = self.phase.places[self.next].offsets();
        self.next += 1;
        [self.at[0] + read, self.at[1] + write]
    }
}
