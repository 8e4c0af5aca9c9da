//! The fields of a run's configuration.

use std::collections::BTreeMap;

use engine::{Kind, Storage};
use method::objective::{self, ADDITIONS, Objective};
use method::schedule::{Milestones, Schedule};
use method::threat::Fraction;

use super::error::ConfigError;
use super::value::{Share, Tail, Temperature};

/// A whole run: a field for each row of [`SETTINGS`](super::SETTINGS). By default nothing is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own, on or off")]
pub struct Config {
    /// The data set, such as `cifar10:FOLDER`.
    pub data: String,
    /// Height and width to bring every image to. A whole configuration has it behind the place of its `data`.
    pub size: Option<usize>,
    /// The student's architecture.
    pub student: String,
    /// What it learns.
    pub objective: String,
    /// A label set's folder.
    pub labels: Option<String>,
    /// What its rows must hash to.
    pub labels_hash: Option<String>,
    /// A teacher's weights, to ask it as the student trains.
    pub teacher: Option<String>,
    /// The teacher's architecture, where its file does not say.
    pub arch: Option<String>,
    /// Which part of the teacher's checkpoint.
    pub weights_key: Option<String>,
    /// Mean that the teacher's images have taken away, per channel with commas between.
    pub mean: Option<String>,
    /// What they are then divided by.
    pub std: Option<String>,
    /// The same by the name of a data set.
    pub normalize: Option<String>,
    /// The label set of a second teacher.
    pub second_labels: Option<String>,
    /// Its weights, to run it online.
    pub second_teacher: Option<String>,
    /// Its architecture, where its file does not say.
    pub second_arch: Option<String>,
    /// Which part of its checkpoint.
    pub second_weights_key: Option<String>,
    /// Mean that its images have taken away.
    pub second_mean: Option<String>,
    /// What they are then divided by.
    pub second_std: Option<String>,
    /// The same by the name of a data set.
    pub second_normalize: Option<String>,
    /// Modules of the student whose feature maps are compared, with commas between; the last two stages where not given.
    pub taps: Option<String>,
    /// Those of the teacher, one for each; the modules of the same names, or its last two stages, where not given.
    pub teacher_taps: Option<String>,
    /// Whether to do what the objective's authors' code does against their own words.
    pub as_published: bool,
    /// Divisor of the teacher's logits on clean images.
    pub label_temperature: Temperature,
    /// Whether a wrong teacher's logits of the label and of its own class change places.
    pub label_swap: bool,
    /// A list of images whose labels are softened further.
    pub soften: Option<String>,
    /// Divisor of the teacher's logits on those.
    pub soften_temperature: Option<Temperature>,
    /// Weights to start from in place of fresh ones.
    pub init: Option<String>,
    /// The augmentation of a run without a label set; the data set's usual one where it is not given.
    pub augment: Option<String>,
    /// Only the first images of the training split.
    pub limit: Option<usize>,
    /// Images held out of training to select the best epoch; 1,000 or 0 by the number of images where not given.
    pub holdout: Option<usize>,
    /// Share of the training images that have a label; all where it is not given.
    pub labelled: Option<Share>,
    /// Keys which.
    pub label_seed: u64,
    /// Select the best epoch on the *test* split, as the paper did.
    pub paper_selection: bool,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step; the last step of an epoch may have fewer.
    pub batch: usize,
    /// Parts that a batch is cut into, each with batch statistics and a loss of its own; in one piece where not given.
    pub parts: Option<usize>,
    /// Keys initial values, order, views and attack starts.
    pub seed: u64,
    /// Radius of the attack, in units of the pixel range.
    pub eps: Fraction,
    /// Change of a pixel per attack step; a quarter of eps where it is not given.
    pub step_size: Option<Fraction>,
    /// Attack steps.
    pub steps: usize,
    /// Base learning rate.
    pub lr: f64,
    /// Share of the old velocity that SGD keeps.
    pub momentum: f64,
    /// Pull of all parameters towards zero.
    pub weight_decay: f64,
    /// Whether SGD looks ahead along its new velocity.
    pub nesterov: bool,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Epochs after which it falls tenfold; RSLAD's, scaled to the run, where not given.
    pub milestones: Option<Milestones>,
    /// Share that a moving average of the weights keeps at each step; judged and published where it is given.
    pub ema: Option<Share>,
    /// The part of the run whose epochs' last weights are averaged; judged and published where it is given.
    pub swa: Option<Tail>,
    /// How far the weights are moved against the training before each step, relative to their norms.
    pub awp: Option<f64>,
    /// Epochs before the first in which they are.
    pub awp_warmup: Option<usize>,
    /// What runs the networks: other engines round differently.
    pub engine: Kind,
    /// How a GPU stores maps in attacks and training; its engine's usual way where not given.
    pub precision: Option<Storage>,
    /// Whether attack and training round no more than a plain sum does.
    pub exact_conv: bool,
    /// Whether the processor's backward forms normalised maps again in place of keeping them.
    pub recompute: bool,
    /// Numbers that the objective lets its user choose, by name; what is not here has the objective's default.
    pub options: BTreeMap<String, f64>,
}

impl Config {
    /// The objective with its options and what is added to it.
    pub fn objective(&self) -> Result<Box<dyn Objective>, ConfigError> {
        Ok(objective::compose(objective::find(&self.objective)?, &self.options, self.as_published)?)
    }

    /// What the objective is called with what is added to it, as in `rslad with igdm`.
    pub fn named_objective(&self) -> String {
        let added = ADDITIONS.iter().map(|addition| addition.name);
        let added: Vec<&str> = added.filter(|&name| self.options.contains_key(name)).collect();
        if added.is_empty() {
            self.objective.clone()
        } else {
            format!("{} with {}", self.objective, added.join(" and "))
        }
    }

    /// How the learning rate is to fall, at the milestones given or at the usual ones.
    pub fn schedule(&self) -> Schedule {
        match (self.schedule, self.milestones) {
            (Schedule::Multistep, Some(milestones)) => Schedule::After(milestones),
            (schedule, _) => schedule,
        }
    }

    /// The attack's step size: as given, or a quarter of eps.
    pub fn step_size(&self) -> Fraction {
        self.step_size.clone().unwrap_or_else(|| self.eps.usual_step())
    }
}
