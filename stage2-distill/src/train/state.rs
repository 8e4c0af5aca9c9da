//! What a run carries from step to step, and what its checkpoints remember.

use std::time::Instant;

use cli::Progress;
use method::checkpoint::{Store, Tensors};
use method::objective::Memory;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::Part;
use crate::error::RunError;
use crate::metrics::Metrics;
use crate::select::Standing;
use crate::step::Moving;

/// What a checkpoint remembers besides the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// What the run learns from, by content; a resumed run must find the same.
    pub inputs: Vec<String>,
    /// Epochs completed.
    pub epoch: usize,
    /// Batches of the current epoch completed.
    pub batches: usize,
    /// Steps completed.
    pub step: usize,
    /// Sum of the losses of the current epoch, each times its images.
    pub loss_sum: f64,
    /// Seconds spent on those batches, by all processes that did them.
    #[serde(default)]
    pub seconds: f64,
    /// Length of metrics.jsonl.
    pub metrics_bytes: u64,
    /// The best epoch so far.
    pub best: Option<Standing>,
    /// What the objective remembers; a section of its own, left out by objectives that remember nothing.
    #[serde(default, skip_serializing_if = "Memory::is_empty")]
    pub objective: Memory,
    /// What ran which steps.
    #[serde(default)]
    pub parts: Vec<Part>,
}

impl State {
    /// Before the first step.
    pub fn fresh(inputs: Vec<String>, objective: Memory) -> Self {
        Self {
            inputs,
            epoch: 0,
            batches: 0,
            step: 0,
            loss_sum: 0.0,
            seconds: 0.0,
            metrics_bytes: 0,
            best: None,
            objective,
            parts: Vec::new(),
        }
    }
}

/// A run on its way.
pub(super) struct Going {
    pub moving: Moving,
    pub state: State,
    pub store: Store,
    /// None on a rank that is not the first: it writes nothing.
    pub metrics: Option<Metrics>,
    pub progress: Progress,
    /// When the last checkpoint was.
    pub saved: Instant,
}

impl Going {
    /// Writes down what happened.
    pub fn note(&mut self, line: &Value) -> Result<(), RunError> {
        Ok(self.metrics.as_mut().map_or(Ok(()), |metrics| metrics.add(line))?)
    }

    /// Keeps everything as it stands.
    pub fn checkpoint(&mut self) -> Result<(), RunError> {
        let Self { moving, state, store, metrics, .. } = self;
        let Some(metrics) = metrics else { return Ok(()) };
        state.metrics_bytes = metrics.sync()?;
        state.objective = moving.memory.clone();
        let Moving { params, sgd, heads, .. } = &*moving;
        let average = moving.averaged();
        let tensors = Tensors { params, velocity: sgd.velocity(), average, heads };
        Ok(store.save(state.step, tensors, state)?)
    }
}
