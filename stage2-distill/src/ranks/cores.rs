//! How many threads a rank has where several share a machine.

use std::fs;

use super::Collective;

/// Words of a mask of processors: as many as Linux has.
const WORDS: usize = 8192 / 64;

/// Of `available` threads, those that this rank has when each processor is shared evenly by the ranks that may run on
/// it; at least one. Whoever started the ranks may have bound each to processors of its own.
pub(crate) fn share(collective: &dyn Collective, available: usize) -> usize {
    if collective.ranks() == 1 {
        return available;
    }
    let mut own = vec![machine()];
    own.extend(mask(&fs::read_to_string("/proc/self/status").unwrap_or_default(), available));
    let all = collective.gather(&own);
    let beside: Vec<&[u64]> = all.chunks_exact(1 + WORDS).filter(|words| words[0] == own[0]).collect();
    let masks: Vec<&[u64]> = beside.iter().map(|words| &words[1..]).collect();
    shared(&own[1..], &masks).min(available)
}

/// What tells a machine from others: drawn anew by its kernel each time it starts.
pub(super) fn machine() -> u64 {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u64::from_le_bytes(blake3::hash(&id).as_bytes()[..8].try_into().expect("a digest has 32 bytes"))
}

/// The processors that a process may run on, of the text of its status; the first ones where it does not say.
fn mask(status: &str, available: usize) -> Vec<u64> {
    let mut mask = vec![0; WORDS];
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let all = format!("0-{}", available - 1);
    for range in list.unwrap_or(&all).trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            for processor in first..=last.min(64 * WORDS - 1) {
                mask[processor / 64] |= 1 << (processor % 64);
            }
        }
    }
    mask
}

/// The processors of `own`, each divided by the number of masks that it is in.
fn shared(own: &[u64], masks: &[&[u64]]) -> usize {
    let has = |mask: &[u64], processor: usize| mask[processor / 64] >> (processor % 64) & 1 == 1;
    let share: f64 = (0..64 * WORDS)
        .filter(|&processor| has(own, processor))
        .map(|processor| 1.0 / masks.iter().filter(|mask| has(mask, processor)).count() as f64)
        .sum();
    // A third three times over is a rounding below one.
    ((share + 1e-6) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lists: &[&str]) -> Vec<usize> {
        let masks: Vec<Vec<u64>> =
            lists.iter().map(|list| mask(&format!("Name:\tx\nCpus_allowed_list:\t{list}\n"), 1)).collect();
        let masks: Vec<&[u64]> = masks.iter().map(Vec::as_slice).collect();
        masks.iter().map(|own| shared(own, &masks)).collect()
    }

    #[test]
    fn ranks_share_what_they_may_all_run_on_and_keep_what_they_are_bound_to() {
        assert_eq!(of(&["0-63", "0-63"]), [32, 32]);
        assert_eq!(of(&["0-7", "0-7", "0-7"]), [2, 2, 2]);
        assert_eq!(of(&["0-7", "8-15"]), [8, 8], "bound by whoever started them");
        assert_eq!(of(&["0-31,64-95", "0-31,64-95", "32-63,96-127"]), [32, 32, 64], "by the socket");
        assert_eq!(of(&["0", "0", "0"]), [1, 1, 1], "more ranks than processors");
    }

    #[test]
    fn a_rank_alone_has_all() {
        assert_eq!(share(&super::super::Alone, 5), 5);
    }
}
