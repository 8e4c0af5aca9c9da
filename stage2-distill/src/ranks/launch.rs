//! Who started this process, and with how many others.

use std::env;

#[cfg(not(feature = "mpi"))]
use super::Alone;
use super::Collective;
use crate::error::RunError;

/// Parts of a batch where MPI started the run and nobody chose: they fit 1, 2, 4 and 8 ranks.
pub const USUAL_PARTS: usize = 8;

/// What the starters of MPI's programs set to the number of ranks: Open MPI's mpirun, and MPICH's, Intel's and SLURM's by
/// PMI. A SLURM step alone says nothing: many run independent programs by one.
const COUNTS: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];
/// What SLURM sets where its steps speak `PMIx` to MPI's programs.
#[cfg(feature = "mpi")]
const RANKS: [&str; 1] = ["PMIX_RANK"];

/// The number of ranks, where MPI's starter says it.
fn ranks(variable: impl Fn(&str) -> Option<String>) -> Option<usize> {
    COUNTS.iter().find_map(|name| variable(name)?.parse().ok())
}

fn of_environment(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The parts of a batch where nobody chose: none, unless MPI's starter started this process, with others or without.
pub fn usual_parts() -> Option<usize> {
    launched().then_some(USUAL_PARTS)
}

fn launched() -> bool {
    #[cfg(feature = "mpi")]
    if RANKS.iter().any(|name| env::var_os(name).is_some()) {
        return true;
    }
    ranks(of_environment).is_some()
}

/// What connects this process with the others that were started with it.
#[cfg(feature = "mpi")]
pub fn world() -> Result<Box<dyn Collective>, RunError> {
    if launched() { Ok(Box::new(super::mpi::World::join()?)) } else { Ok(Box::new(super::Alone)) }
}

/// What connects this process with others: nothing in this build, which refuses to be one of several.
#[cfg(not(feature = "mpi"))]
pub fn world() -> Result<Box<dyn Collective>, RunError> {
    match ranks(of_environment) {
        Some(ranks) if ranks > 1 => Err(RunError::Refused(format!(
            "started as one of {ranks} ranks, and this distill was built without MPI: each would train the whole student\nhint: build it with `cargo build --release --bin distill --features rslad-distill/mpi` (docs/scale.md), or start it by itself"
        ))),
        _ => Ok(Box::new(Alone)),
    }
}

/// Refuses a command that several ranks would each do whole.
pub fn refuse_several(verb: &str) -> Result<(), RunError> {
    match ranks(of_environment) {
        Some(ranks) if ranks > 1 => Err(RunError::Refused(format!(
            "started as one of {ranks} ranks: `distill {verb}` is for one process\nhint: start it by itself; `distill train` is what several ranks do together"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_ranks_is_what_mpis_starters_say_and_a_slurm_step_says_none() {
        let with = |name: &'static str, value: &'static str| {
            ranks(move |asked| (asked == name).then(|| value.to_owned()))
        };
        // mpirun(1) of Open MPI, "Exported Environment Variables"; PMI_SIZE of MPICH's Hydra.
        assert_eq!(with("OMPI_COMM_WORLD_SIZE", "3"), Some(3));
        assert_eq!(with("PMI_SIZE", "2"), Some(2));
        assert_eq!(with("SLURM_NTASKS", "4"), None);
    }
}
