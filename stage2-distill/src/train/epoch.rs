//! The steps of an epoch.

use std::time::{Duration, Instant};

use method::threat::Threat;
use serde_json::json;

use super::{Going, Run, State};
use crate::error::RunError;
use crate::step::TrainStep;

/// A checkpoint is due this long after the last one.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(10);
/// Steps between lines in metrics.jsonl.
const STEPS_PER_LINE: usize = 50;

impl Run<'_> {
    /// The steps of an epoch that are still to be done.
    pub(super) fn epoch(&self, going: &mut Going) -> Result<(), RunError> {
        let config = self.config;
        let step = TrainStep {
            engine: self.around.engine,
            network: &self.network,
            objective: self.objective.as_ref(),
            teacher: self.supply.teacher.victim(self.around.engine),
            second: self.supply.second.victim(self.around.engine),
            taps: Some(&self.supply.taps),
            threat: Threat::linf(config.eps.value()),
            steps: config.steps,
            step_size: config.step_size().value(),
            seed: config.seed,
        };
        let epoch = self.at(going.state.epoch);
        let rate = self.rate(epoch);
        going.moving.sgd.momentum = epoch.schedule.momentum(config.momentum, epoch.number, epoch.of);
        let steps = self.course.epoch(config.seed, epoch.number);
        let done_epochs = epoch.number * self.course.visits();
        let mut seen: usize = steps.iter().take(going.state.batches).map(Vec::len).sum();
        let (before, began) = (going.state.seconds, Instant::now());
        for visits in steps.iter().skip(going.state.batches) {
            let batch = self.supply.batch(self.around.engine, &self.dataset, visits, config.seed, epoch)?;
            let outcome = step.run(&mut going.moving, batch, rate);
            let outcome = outcome.map_err(|error| self.failed(error, going.state.step + 1, going))?;
            let state = &mut going.state;
            state.step += 1;
            state.batches += 1;
            state.loss_sum += outcome.loss * visits.len() as f64;
            state.seconds = before + began.elapsed().as_secs_f64();
            seen += visits.len();
            let mean_loss = state.loss_sum / seen as f64;
            if state.step.is_multiple_of(STEPS_PER_LINE) {
                let line = json!({"step": state.step, "epoch": state.epoch + 1, "loss": outcome.loss});
                going.metrics.add(&line)?;
            }
            going.progress.set((done_epochs + seen) as u64, &self.message(state, mean_loss));
            let stop = self.around.stop.requested();
            if stop || going.saved.elapsed() >= CHECKPOINT_EVERY {
                going.checkpoint()?;
                going.saved = Instant::now();
            }
            if stop {
                return Err(RunError::Interrupted { step: going.state.step });
            }
        }
        Ok(())
    }

    fn message(&self, state: &State, loss: f64) -> String {
        let best = state.best.map_or_else(String::new, |best| format!(" best {:.1}", best.robust_percent()));
        format!("epoch {}/{} loss {loss:.4}{best}", state.epoch + 1, self.config.epochs)
    }
}
