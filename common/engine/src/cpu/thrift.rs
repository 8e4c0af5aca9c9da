//! When a training's backward forms normalised maps again: where somebody wants it, or where memory is short. No result
//! depends on it.

use std::sync::{Arc, Mutex};

use super::vector::memory::locked;
use crate::params::Layout;

/// Forwards of a step whose maps are alive at the same time: of clean and of adversarial images.
const TAPES: u64 = 2;

/// What was wanted, and what was found.
pub(crate) struct Thrift {
    always: bool,
    /// Bytes of memory that are free, where the system tells it.
    free: fn() -> Option<u64>,
    // Decided once for a network and its largest batch: memory that a step holds is no longer free when the next one asks.
    found: Mutex<Vec<Found>>,
}

/// What was decided for a network.
struct Found {
    layout: Arc<Layout>,
    images: usize,
    short: bool,
}

impl Default for Thrift {
    fn default() -> Self {
        Self { always: false, free: free_memory, found: Mutex::default() }
    }
}

impl Thrift {
    /// Whether everybody's backward is to form maps again.
    pub(crate) fn always(&mut self, always: bool) {
        self.always = always;
    }

    /// Whether the backward of so many images is to; `tape` says how many bytes their maps are if it is not.
    pub(crate) fn wants(&self, layout: &Arc<Layout>, images: usize, tape: impl FnOnce() -> u64) -> bool {
        const MOST_NETWORKS: usize = 8;
        if self.always {
            return true;
        }
        let mut found = locked(&self.found);
        if let Some(index) = found.iter().position(|one| Arc::ptr_eq(&one.layout, layout)) {
            if found[index].images >= images {
                return found[index].short;
            }
            found.remove(index);
        }
        let short = (self.free)().is_some_and(|free| TAPES.saturating_mul(tape()) > free);
        found.push(Found { layout: layout.clone(), images, short });
        if found.len() > MOST_NETWORKS {
            found.remove(0);
        }
        short
    }
}

/// Bytes that Linux says a process may still have: of the machine, or of its control group where that has a limit.
fn free_memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let machine = read("/proc/meminfo").and_then(|text| available(&text));
    let group = number("/sys/fs/cgroup/memory.max")
        .and_then(|limit| Some(limit.saturating_sub(number("/sys/fs/cgroup/memory.current")?)));
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Op};

    fn layout() -> Arc<Layout> {
        let (mut b, x) = Builder::new([1, 2, 2]);
        let x = b.node("flat", Op::Flatten, &[x]).unwrap();
        b.linear("classifier", 2, x).unwrap();
        b.finish("one-layer").unwrap().layout().clone()
    }

    #[test]
    fn a_step_that_does_not_fit_into_what_is_free_forms_maps_again_and_goes_on_to() {
        let thrift = Thrift { free: || Some(1 << 30), ..Thrift::default() };
        let (one, other) = (layout(), layout());
        // Two of them are alive at once.
        assert!(!thrift.wants(&one, 64, || 1 << 29));
        assert!(thrift.wants(&one, 65, || (1 << 29) + 1));
        let asked = || panic!("it was decided");
        assert!(thrift.wants(&one, 65, asked) && thrift.wants(&one, 64, asked));
        assert!(!thrift.wants(&other, 64, || 1 << 20));
        let unknown = Thrift { free: || None, ..Thrift::default() };
        assert!(!unknown.wants(&one, 64, || u64::MAX));
    }

    #[test]
    fn memory_that_is_free_is_read_as_linux_writes_it() {
        // proc(5): "kB" there is 1024 bytes.
        let text = "MemTotal:       16384256 kB\nMemFree:          123456 kB\nMemAvailable:    8192128 kB\n";
        assert_eq!(available(text), Some(8_192_128 * 1024));
        assert_eq!(available("MemTotal: 5 kB\n"), None);
    }
}
