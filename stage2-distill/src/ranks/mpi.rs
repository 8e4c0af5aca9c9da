//! MPI's world: the ranks that `mpirun` or `srun` started.

mod lifeline;

use std::cell::RefCell;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use self::lifeline::Lifeline;
use super::Collective;
use crate::error::RunError;

/// The ranks of a run, connected by MPI; and by a lifeline, since MPI waits for ever for a rank that died.
pub(super) struct World {
    /// None once all have left together: MPI is closed by all or, where one fails by itself, by none.
    universe: RefCell<Option<Universe>>,
    lifeline: Option<Lifeline>,
    rank: usize,
    ranks: usize,
}

impl World {
    /// Meets the others. Called once in a process, by the thread that makes every further call.
    pub fn join() -> Result<Self, RunError> {
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, _) = started.ok_or_else(|| {
            RunError::Refused(
                "MPI did not start\nhint: look at what it says above; `mpirun -n 2 hostname` tries it alone"
                    .into(),
            )
        })?;
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        let mut joined = Self { universe: RefCell::new(Some(universe)), lifeline: None, rank, ranks };
        if ranks > 1 {
            joined.lifeline = Some(Lifeline::tie(&joined));
        }
        Ok(joined)
    }

    fn world(&self) -> SimpleCommunicator {
        self.universe.borrow().as_ref().expect("nobody calls a rank that has left").world()
    }
}

impl Collective for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn gather(&self, words: &[u64]) -> Vec<u64> {
        let mut all = vec![0; words.len() * self.ranks];
        self.world().all_gather_into(words, &mut all[..]);
        all
    }

    fn exchange(&self, from: &[f32], sends: &[usize], into: &mut [f32], receives: &[usize]) {
        let ([sends, send_at], [receives, receive_at]) = (stretches(sends), stretches(receives));
        let from = Partition::new(from, sends, send_at);
        let mut into = PartitionMut::new(into, receives, receive_at);
        self.world().all_to_all_varcount_into(&from, &mut into);
    }

    fn concatenate(&self, piece: &[f32], whole: &mut [f32]) {
        self.world().all_gather_into(piece, whole);
    }

    fn leave(&self) {
        self.world().barrier();
        if let Some(lifeline) = &self.lifeline {
            lifeline.untie();
        }
        // Closes MPI, which waits for the others again.
        self.universe.borrow_mut().take();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Closing MPI would wait for ranks that are in the middle of a step.
        std::mem::forget(self.universe.borrow_mut().take());
    }
}

/// Lengths and beginnings of stretches, one behind another, as MPI counts them.
fn stretches(lengths: &[usize]) -> [Vec<i32>; 2] {
    let number =
        |number: usize| i32::try_from(number).expect("a network's parts have fewer than 2^31 numbers");
    let mut begin = 0;
    let begins = lengths.iter().map(|length| {
        let at = begin;
        begin += length;
        number(at)
    });
    let begins = begins.collect();
    [lengths.iter().copied().map(number).collect(), begins]
}
