//! `distill train`: a run from its first step, or from its last checkpoint, to its end.

use std::path::Path;
use std::time::{Duration, Instant};

use cli::{Progress, Stop, say};
use data::{Dataset, DatasetSpec, Split as DataSplit};
use engine::params::Precision;
use engine::{Engine, Grads, Network};
use method::attack::{Pgd, Victim};
use method::objective::{self, Objective};
use method::optim::Sgd;
use method::threat::Threat;
use method::view::epoch_order;
use method::{checkpoint, model};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::Config;
use crate::error::RunError;
use crate::folder::{Metrics, RunFolder};
use crate::select::{self, Standing};
use crate::source::{self, Supply};
use crate::step::{Batch, Moving, StepError, TrainStep};

/// A checkpoint is due this long after the last one.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(10);
/// Steps between lines in metrics.jsonl.
const STEPS_PER_LINE: usize = 50;

/// What `train` needs besides the configuration; none of it changes the student.
pub struct Surroundings<'a> {
    /// Where the run is written.
    pub out: &'a Path,
    /// Whether to go on from a checkpoint that is there.
    pub resume: bool,
    /// What runs the networks.
    pub engine: &'a dyn Engine,
    /// Its number of threads.
    pub threads: usize,
    /// Set when the user asks to stop.
    pub stop: &'a Stop,
    /// The command line, for the record.
    pub command: String,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Passes over the training images.
    pub epochs: usize,
    /// Steps in all.
    pub steps: usize,
    /// Images trained on.
    pub train_images: usize,
    /// Whether the run was already at its end.
    pub was_done: bool,
    /// The best epoch, where images selected one.
    pub best: Option<Standing>,
    /// Whether those images were of the test split.
    pub selected_on_test: bool,
}

/// What a checkpoint remembers besides the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// What the run learns from, by content; a resumed run must find the same.
    inputs: Vec<String>,
    /// Epochs completed.
    epoch: usize,
    /// Batches of the current epoch completed.
    batches: usize,
    /// Steps completed.
    step: usize,
    /// Sum of the losses of the current epoch, each times its images.
    loss_sum: f64,
    /// Length of metrics.jsonl.
    metrics_bytes: u64,
    /// The best epoch so far.
    best: Option<Standing>,
}

/// Everything a run reads and never changes.
struct Run<'a> {
    config: &'a Config,
    around: &'a Surroundings<'a>,
    dataset: Dataset,
    selection: Selection,
    train: Vec<usize>,
    network: Network,
    objective: Box<dyn Objective>,
    supply: Supply,
    folder: RunFolder,
}

/// The images that select the best epoch.
struct Selection {
    /// The test split under `paper-selection`; else the held-out images are of the training split.
    test: Option<Dataset>,
    places: Vec<usize>,
}

/// Trains a student as `config` says; everything it leaves is in the folder.
pub fn train(config: &Config, around: &Surroundings) -> Result<Summary, RunError> {
    let row = objective::find(&config.objective).map_err(|error| RunError::Refused(error.to_string()))?;
    let objective = (row.make)();
    let spec: DatasetSpec = config.data.parse()?;
    let mut dataset = spec.load(DataSplit::Train)?;
    if let Some(limit) = config.limit {
        dataset = dataset.limit(limit);
    }
    let task = source::task(&dataset);
    let (architecture, network) = model::build(&config.student, task)?;
    let supply = Supply::open(config, objective.needs(), &spec, &dataset, task)?;
    let split = select::split(&dataset, config)?;
    let selection = if config.paper_selection {
        let test = spec.load(DataSplit::Test)?;
        Selection { places: (0..test.len()).collect(), test: Some(test) }
    } else {
        Selection { places: split.held_out, test: None }
    };
    let mut inputs = vec![format!("images {}", dataset.record().hash())];
    if let Some(test) = &selection.test {
        inputs.push(format!("test {}", test.record().hash()));
    }
    inputs.push(format!("views {} of {}", supply.plan.views, supply.plan.augment));
    inputs.extend(supply.identity());
    let params = match &config.init {
        None => model::initialise(&network, architecture.init, config.seed, Precision::F32),
        Some(path) => {
            let loaded = model::load(Path::new(path), Some(&config.student), task, Precision::F32)?;
            inputs.push(format!("init {}", loaded.blake3));
            loaded.params
        }
    };

    let (folder, known) = RunFolder::open(around.out)?;
    if let Some(known) = known {
        refuse_other_run(config, around, &known)?;
    }
    // Before anything else lies in the folder: from here on it is a run's.
    folder.write("config.toml", &toml::to_string(config).expect("a configuration is a table"))?;
    let found = checkpoint::latest::<State>(&folder.checkpoints()?, &network, Precision::F32)?;
    for line in &found.damaged {
        say(format_args!("warning: passed over {line}"));
    }
    let fresh = State { inputs, epoch: 0, batches: 0, step: 0, loss_sum: 0.0, metrics_bytes: 0, best: None };
    let mut sgd = Sgd::new(&params, config.momentum, config.weight_decay);
    let (params, state) = match found.restored {
        None => (params, fresh),
        Some(restored) if restored.state.inputs != fresh.inputs => {
            return Err(RunError::Refused(format!(
                "{}: the run learned from other inputs: it had [{}], now they are [{}]\nhint: bring them back, or choose another --out",
                around.out.display(),
                restored.state.inputs.join(", "),
                fresh.inputs.join(", ")
            )));
        }
        Some(restored) => {
            *sgd.velocity_mut() = restored.velocity;
            (restored.params, restored.state)
        }
    };
    let grads = Grads::zeros(network.layout(), Precision::F32);
    let run =
        Run { config, around, dataset, selection, train: split.train, network, objective, supply, folder };
    run.record(&state)?;
    run.go(Moving { params, grads, sgd }, state)
}

fn refuse_other_run(config: &Config, around: &Surroundings, known: &Config) -> Result<(), RunError> {
    let out = around.out.display();
    if !around.resume {
        return Err(RunError::Refused(format!(
            "{out}: holds a run already\nhint: choose another --out, or --resume auto to go on"
        )));
    }
    let differences = known.differences(config);
    if differences.is_empty() {
        return Ok(());
    }
    Err(RunError::Refused(format!(
        "{out}: holds a run with other settings (there, now):\n  {}\nhint: choose another --out, or repeat the run's own settings",
        differences.join("\n  ")
    )))
}

impl Run<'_> {
    /// Writes what was asked and where it runs.
    fn record(&self, state: &State) -> Result<(), RunError> {
        self.folder.append("command.txt", &self.around.command)?;
        let environment = json!({
            "distill": env!("CARGO_PKG_VERSION"),
            "engine": self.around.engine.name(),
            "threads": self.around.threads,
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            "inputs": state.inputs,
            "resumed_at_step": state.step,
        });
        let text = serde_json::to_string_pretty(&environment).expect("the environment is plain data");
        Ok(self.folder.write("env.json", &format!("{text}\n"))?)
    }

    fn go(&self, mut moving: Moving, mut state: State) -> Result<Summary, RunError> {
        let total = self.config.epochs * self.train.len();
        let in_epoch = (state.batches * self.config.batch).min(self.train.len());
        let done_before = state.epoch * self.train.len() + in_epoch;
        let was_done = state.epoch == self.config.epochs;
        let mut metrics = Metrics::open(&self.folder, state.metrics_bytes)?;
        let mut progress = Progress::on_stderr("images");
        progress.begin(done_before as u64, total as u64);
        let mut saved = Instant::now();
        while state.epoch < self.config.epochs {
            let began = Instant::now();
            self.epoch(&mut moving, &mut state, &mut metrics, &mut progress, &mut saved)?;
            self.close_epoch(&moving, &mut state, &mut metrics, &mut progress, began)?;
            saved = Instant::now();
        }
        drop(progress);
        if was_done {
            // The same bytes again, should somebody have moved the file away.
            model::save(&self.folder.file("student.safetensors"), &self.network, &moving.params)?;
            if state.best.is_some() && !self.folder.file("best.safetensors").exists() {
                return Err(RunError::Refused(format!(
                    "{}: best.safetensors is gone, and no checkpoint holds it\nhint: bring it back, or train again with another --out",
                    self.around.out.display()
                )));
            }
        }
        Ok(Summary {
            epochs: self.config.epochs,
            steps: state.step,
            train_images: self.train.len(),
            was_done,
            best: state.best,
            selected_on_test: self.config.paper_selection,
        })
    }

    /// The steps of an epoch that are still to be done.
    fn epoch(
        &self,
        moving: &mut Moving,
        state: &mut State,
        metrics: &mut Metrics,
        progress: &mut Progress,
        saved: &mut Instant,
    ) -> Result<(), RunError> {
        let config = self.config;
        let threat = Threat { eps: config.eps.value() };
        let attack = self.objective.attack_start().map(|start| Pgd {
            threat,
            steps: config.steps,
            step_size: config.step_size().value(),
            start,
        });
        let step = TrainStep {
            engine: self.around.engine,
            network: &self.network,
            objective: self.objective.as_ref(),
            attack,
            seed: config.seed,
        };
        let rate = config.lr * config.schedule.factor(state.epoch, config.epochs);
        let order = epoch_order(config.seed, state.epoch, &self.train);
        let done_epochs = state.epoch * self.train.len();
        for places in order.chunks(config.batch).skip(state.batches) {
            let batch = self.batch(places, state.epoch)?;
            let images = places.len();
            let outcome = step.run(moving, batch, rate)?;
            state.step += 1;
            state.batches += 1;
            state.loss_sum += outcome.loss * images as f64;
            let seen = (state.batches * config.batch).min(self.train.len());
            let mean_loss = state.loss_sum / seen as f64;
            if state.step.is_multiple_of(STEPS_PER_LINE) {
                metrics.add(&json!({"step": state.step, "epoch": state.epoch + 1, "loss": outcome.loss}))?;
            }
            progress.set((done_epochs + seen) as u64, &self.message(state, mean_loss));
            let stop = self.around.stop.requested();
            if stop || saved.elapsed() >= CHECKPOINT_EVERY {
                self.checkpoint(moving, state, metrics)?;
                *saved = Instant::now();
            }
            if stop {
                return Err(RunError::Interrupted { step: state.step });
            }
        }
        Ok(())
    }

    fn message(&self, state: &State, loss: f64) -> String {
        let best = state.best.map_or_else(String::new, |best| format!(" best {:.1}", best.robust_percent()));
        format!("epoch {}/{} loss {loss:.4}{best}", state.epoch + 1, self.config.epochs)
    }

    /// What these images are in this epoch.
    fn batch(&self, places: &[usize], epoch: usize) -> Result<Batch, RunError> {
        self.supply.batch(self.around.engine, &self.dataset, places, self.config.seed, epoch)
    }

    /// Judges the epoch, writes the student, the best student where this is it, and the checkpoint, in this order: what
    /// a checkpoint speaks of is on the disk before it.
    fn close_epoch(
        &self,
        moving: &Moving,
        state: &mut State,
        metrics: &mut Metrics,
        progress: &mut Progress,
        began: Instant,
    ) -> Result<(), RunError> {
        self.refuse_diverged(moving)?;
        let seconds = began.elapsed().as_secs_f64();
        let epoch = state.epoch + 1;
        let loss = state.loss_sum / self.train.len() as f64;
        let rate = self.config.lr * self.config.schedule.factor(state.epoch, self.config.epochs);
        let mut line =
            json!({"epoch": epoch, "step": state.step, "loss": loss, "lr": rate, "seconds": seconds});
        let mut said = format!("epoch {epoch}/{} loss {loss:.4}", self.config.epochs);
        if !self.selection.places.is_empty() {
            let victim = Victim::new(self.around.engine, &self.network, &moving.params);
            let dataset = self.selection.test.as_ref().unwrap_or(&self.dataset);
            let stop = self.around.stop;
            let judged =
                select::judge(&victim, dataset, &self.selection.places, self.config, epoch, &mut |_, _| {
                    !stop.requested()
                });
            let standing = match judged {
                // All steps of the epoch are done and none of its judging: the next process judges it again.
                Err(RunError::Common(cli::Error::Eval(method::eval::EvalError::Interrupted))) => {
                    self.checkpoint(moving, state, metrics)?;
                    return Err(RunError::Interrupted { step: state.step });
                }
                judged => judged?,
            };
            let on = if self.config.paper_selection { "test" } else { "holdout" };
            let (clean, robust) = (standing.clean_percent(), standing.robust_percent());
            said = format!("{said}, {on} clean {clean:.1} {} {robust:.1}", select::SELECTED_BY);
            line[format!("{on}_clean")] = json!(clean);
            line[format!("{on}_{}", select::SELECTED_BY)] = json!(robust);
            if standing.beats(state.best.as_ref()) {
                model::save(&self.folder.file("best.safetensors"), &self.network, &moving.params)?;
                state.best = Some(standing);
                said += " (best)";
            }
        }
        model::save(&self.folder.file("student.safetensors"), &self.network, &moving.params)?;
        metrics.add(&line)?;
        *state = State { epoch, batches: 0, loss_sum: 0.0, ..state.clone() };
        self.checkpoint(moving, state, metrics)?;
        progress.line(&said);
        Ok(())
    }

    /// The loss is seen before a step moves the weights; what the epoch's last step did shows only here.
    fn refuse_diverged(&self, moving: &Moving) -> Result<(), RunError> {
        let images = self.batch(&self.train[..1], 0)?.images;
        let logits = self.around.engine.logits(&self.network, &moving.params, &images)?;
        let largest = logits.abs()?.max_all()?.to_scalar::<f32>()?;
        let values = [moving.params.trainable(), moving.params.statistics()];
        if !largest.is_finite() || values.iter().any(|arena| arena.has_non_finite()) {
            return Err(StepError::Diverged.into());
        }
        Ok(())
    }

    fn checkpoint(&self, moving: &Moving, state: &mut State, metrics: &mut Metrics) -> Result<(), RunError> {
        state.metrics_bytes = metrics.sync()?;
        let folder = self.folder.checkpoints()?;
        Ok(checkpoint::save(&folder, state.step, &moving.params, moving.sgd.velocity(), state)?)
    }
}
