//! What an evaluation measured, image by image: all that its figures are computed from, and all that parts of it made on
//! several machines need to become one.

use labels::Part;
use serde::{Deserialize, Serialize};

use super::exam::Logits;
use super::fate::Fate;
use super::score::Score;
use super::trial::Work;
use crate::threat::Norm;

/// Who was judged, on what and how. Parts of one evaluation agree in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The architecture judged.
    pub architecture: String,
    /// Its trainable parameters.
    pub parameters: u64,
    /// BLAKE3 of the weights file.
    pub weights_blake3: String,
    /// The part of the weights file that was taken; none where it is all of it.
    pub weights_key: Option<String>,
    /// What each channel of the images has taken away and is then divided by; none where they are seen as they are.
    pub normalisation: Option<[Vec<f64>; 2]>,
    /// The network whose gradients the attacks climbed, where that is another one.
    pub surrogate: Option<Surrogate>,
    /// The data set, as given.
    pub data: String,
    /// The identity of the images and their classes, before `limit` and parts.
    pub data_blake3: String,
    /// The split.
    pub split: String,
    /// The `--limit` that chose the images, where there was one.
    pub limit: Option<usize>,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// How attacks measure distance; none where nothing attacked.
    pub norm: Option<Norm>,
    /// Radius of the ball, as written; none where nothing attacked.
    pub eps: Option<String>,
    /// Who chose it: `given`, or the run's file.
    pub eps_from: String,
    /// The radius that the student was trained for, where its run is known.
    pub trained_eps: Option<String>,
    /// Step size of iterated attacks, as written; none where nothing attacked.
    pub step_size: Option<String>,
    /// Who chose it.
    pub step_size_from: String,
    /// Runs of each attack from different starts.
    pub restarts: usize,
    /// Keys the starts.
    pub seed: u64,
    /// What ran the network.
    pub engine: String,
    /// `cpu`, or the name of a card.
    #[serde(default)]
    pub device: String,
    /// The precision of verdicts.
    #[serde(default)]
    pub judged_in: String,
    /// Whether attacks kept to convolutions that round no more than a plain sum.
    pub exact_conv: bool,
    /// The program's version.
    pub version: String,
    /// The commit that it was built from, where that is known.
    pub commit: Option<String>,
}

/// The precision in which an engine of this name shows attacks their gradients, or, where nothing attacks, in which it
/// answers: where that is lesser than f32. What attacks leave in a lesser one is an upper bound of what they leave in f32.
pub fn lesser_precision<'a>(engine: &'a str, judged_in: &'a str, attacked: bool) -> Option<&'a str> {
    // Engines of cards are named after what attacks and training are stored in.
    let of_attacks = engine.strip_prefix("cuda-").and_then(|rest| rest.split(' ').next());
    let precision = of_attacks.filter(|_| attacked).unwrap_or(judged_in);
    // Reports of before did not say; they were the processor's.
    Some(precision).filter(|precision| !["", "f32"].contains(precision))
}

impl Setting {
    /// As [`lesser_precision`], of what was measured.
    pub fn lesser_precision(&self, attacked: bool) -> Option<&str> {
        lesser_precision(&self.engine, &self.judged_in, attacked)
    }

    /// Names of what two settings differ in, for which one's figures are not the other's. Where files lie may differ from
    /// machine to machine.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        macro_rules! differing {
            ($($field:ident),*) => {
                [$((stringify!($field), self.$field != other.$field)),*]
            };
        }
        let fields = differing!(
            architecture,
            weights_blake3,
            weights_key,
            normalisation,
            surrogate,
            data_blake3,
            split,
            limit,
            norm,
            eps,
            trained_eps,
            step_size,
            restarts,
            seed,
            engine,
            device,
            judged_in,
            exact_conv,
            version,
            commit
        );
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// A network that lends its gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surrogate {
    /// Its architecture.
    pub architecture: String,
    /// BLAKE3 of its weights file.
    pub weights_blake3: String,
}

/// What a suite did; `clean` is the one without attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The suite's name.
    pub suite: String,
    /// Its attacks, in order.
    pub attacks: Vec<String>,
    /// What is different about them with so few classes.
    pub remarks: Vec<String>,
    /// What became of each image: the place in `attacks` of the attack that broke it, -1 where it was wrong without any,
    /// -2 where it stands, -3 where it stands and every gradient had vanished.
    pub fates: Vec<Fate>,
    /// What each attack cost.
    pub work: Vec<Work>,
}

impl Outcome {
    /// How often the network is right after each attack of several, and at the end, under the names that reports use.
    pub fn scores(&self, labels: &[i32], classes: usize) -> Vec<(String, Score)> {
        let score = |right: Vec<bool>| Score::count(&right, labels.iter().copied(), classes);
        let members = self.attacks.iter().enumerate().filter(|_| self.attacks.len() > 1);
        let mut scores: Vec<(String, Score)> = members
            .map(|(by, attack)| {
                let left = self.fates.iter().map(|fate| fate.stands_after(by)).collect();
                (format!("{}/{attack}", self.suite), score(left))
            })
            .collect();
        scores.push((self.suite.clone(), score(self.fates.iter().map(|fate| fate.stands()).collect())));
        scores
    }

    /// Images that count as right though nothing was tried on them.
    pub fn blind(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Blind).count()
    }
}

/// What an evaluation measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of whom, and how.
    #[serde(flatten)]
    pub setting: Setting,
    /// Which part of the images, where several machines share them.
    pub part: Option<Part>,
    /// Images judged.
    pub images: usize,
    /// The class of each.
    pub labels: Vec<i32>,
    /// What the logits of clean images look like.
    pub logits: Logits,
    /// What each suite did, in the order asked for; `clean` first.
    pub outcomes: Vec<Outcome>,
}

/// Why parts are not one evaluation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// A report of all images.
    #[error(
        "report {0} is no part: it judged all images\nhint: parts are made with --part 0/N to --part (N-1)/N"
    )]
    Whole(usize),
    /// They are not of one evaluation.
    #[error("reports 1 and {report} are not of one evaluation: they differ in {fields}")]
    Differ {
        /// Which, from 1.
        report: usize,
        /// The fields.
        fields: String,
    },
    /// What it says contradicts itself.
    #[error("report {report} is damaged: {what}\nhint: make that part again")]
    Damaged {
        /// Which, from 1.
        report: usize,
        /// The contradiction.
        what: String,
    },
    /// Some part is missing or there twice.
    #[error("{0}")]
    Parts(String),
}

impl Evidence {
    /// The evaluation that these are the parts of, in any order.
    pub fn merge(mut parts: Vec<Self>) -> Result<Self, Unmergeable> {
        let whole = parts.iter().position(|evidence| evidence.part.is_none());
        if let Some(index) = whole {
            return Err(Unmergeable::Whole(index + 1));
        }
        for (index, part) in parts.iter().enumerate() {
            part.check().map_err(|what| Unmergeable::Damaged { report: index + 1, what })?;
        }
        for (index, other) in parts.iter().enumerate().skip(1) {
            let fields = differences(&parts[0], other);
            if !fields.is_empty() {
                return Err(Unmergeable::Differ { report: index + 1, fields: fields.join(", ") });
            }
        }
        let of = parts[0].part.expect("all are parts").of;
        for wanted in 0..of {
            let found = parts.iter().filter(|evidence| evidence.part.expect("all are parts").index == wanted);
            match found.count() {
                1 => {}
                0 => return Err(Unmergeable::Parts(format!("part {wanted}/{of} is missing"))),
                n => return Err(Unmergeable::Parts(format!("part {wanted}/{of} is there {n} times"))),
            }
        }
        parts.sort_by_key(|evidence| evidence.part.expect("all are parts").index);
        let mut parts = parts.into_iter();
        let mut merged = parts.next().expect("there is a first part");
        merged.part = None;
        for part in parts {
            merged.images += part.images;
            merged.labels.extend(part.labels);
            merged.logits += part.logits;
            for (outcome, other) in merged.outcomes.iter_mut().zip(part.outcomes) {
                outcome.fates.extend(other.fates);
                for (work, other) in outcome.work.iter_mut().zip(other.work) {
                    work.seconds += other.seconds;
                    work.asked += other.asked;
                }
            }
        }
        Ok(merged)
    }

    /// Whether it is what an evaluation may have measured; else what is wrong. Whoever reads one from a file asks, before
    /// anything is computed from it.
    pub fn check(&self) -> Result<(), String> {
        let (images, classes) = (self.images, self.setting.class_names.len());
        let wrong_label = self.labels.iter().find(|label| !(0..classes as i64).contains(&i64::from(**label)));
        if self.labels.len() != images {
            return Err(format!("{} labels of {images} images", self.labels.len()));
        }
        if let Some(label) = wrong_label {
            return Err(format!("label {label} of {classes} classes"));
        }
        let Logits { distributions, asked_twice, changed } = self.logits;
        if [distributions, asked_twice, changed].into_iter().any(|count| count > images) {
            return Err("more logits looked at than images".into());
        }
        for Outcome { suite, attacks, fates, work, .. } in &self.outcomes {
            if fates.len() != images {
                return Err(format!("{suite} has {} fates of {images} images", fates.len()));
            }
            if work.len() != attacks.len() {
                return Err(format!("{suite} has {} works of {} attacks", work.len(), attacks.len()));
            }
            if fates.iter().any(|fate| matches!(fate, Fate::Broken { by } if *by >= attacks.len())) {
                return Err(format!("an image of {suite} fell to an attack that it does not have"));
            }
            let most = u64::MAX / 1_000_000;
            let asked = work.iter().flat_map(|w| [w.asked.forwards, w.asked.gradients, w.asked.vanished]);
            if asked.max().is_some_and(|count| count > most) {
                return Err(format!("{suite} asked more than any evaluation can"));
            }
        }
        Ok(())
    }

    /// Accuracy by name, in order.
    pub fn scores(&self) -> Vec<(String, Score)> {
        let classes = self.setting.class_names.len();
        self.outcomes.iter().flat_map(|outcome| outcome.scores(&self.labels, classes)).collect()
    }
}

fn differences(one: &Evidence, other: &Evidence) -> Vec<&'static str> {
    let suites = |evidence: &Evidence| -> Vec<(String, Vec<String>)> {
        evidence.outcomes.iter().map(|outcome| (outcome.suite.clone(), outcome.attacks.clone())).collect()
    };
    let mut fields = one.setting.differences(&other.setting);
    fields.extend((suites(one) != suites(other)).then_some("attacks"));
    fields.extend(
        (one.part.map(|part| part.of) != other.part.map(|part| part.of)).then_some("number of parts"),
    );
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_named_where_it_is_lesser_than_f32_by_what_was_done_in_it() {
        for (engine, judged_in, attacked, answers) in [
            ("cpu-avx512", "f32", None, None),
            ("reference", "", None, None),
            ("cuda-f32", "f32", None, None),
            ("cuda-bf16", "f32", Some("bf16"), None),
            ("cuda-tf32", "f32", Some("tf32"), None),
            // A card that cannot sum in f32 does neither.
            ("cuda-f16", "f16", Some("f16"), Some("f16")),
        ] {
            assert_eq!(lesser_precision(engine, judged_in, true), attacked, "{engine}");
            assert_eq!(lesser_precision(engine, judged_in, false), answers, "{engine}");
        }
    }
}
