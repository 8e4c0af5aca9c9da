//! The steps of an epoch.

use std::time::{Duration, Instant};

use method::objective::Epoch;
use method::threat::Threat;
use serde_json::json;

use super::{Going, Run, State, Surroundings};
use crate::course::Visit;
use crate::error::RunError;
use crate::step::{Moving, Parts, Stepped, TrainStep};

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
        going.moving.sgd.momentum = epoch.schedule.momentum(config.momentum, epoch.number, epoch.of);
        let steps = self.course.epoch(config.seed, epoch.number);
        let done_epochs = epoch.number * self.course.visits();
        let mut seen: usize = steps.iter().take(going.state.batches).map(Vec::len).sum();
        let (before, began) = (going.state.seconds, Instant::now());
        for visits in steps.iter().skip(going.state.batches) {
            let stepped = self.step(&step, &mut going.moving, visits, epoch);
            let Stepped { loss, stop } = stepped.map_err(|error| match error {
                RunError::Step(error) => self.failed(error, going.state.step + 1, going),
                error => error,
            })?;
            let state = &mut going.state;
            state.step += 1;
            state.batches += 1;
            state.loss_sum += loss * visits.len() as f64;
            state.seconds = before + began.elapsed().as_secs_f64();
            seen += visits.len();
            let mean_loss = state.loss_sum / seen as f64;
            if state.step.is_multiple_of(STEPS_PER_LINE) {
                let line = json!({"step": state.step, "epoch": state.epoch + 1, "loss": loss});
                going.note(&line)?;
            }
            let message = self.message(&going.state, mean_loss);
            going.progress.set((done_epochs + seen) as u64, &message);
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

    /// One step on these images: in one piece, or this rank's parts of it.
    fn step(
        &self,
        step: &TrainStep,
        moving: &mut Moving,
        visits: &[Visit],
        epoch: Epoch,
    ) -> Result<Stepped, RunError> {
        let Surroundings { engine, collective, stop, .. } = *self.around;
        let (seed, rate) = (self.config.seed, self.rate(epoch));
        let batch = |range| self.supply.batch(engine, &self.dataset, &visits[range], seed, epoch);
        let Some(count) = self.config.parts else {
            let loss = step.run(moving, batch(0..visits.len())?, rate)?.loss;
            return Ok(Stepped { loss, stop: stop.requested() });
        };
        let parts = Parts { count, collective, images: visits.len(), epoch, stop };
        step.run_in_parts(moving, &parts, rate, batch)
    }

    fn message(&self, state: &State, loss: f64) -> String {
        let best = state.best.map_or_else(String::new, |best| format!(" best {:.1}", best.robust_percent()));
        format!("epoch {}/{} loss {loss:.4}{best}", state.epoch + 1, self.config.epochs)
    }
}
