//! What is done with an epoch when its steps are: judged, published, remembered.

use method::attack::Victim;
use method::eval::EvalError;
use method::objective::Epoch;
use method::swa::Swa;
use serde_json::json;

use super::{Going, Run, State, Surroundings};
use crate::course::Visit;
use crate::error::RunError;
use crate::ranks::deal;
use crate::select::{self, Standing};
use crate::step::{Moving, StepError};

impl Run<'_> {
    /// Judges the epoch, writes the student, the best student where this is it, and the checkpoint, in this order: what
    /// a checkpoint speaks of is on the disk before it.
    pub(super) fn close_epoch(&self, going: &mut Going) -> Result<(), RunError> {
        if !self.is_finite(&going.moving)? {
            return Err(self.failed(StepError::Diverged, going.state.step, going));
        }
        let at = self.at(going.state.epoch);
        let epoch = at.number + 1;
        let before = going.moving.swa.clone();
        let averaged = self.average(going, at);
        if let Err(error) = self.unless_interrupted(averaged, &going.state, &mut []) {
            return Err(closes_later(error, before, going));
        }
        let loss = going.state.loss_sum / self.course.visits() as f64;
        let rate = self.rate(at);
        let State { step, seconds, .. } = going.state;
        let mut line = json!({"epoch": epoch, "step": step, "loss": loss, "lr": rate, "seconds": seconds});
        let mut said = format!("epoch {epoch}/{} loss {loss:.4}", self.config.epochs);
        if !self.selection.places.is_empty() && select::judges(self.config, epoch) {
            let judged = self.judge(going, epoch);
            let standing = judged.map_err(|error| closes_later(error, before, going))?;
            let on = if self.config.paper_selection { "test" } else { "holdout" };
            let (clean, robust) = (standing.clean_percent(), standing.robust_percent());
            said = format!("{said}, clean {clean:.1} {} {robust:.1}", select::SELECTED_BY);
            line[format!("{on}_clean")] = json!(clean);
            line[format!("{on}_{}", select::SELECTED_BY)] = json!(robust);
            if standing.beats(going.state.best.as_ref()) {
                self.publish(&self.folder.best(), &going.moving)?;
                going.state.best = Some(standing);
                said += " (best)";
            }
        }
        self.publish(&self.folder.student(), &going.moving)?;
        going.note(&line)?;
        // Here, not before the judging: an epoch that is judged again must not be learned from again.
        self.objective.close_epoch(at, &mut going.moving.memory);
        if !going.moving.memory.is_finite() {
            return Err(self.failed(StepError::Diverged, going.state.step, going));
        }
        going.state = State { epoch, batches: 0, loss_sum: 0.0, seconds: 0.0, ..going.state.clone() };
        going.checkpoint()?;
        self.pace(&mut said, seconds);
        going.progress.line(&said);
        Ok(())
    }

    /// Takes the epoch's student into the mean of those at the ends of epochs, where one is kept, and measures its
    /// statistics on the training images in the epoch's views: the clean ones, on which the field's code measures them
    /// after adversarial training, too (HongsinLee/saad, `update_bn` over its training images after each epoch).
    fn average(&self, going: &mut Going, at: Epoch) -> Result<(), RunError> {
        let Self { config, around, .. } = self;
        let Moving { swa: Some(swa), params, .. } = &mut going.moving else { return Ok(()) };
        if !swa.take(around.engine, params, at.number + 1)? {
            return Ok(());
        }
        going.progress.about(&format!("averaging epoch {}/{}", at.number + 1, at.of));
        let step = going.state.step;
        let steps = self.course.epoch(config.seed, at.number);
        let batches = steps.iter().map(|visits| {
            if around.stop.requested() {
                return Err(RunError::Interrupted { step });
            }
            self.supply.images(&self.dataset, visits, config.seed, at)
        });
        swa.reestimate(around.engine, &self.network, batches)
    }

    fn judge(&self, going: &mut Going, epoch: usize) -> Result<Standing, RunError> {
        let victim = Victim::new(self.around.engine, &self.network, going.moving.published());
        let dataset = self.selection.test.as_ref().unwrap_or(&self.dataset);
        going.progress.about(&format!("judging epoch {epoch}/{}", self.config.epochs));
        let Surroundings { stop, collective, .. } = self.around;
        let places = &self.selection.places;
        // An image is judged without its neighbours: each rank has some, and the counts are added up.
        let own = &places[deal(places.len(), collective.ranks(), collective.rank())];
        let judged = select::judge(&victim, dataset, own, self.config, epoch, &mut |_, _| !stop.requested());
        let (mut counts, judged) = match judged {
            Err(RunError::Common(cli::Error::Eval(EvalError::Interrupted))) => {
                ([0; 2], Err(RunError::Interrupted { step: going.state.step }))
            }
            Ok(Standing { clean, robust, .. }) => ([clean, robust], Ok(())),
            Err(error) => return Err(error),
        };
        self.unless_interrupted(judged, &going.state, &mut counts)?;
        let [clean, robust] = counts;
        Ok(Standing { epoch, clean, robust, images: places.len() })
    }

    /// What this rank did, where no rank was interrupted in it; `counts` are then those of all ranks, added up.
    fn unless_interrupted(
        &self,
        done: Result<(), RunError>,
        state: &State,
        counts: &mut [usize],
    ) -> Result<(), RunError> {
        let is_interrupted = match &done {
            Ok(()) => false,
            Err(RunError::Interrupted { .. }) => true,
            Err(_) => return done,
        };
        let words: Vec<u64> =
            [is_interrupted.into()].into_iter().chain(counts.iter().map(|&count| count as u64)).collect();
        let all = self.around.collective.gather(&words);
        let sum = |place: usize| all.iter().skip(place).step_by(words.len()).sum::<u64>() as usize;
        if sum(0) > 0 {
            return Err(RunError::Interrupted { step: state.step });
        }
        for (number, count) in (1..).zip(counts) {
            *count = sum(number);
        }
        Ok(())
    }

    /// Whether there is anything to publish: the loss is seen before a step moves the weights, and what the epoch's last
    /// step did shows only here.
    fn is_finite(&self, moving: &Moving) -> Result<bool, RunError> {
        let one = [Visit::once(self.course.first())];
        let images = self.supply.images(&self.dataset, &one, self.config.seed, self.at(0))?;
        let logits = self.around.engine.logits(&self.network, &moving.params, &images)?;
        let largest = logits.abs()?.max_all()?.to_scalar::<f32>()?;
        let values = [moving.params.trainable(), moving.params.statistics()];
        let finite = values.iter().all(|arena| !arena.has_non_finite()) && moving.heads.is_finite();
        Ok(largest.is_finite() && moving.memory.is_finite() && finite)
    }

    /// The failure of the step with this number, where in the run it was, and what the run leaves behind.
    pub(super) fn failed(&self, error: StepError, step: usize, going: &Going) -> RunError {
        if !matches!(error, StepError::NotFinite(_) | StepError::Diverged) {
            return error.into();
        }
        let Going { state, store, .. } = going;
        let out = self.around.out.display();
        let mut left = Vec::new();
        if state.epoch > 0 {
            left.push(format!("{out}/student.safetensors is of epoch {}", state.epoch));
        }
        if let Some(best) = state.best {
            left.push(format!("{out}/best.safetensors of epoch {}", best.epoch));
        }
        if let Some(saved) = store.newest() {
            left.push(format!("the last checkpoint of step {saved}"));
        }
        let left = left.join(", ");
        RunError::Diverged { epoch: state.epoch + 1, step, error: Box::new(error), left }
    }
}

/// What is done where the user stops before an epoch is closed: all of its steps are done, and the next process closes
/// it from the beginning, with the average as it was.
fn closes_later(error: RunError, before: Option<Swa>, going: &mut Going) -> RunError {
    if !matches!(error, RunError::Interrupted { .. }) {
        return error;
    }
    going.moving.swa = before;
    going.checkpoint().err().unwrap_or(error)
}
