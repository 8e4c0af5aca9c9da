//! Several processes that train one student: what they say to each other, and who does what.
//!
//! A batch is cut into a fixed number of parts, which are dealt to the ranks in order; [`PartSums`] adds up what the parts
//! found in the order of the parts. So no result depends on the number of ranks. What carries the numbers is a
//! [`Collective`]: [`Alone`] in a process by itself, MPI's world in a build with the feature `mpi`. A further one, such as
//! NCCL's, is a file beside `mpi` and an arm in [`world`].

mod cores;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod sum;

use std::ops::Range;

use crate::error::RunError;

pub use launch::{USUAL_PARTS, refuse_several, usual_parts, world};
pub use sum::PartSums;

pub(crate) use cores::share as share_of_cores;

/// What connects the processes of a run. Every method but the first two is called by all ranks in the same order, and
/// waits for all.
///
/// None of them fails: where a rank is gone, nothing is left to do for the others, and the process ends with 75.
pub trait Collective {
    /// Which of the processes this is, from 0. Rank 0 alone writes and speaks.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// The words of every rank, those of rank 0 first. All ranks give equally many.
    fn gather(&self, words: &[u64]) -> Vec<u64>;

    /// Sends one stretch to each rank, and receives one of each, in the order of the ranks. `sends` and `receives` are the
    /// stretches' lengths: they add up to those of `from` and `into`.
    fn exchange(&self, from: &[f32], sends: &[usize], into: &mut [f32], receives: &[usize]);

    /// Puts the pieces of all ranks, which are equally long, one behind another.
    fn concatenate(&self, piece: &[f32], whole: &mut [f32]);

    /// All ranks are at their end: waits for the last, and lets each go without the others taking it for dead.
    fn leave(&self);
}

/// A process by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn gather(&self, words: &[u64]) -> Vec<u64> {
        words.to_vec()
    }

    fn exchange(&self, from: &[f32], _: &[usize], into: &mut [f32], _: &[usize]) {
        into.copy_from_slice(from);
    }

    fn concatenate(&self, piece: &[f32], whole: &mut [f32]) {
        whole.copy_from_slice(piece);
    }

    fn leave(&self) {}
}

/// Of so many items, those that share `number` of `shares` has: contiguous, and no two shares differ by more than one.
pub fn deal(items: usize, shares: usize, number: usize) -> Range<usize> {
    items * number / shares..items * (number + 1) / shares
}

/// What this rank did, where every rank did its part of it; else why the first that did not stopped, which that one says.
pub fn all_did<T>(collective: &dyn Collective, done: Result<T, RunError>) -> Result<T, RunError> {
    use cli::Exits;
    let code = done.as_ref().err().map_or(0, |error| error.exit() as u64);
    let codes = collective.gather(&[code]);
    match codes.iter().position(|&code| code != 0) {
        Some(rank) if rank != collective.rank() => {
            Err(RunError::Elsewhere { rank, exit: cli::Exit::of_code(codes[rank] as u8) })
        }
        // Whoever stopped first has an error to say.
        _ => done,
    }
}

/// The same of work that rank 0 does before the others begin it.
pub fn first_alone<T>(
    collective: &dyn Collective,
    mut work: impl FnMut() -> Result<T, RunError>,
) -> Result<T, RunError> {
    let first = (collective.rank() == 0).then(&mut work).transpose();
    let first = all_did(collective, first)?;
    all_did(collective, first.map_or_else(work, Ok))
}

#[cfg(test)]
pub(crate) mod threads;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_contiguous_even_and_all_there_is() {
        for (items, shares, wanted) in
            [(8, 3, vec![2, 3, 3]), (8, 8, vec![1; 8]), (3, 4, vec![0, 1, 1, 1]), (128, 1, vec![128])]
        {
            let dealt: Vec<_> = (0..shares).map(|number| deal(items, shares, number)).collect();
            assert_eq!(dealt.iter().map(ExactSizeIterator::len).collect::<Vec<_>>(), wanted);
            assert_eq!(dealt.into_iter().flatten().collect::<Vec<_>>(), (0..items).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_rank_that_failed_says_so_and_all_end_with_its_code() {
        let ends = threads::on_ranks(3, |collective| {
            let refused = |text: &str| Err(RunError::Refused(text.into()));
            let done = match collective.rank() {
                0 => Ok(7),
                1 => refused("first"),
                _ => Err(RunError::Paused),
            };
            let error = all_did(collective, done).unwrap_err();
            (cli::Exits::exit(&error), cli::Exits::is_said(&error), error.to_string())
        });
        let codes: Vec<_> = ends.iter().map(|(exit, ..)| *exit as u8).collect();
        assert_eq!(codes, [2, 2, 2]);
        assert_eq!(ends[1].2, "first");
        assert!(ends[0].1 && !ends[1].1 && ends[2].1, "{ends:?}");
        assert_eq!(
            threads::on_ranks(3, |collective| all_did(collective, Ok(collective.rank())).unwrap()),
            [0, 1, 2]
        );
    }
}
