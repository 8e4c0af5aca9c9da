//! How often a student is right under one attack, and all that must be said beside such a number.

use std::fmt;
use std::path::PathBuf;

use method::eval::Score;
use method::threat::{Fraction, Norm};
use serde::Serialize;

use super::judgements::Evaluation;

/// The ball that an attack may move in, and whose gradients it climbs.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// How it measures distance.
    pub norm: Norm,
    /// Its radius, as written.
    pub eps: String,
    /// The architecture that lends its gradients, for a black box.
    pub surrogate: Option<String>,
}

impl Against {
    /// The radius of a white box in linf: the ball that students are trained for.
    pub fn linf_eps(&self) -> Option<f64> {
        let is_usual = self.norm == Norm::Linf && self.surrogate.is_none();
        Fraction::of_any_size(&self.eps).ok().filter(|_| is_usual).map(|eps| eps.value())
    }
}

/// Radii are equal as numbers: 8/255 and 16/510 are one ball.
impl PartialEq for Against {
    fn eq(&self, other: &Self) -> bool {
        let value = |text: &str| Fraction::of_any_size(text).map(|eps| eps.value()).ok();
        self.norm == other.norm
            && (self.eps == other.eps || value(&self.eps) == value(&other.eps))
            && self.surrogate == other.surrogate
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.norm, self.eps)?;
        match &self.surrogate {
            Some(surrogate) => write!(f, ", black box of {surrogate}"),
            None => Ok(()),
        }
    }
}

/// A student's accuracy under one attack.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The attack or suite; `clean` is the one without.
    pub attack: String,
    /// What it may do; none of `clean`.
    pub against: Option<Against>,
    /// Right answers.
    pub score: Score,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// The images: data set, split, and how many of its first where a limit was given.
    pub images: Images,
    /// Whether others may break more: all but the standard evaluation in f32.
    pub is_upper_bound: bool,
    /// The precision that it was measured in, where that is lesser than f32.
    pub precision: Option<String>,
    /// Where it was read.
    pub file: PathBuf,
}

/// On what a student was judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Images {
    /// Identity of the images and their classes.
    pub data_blake3: String,
    /// The split.
    pub split: String,
    /// How many of its first.
    pub count: usize,
}

impl Figure {
    /// The figures of an evaluation, its suites in their order; members of suites are in their suite.
    pub fn of(evaluation: &Evaluation) -> impl Iterator<Item = Self> {
        let report = &evaluation.report;
        let setting = &report.evidence.setting;
        let ball = setting.norm.zip(setting.eps.clone()).map(|(norm, eps)| {
            let surrogate = setting.surrogate.as_ref().map(|other| other.architecture.clone());
            Against { norm, eps, surrogate }
        });
        let images = Images {
            data_blake3: setting.data_blake3.clone(),
            split: setting.split.clone(),
            count: report.evidence.images,
        };
        report.evidence.outcomes.iter().filter_map(move |outcome| {
            let attack = outcome.suite.clone();
            let (_, score) = report.scores.iter().find(|(name, _)| *name == attack)?;
            let against = if attack == CLEAN { None } else { Some(ball.clone()?) };
            let is_black_box = against.as_ref().is_some_and(|against| against.surrogate.is_some());
            let precision = setting.lesser_precision(against.is_some()).map(str::to_owned);
            let is_bound = is_black_box || precision.is_some() || report.upper_bounds.contains(&attack);
            Some(Self {
                is_upper_bound: against.is_some() && is_bound,
                precision,
                attack,
                against,
                score: score.clone(),
                class_names: setting.class_names.clone(),
                images: images.clone(),
                file: evaluation.file.clone(),
            })
        })
    }

    /// Whether this and another answer one question, though perhaps on more images.
    pub fn answers(&self, other: &Self) -> bool {
        self.attack == other.attack
            && self.against == other.against
            && self.precision == other.precision
            && self.images.split == other.images.split
            && self.images.data_blake3 == other.images.data_blake3
    }

    /// Whether it may be published as robust accuracy.
    pub fn is_publishable(&self) -> bool {
        self.against.is_some() && !self.is_upper_bound
    }

    /// The class with the fewest right answers, by its name.
    pub fn worst_class(&self) -> Option<(&str, f64)> {
        let (class, percent) = self.score.worst_class()?;
        Some((self.class_names.get(class).map_or("?", String::as_str), percent))
    }
}

/// The suite without attacks.
const CLEAN: &str = "clean";
