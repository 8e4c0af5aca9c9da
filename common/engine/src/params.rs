//! The values of a network: flat arenas, with a map from PyTorch's names to places in them.
//!
//! Optimisers, weight files, averaging and (later) an all-reduce see one contiguous slice; engines and state dicts
//! see names. Trainable parameters and running statistics lie in separate arenas because only the first have
//! gradients and momentum. Each arena lies on the host, where an engine computes, or both: [`Values`].

mod arena;
mod values;

pub use crate::graph::{Entry, Layout, Role};
pub use arena::{Arena, Float, Precision};
pub use values::{Remote, Values};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Parameters and running statistics of one network.
#[derive(Clone, Debug)]
pub struct Params {
    layout: Arc<Layout>,
    trainable: Values,
    statistics: Values,
    batches_tracked: Vec<i64>,
    version: u64,
    trainable_version: u64,
}

impl Params {
    /// All parameters zero, running means 0, running variances 1: to be filled by an initialiser or a file.
    pub fn zeros(layout: &Arc<Layout>, precision: Precision) -> Self {
        let mut statistics = Arena::zeros(layout.statistics_len(), precision);
        for entry in layout.statistics().iter().filter(|entry| entry.role == Role::RunningVar) {
            statistics.fill(entry.range.clone(), 1.0);
        }
        let version = next_version();
        Self {
            layout: layout.clone(),
            trainable: Values::zeros(layout.trainable_len(), precision),
            statistics: Values::new(statistics),
            batches_tracked: vec![0; layout.counters().len()],
            version,
            trainable_version: version,
        }
    }

    /// Names, shapes and places.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// f32 or f64.
    pub fn precision(&self) -> Precision {
        self.trainable.precision()
    }

    /// The trainable parameters.
    pub fn trainable(&self) -> &Arena {
        self.trainable.host()
    }

    /// The trainable parameters, to change them; whatever was packed from them is stale afterwards.
    pub fn trainable_mut(&mut self) -> &mut Arena {
        self.held_trainable_mut().host_mut()
    }

    /// The trainable parameters wherever they lie: for engines.
    pub fn held_trainable(&self) -> &Values {
        &self.trainable
    }

    /// The same, to write them.
    pub fn held_trainable_mut(&mut self) -> &mut Values {
        self.version = next_version();
        self.trainable_version = self.version;
        &mut self.trainable
    }

    /// The running means and variances.
    pub fn statistics(&self) -> &Arena {
        self.statistics.host()
    }

    /// The running means and variances, to change them; whatever was folded from them is stale afterwards.
    pub fn statistics_mut(&mut self) -> &mut Arena {
        self.held_statistics_mut().host_mut()
    }

    /// The running means and variances wherever they lie: for engines.
    pub fn held_statistics(&self) -> &Values {
        &self.statistics
    }

    /// The same, to write them.
    pub fn held_statistics_mut(&mut self) -> &mut Values {
        self.version = next_version();
        &mut self.statistics
    }

    /// PyTorch's `num_batches_tracked`, one per BatchNorm in the order of [`Layout::counters`].
    pub fn batches_tracked(&self) -> &[i64] {
        &self.batches_tracked
    }

    /// The same, to change it.
    pub fn batches_tracked_mut(&mut self) -> &mut [i64] {
        &mut self.batches_tracked
    }

    /// A number that changes whenever the values may have, and is never given twice within a process.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The same for the trainable parameters alone: moving the running statistics does not change it.
    pub fn trainable_version(&self) -> u64 {
        self.trainable_version
    }

    /// The same values in another precision; narrowing rounds to nearest.
    #[must_use]
    pub fn to_precision(&self, precision: Precision) -> Self {
        let version = next_version();
        Self {
            layout: self.layout.clone(),
            trainable: Values::new(self.trainable().to_precision(precision)),
            statistics: Values::new(self.statistics().to_precision(precision)),
            batches_tracked: self.batches_tracked.clone(),
            version,
            trainable_version: version,
        }
    }
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Gradients of the trainable parameters, laid out as they are.
#[derive(Clone, Debug)]
pub struct Grads {
    layout: Arc<Layout>,
    values: Values,
    /// Whether all count as zero, whatever the values are.
    cleared: bool,
    /// What is shown meanwhile to who asks for them.
    zeros: OnceLock<Values>,
}

impl Grads {
    /// All zero.
    pub fn zeros(layout: &Arc<Layout>, precision: Precision) -> Self {
        let values = Values::zeros(layout.trainable_len(), precision);
        Self { layout: layout.clone(), values, cleared: false, zeros: OnceLock::new() }
    }

    /// Names, shapes and places.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The gradients in one flat slice.
    pub fn values(&self) -> &Arena {
        self.held().host()
    }

    /// The same, to add to them.
    pub fn values_mut(&mut self) -> &mut Arena {
        self.held_mut().host_mut()
    }

    /// The gradients wherever they lie: for engines.
    pub fn held(&self) -> &Values {
        if !self.cleared {
            return &self.values;
        }
        self.zeros.get_or_init(|| Values::zeros(self.layout.trainable_len(), self.values.precision()))
    }

    /// The same, to write them.
    pub fn held_mut(&mut self) -> &mut Values {
        if std::mem::take(&mut self.cleared) {
            self.zeros.take();
            self.values.host_mut().clear();
        }
        &mut self.values
    }

    /// Sets every gradient to zero, for values that lie on the host. Nothing is written yet: a backward would read and
    /// write all of it again.
    pub(crate) fn clear(&mut self) {
        self.cleared = true;
    }

    /// The gradients for a backward on the host, and whether it adds to them; if not, it writes every one, whatever is
    /// there.
    pub(crate) fn for_backward(&mut self) -> (&mut Arena, bool) {
        let cleared = std::mem::take(&mut self.cleared);
        self.zeros.take();
        (self.values.host_mut(), !cleared)
    }
}
