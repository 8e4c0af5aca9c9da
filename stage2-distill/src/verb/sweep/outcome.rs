//! What a run came to: how long it took, how often its teacher was asked, and how its student was judged.

use std::collections::BTreeMap;
use std::path::Path;

use disk::Existing;
use labels::Manifest;
use method::eval::Report;
use method::objective::{Epoch, Objective, Passes};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::RunError;
use crate::folder::RunFolder;
use crate::source::taps;
use crate::train::Summary;
use crate::verb::eval::read_report;

/// What a finished training says of itself, in `trained.json` of its folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trained {
    /// Passes over the training images.
    pub epochs: usize,
    /// Steps in all.
    pub steps: usize,
    /// Images trained on.
    pub train_images: usize,
    /// Epoch of the student that is judged, where images selected one.
    pub best_epoch: Option<usize>,
    /// Minutes spent on steps, by all processes that did them; judging epochs is not among them.
    pub minutes: f64,
    /// Images that a teacher was asked about while the student trained; answers out of a label set are none.
    pub teacher_forwards: u64,
}

/// The file's name.
const TRAINED: &str = "trained.json";

impl Trained {
    /// Of a training that has come to its end.
    pub(super) fn of(summary: &Summary, config: &Config, folder: &Path) -> Result<Self, RunError> {
        Ok(Self {
            epochs: summary.epochs,
            steps: summary.steps,
            train_images: summary.train_images,
            best_epoch: summary.best.map(|best| best.epoch),
            minutes: RunFolder::seconds(folder)? / 60.0,
            teacher_forwards: summary.train_images as u64 * asked(config)?,
        })
    }

    /// What an earlier process wrote; none where the training has not come to its end.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, RunError> {
        let path = folder.join(TRAINED);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // Written whole or not at all; what somebody changed is found out anew.
            read => Ok(serde_json::from_slice(&read.map_err(cli::Error::io("read", &path))?).ok()),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(TRAINED);
        let write = |out: &mut dyn std::io::Write| out.write_all(cli::json(self).as_bytes());
        Ok(disk::publish(&path, Existing::Replace, |out| write(out))
            .map_err(cli::Error::io("write", &path))?)
    }
}

/// How often teachers are run for each image that a run trains on, over all its epochs: where no label set answers, and
/// about what a step makes. A forward with its image gradient is one.
fn asked(config: &Config) -> Result<u64, RunError> {
    let objective = config.objective()?;
    let holds_maps = holds_maps(config, objective.as_ref())?;
    let schedule = objective.schedule(config.schedule(), config.epochs);
    let each = (0..config.epochs).map(|number| {
        let epoch = Epoch { number, of: config.epochs, schedule };
        let passes = Passes::of(objective.as_ref(), epoch, config.steps);
        let Passes { mut teacher, second, .. } = passes;
        if holds_maps {
            teacher = teacher.with_held_maps();
        }
        (teacher.forwards(config.labels.is_some()) + second.forwards(config.second_labels.is_some())) as u64
    });
    Ok(each.sum())
}

/// Whether the label set of a run has the feature maps that its objective compares.
fn holds_maps(config: &Config, objective: &dyn Objective) -> Result<bool, RunError> {
    let Some(folder) = config.labels.as_ref().filter(|_| objective.needs().teacher.wants_maps()) else {
        return Ok(false);
    };
    Ok(taps::held(config, &Manifest::read(Path::new(folder))?).is_ok())
}

/// How a run's student was judged. Accuracies are in percent, keyed by attack.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// How it was trained.
    #[serde(flatten)]
    pub trained: Trained,
    /// Images judged.
    pub images: usize,
    /// Their part of the data set.
    pub split: String,
    /// Radius of the attacks, where any attacked.
    pub eps: Option<String>,
    /// The precision that it was judged in, where that is lesser than f32: what attacks left is then an upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Attacks and suites, in the order in which they were asked for; `clean` first.
    pub attacks: Vec<String>,
    /// Right answers.
    pub accuracy: BTreeMap<String, f64>,
    /// Right answers in the class that has fewest of them.
    pub worst_class: BTreeMap<String, f64>,
}

impl Figures {
    /// From the report that judging left.
    pub(super) fn read(report: &Path, trained: Trained) -> Result<Self, RunError> {
        let Report { evidence, scores, worst_class, .. } = read_report(report)?;
        Ok(Self {
            trained,
            images: evidence.images,
            split: evidence.setting.split.clone(),
            eps: evidence.setting.eps.clone(),
            precision: evidence.setting.lesser_precision(evidence.setting.norm.is_some()).map(Into::into),
            attacks: evidence.outcomes.iter().map(|outcome| outcome.suite.clone()).collect(),
            accuracy: scores.iter().map(|(name, score)| (name.clone(), score.percent())).collect(),
            worst_class,
        })
    }
}
