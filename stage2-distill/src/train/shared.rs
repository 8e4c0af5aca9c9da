//! What several ranks must have in common, and what a step in parts cannot do.

use cli::Exit;
use engine::Kind;
use engine::params::Arena;
use method::objective::Objective;

use super::part::Part;
use super::{State, Surroundings};
use crate::config::Config;
use crate::error::RunError;
use crate::ranks::Collective;
use crate::step::Moving;

/// Refuses what needs a batch whole where it is cut into parts, and more ranks than parts.
pub(super) fn refuse_whole(
    config: &Config,
    objective: &dyn Objective,
    collective: &dyn Collective,
) -> Result<(), RunError> {
    let ranks = collective.ranks();
    let parts = match config.parts {
        None if ranks == 1 => return Ok(()),
        None => 1,
        Some(parts) => parts,
    };
    let name = &config.objective;
    let refused = if ranks > parts {
        format!(
            "{ranks} ranks share a batch of {parts} parts\nhint: start {parts} ranks at most, or raise --parts"
        )
    } else if !objective.memory(1).is_empty() {
        format!(
            "parts {parts}: objective {name} remembers what it saw in earlier steps of whole batches\nhint: drop --parts and train it by one process, or choose another objective"
        )
    } else if config.labelled.is_some() && objective.unlabelled_each().is_some() {
        format!(
            "parts {parts}: objective {name} mixes images with and without labels in a batch, and a part may have none of either\nhint: drop --parts and train it by one process, or drop --labelled"
        )
    } else {
        return Ok(());
    };
    Err(RunError::Refused(refused))
}

/// Refuses ranks that would not take the same steps: started with other settings, on other data, from another
/// checkpoint, by another build or on another kind of machine. All ranks refuse at once.
pub(super) fn refuse_other_beginnings(
    config: &Config,
    around: &Surroundings,
    moving: &Moving,
    state: &State,
) -> Result<(), RunError> {
    if around.collective.ranks() == 1 {
        return Ok(());
    }
    // A card's number may differ: each rank of a machine has one of its own.
    let settings = Config { engine: Kind::default(), ..config.clone() };
    let what = [
        ("other settings", toml::to_string(&settings).expect("a configuration is a table")),
        ("other images, labels or teacher", state.inputs.join("\n")),
        ("another program or kind of machine", Part::here(around.engine, state.step).to_string()),
        ("another checkpoint", checkpoint(moving, state)),
    ];
    let word = |text: &String| {
        let digest = blake3::hash(text.as_bytes());
        u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes"))
    };
    let words: Vec<u64> = what.iter().map(|(_, text)| word(text)).collect();
    let all = around.collective.gather(&words);
    let other = all.chunks_exact(words.len()).enumerate().find_map(|(rank, theirs)| {
        let place = (0..words.len()).find(|&place| theirs[place] != all[place])?;
        Some((rank, what[place].0))
    });
    match other {
        None => Ok(()),
        Some(_) if around.collective.rank() > 0 => Err(RunError::Elsewhere { rank: 0, exit: Exit::Refused }),
        Some((rank, what)) => Err(RunError::Refused(format!(
            "rank {rank} has {what} than rank 0, and would train another student\nhint: give every rank the same command, files and program, on machines of one kind; runs that have nothing to do with each other are started each by itself, in SLURM with `srun --mpi=none`"
        ))),
    }
}

/// A digest of where the run stands.
fn checkpoint(moving: &Moving, state: &State) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut lay = |arena: &Arena| match arena {
        Arena::F32(values) => values.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        }),
        Arena::F64(values) => values.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        }),
    };
    for params in [Some(&moving.params), moving.averaged()].into_iter().flatten() {
        lay(params.trainable());
        lay(params.statistics());
    }
    lay(moving.sgd.velocity());
    let state = serde_json::to_string(state).expect("a run's state is plain data");
    format!("{} {state}", hasher.finalize())
}
