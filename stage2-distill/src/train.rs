//! `distill train`: a run from its first step, or from its last checkpoint, to its end.
//!
//! `start` opens what the run reads and refuses what does not fit, `epoch` does the steps, `close` judges what an epoch
//! made and publishes it.

mod close;
mod epoch;
mod longer;
mod part;
mod said;
mod shared;
mod start;
mod state;

use std::path::Path;
use std::time::Instant;

use cli::{Exits, Progress, Stop, warn};
use data::Dataset;
use engine::{Engine, Network};
use method::checkpoint::Store;
use method::objective::{Epoch, Objective};
use serde::Serialize;
use serde_json::json;

use crate::config::Config;
use crate::course::Course;
use crate::error::RunError;
use crate::folder::RunFolder;
use crate::metrics::Metrics;
use crate::ranks::{Collective, all_did, first_alone};
use crate::select::Standing;
use crate::source::Supply;
use crate::step::Moving;

use part::Part;
use state::{Going, State};

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
    /// The processes that train the student together.
    pub collective: &'a dyn Collective,
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

/// Everything a run reads and never changes.
struct Run<'a> {
    config: &'a Config,
    around: &'a Surroundings<'a>,
    dataset: Dataset,
    selection: Selection,
    course: Course,
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

/// Trains a student as `config` says; everything it leaves is in the folder. Several ranks train one, and rank 0 leaves it.
pub fn train(config: &Config, around: &Surroundings) -> Result<Summary, RunError> {
    match begin(config, around) {
        Ok((run, moving, state, store)) => together(around.collective, run.go(moving, state, store)),
        Err(error) => {
            around.collective.leave();
            Err(error)
        }
    }
}

/// Whatever stops a rank before the first step stops all.
fn begin<'a>(
    config: &'a Config,
    around: &'a Surroundings<'a>,
) -> Result<(Run<'a>, Moving, State, Store), RunError> {
    let collective = around.collective;
    let reading =
        Progress::busy(if config.labels.is_some() { "reading data and labels" } else { "reading data" });
    // Rank 0 fills the cache, and makes the folder and clears it up; the others find both as they then are.
    let fetched = first_alone(collective, || fetched(config, around.stop))?;
    let opened = all_did(collective, start::open(config, &fetched, around))?;
    let folder = first_alone(collective, || opened.folder())?;
    let begun = all_did(collective, opened.begin(folder))?;
    shared::refuse_other_beginnings(config, around, &begun.1, &begun.2)?;
    drop(reading);
    Ok(begun)
}

/// The end of a run that all ranks come to at once: rank 0 says why. One that stops by itself, such as for its disk, is
/// noticed by the others.
fn together(collective: &dyn Collective, trained: Result<Summary, RunError>) -> Result<Summary, RunError> {
    if !matches!(trained, Ok(_) | Err(RunError::Interrupted { .. } | RunError::Diverged { .. })) {
        return trained;
    }
    collective.leave();
    trained.map_err(|error| match collective.rank() {
        0 => error,
        _ => RunError::Elsewhere { rank: 0, exit: error.exit() },
    })
}

/// The configuration with the folders of label sets that were named by URLs, which are fetched now. The record keeps the
/// URLs: a cache is nobody else's.
fn fetched(config: &Config, stop: &Stop) -> Result<Config, RunError> {
    let mut fetched = config.clone();
    for labels in [&mut fetched.labels, &mut fetched.second_labels].into_iter().flatten() {
        let folder = cli::folder_of_labels(labels, stop)?;
        *labels = folder.into_os_string().into_string().map_err(|folder| {
            RunError::Refused(format!(
                "the cache's folder {} is no UTF-8\nhint: set RSLAD_CACHE to one that is",
                folder.display()
            ))
        })?;
    }
    Ok(fetched)
}

impl Run<'_> {
    /// Writes what was asked and where it runs. Nothing that can be refused is left to check.
    fn record(&self, state: &State) -> Result<(), RunError> {
        self.folder.write_config(self.config)?;
        self.folder.append("command.txt", &self.around.command)?;
        let hardware = self.around.engine.hardware();
        let environment = json!({
            "distill": env!("CARGO_PKG_VERSION"),
            "engine": self.around.engine.name(),
            "device": hardware.device,
            "judged_in": hardware.precision,
            "threads": self.around.threads,
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            "inputs": state.inputs,
            "parts": state.parts,
            "resumed_at_step": state.step,
            "ranks": self.around.collective.ranks(),
        });
        Ok(self.folder.write_environment(&environment)?)
    }

    fn go(&self, moving: Moving, mut state: State, store: Store) -> Result<Summary, RunError> {
        let was_done = state.epoch == self.config.epochs;
        if !was_done {
            let here = Part::here(self.around.engine, state.step);
            if let Some(said) = Part::join(&mut state.parts, here) {
                warn(said);
            }
            // A finished run stays as it was made, whatever it is asked for again with.
            if self.writes() {
                self.record(&state)?;
            }
        }
        let metrics =
            if self.writes() { Some(Metrics::open(&self.folder, state.metrics_bytes)?) } else { None };
        let mut progress = Progress::on_stderr("images");
        if !was_done {
            self.announce(&state, &mut progress);
        }
        let mut going = Going { moving, state, store, metrics, progress, saved: Instant::now() };
        if going.store.newest().is_none() {
            // Before the first step, so that whoever finds anything else of a run and no checkpoint knows that one is lost.
            going.checkpoint()?;
        }
        while going.state.epoch < self.config.epochs {
            self.epoch(&mut going)?;
            self.close_epoch(&mut going)?;
            going.saved = Instant::now();
        }
        let Going { moving, state, progress, .. } = going;
        drop(progress);
        if was_done {
            // The same bytes again, should somebody have moved the file away.
            self.publish(&self.folder.student(), &moving)?;
        }
        Ok(Summary {
            epochs: self.config.epochs,
            steps: state.step,
            train_images: self.course.images().iter().sum(),
            was_done,
            best: state.best,
            selected_on_test: self.config.paper_selection,
        })
    }

    /// Whether this rank is the one that writes.
    fn writes(&self) -> bool {
        self.around.collective.rank() == 0
    }

    /// Writes the student that is judged.
    fn publish(&self, path: &Path, moving: &Moving) -> Result<(), RunError> {
        if self.writes() {
            zoo::save(path, &self.network, moving.published())?;
        }
        Ok(())
    }

    /// The learning rate of an epoch's steps, as they use it and as the log says it.
    fn rate(&self, epoch: Epoch) -> f64 {
        self.config.lr * epoch.rate_factor()
    }

    /// The epoch with this number, from 0.
    fn at(&self, number: usize) -> Epoch {
        let of = self.config.epochs;
        Epoch { number, of, schedule: self.objective.schedule(self.config.schedule(), of) }
    }
}
