//! The numbers of an evaluation, as they are printed and written.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::evidence::{Evidence, Unmergeable};
use super::finding::{Finding, findings};
use super::score::Score;

/// The suite whose figure may be published as robust accuracy.
const STANDARD: &str = "autoattack";

/// Whether a suite is the standard evaluation: all others only bound robust accuracy from above.
pub fn is_standard(suite: &str) -> bool {
    suite == STANDARD
}

/// What `distill eval` found, as it is printed in JSON: what was measured, and the figures that follow from it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// Accuracy in percent, keyed by attack (`clean`, `pgd20`, `autoattack`, `autoattack/apgd-ce`, ...).
    #[serde(flatten, serialize_with = "percents")]
    pub scores: Vec<(String, Score)>,
    /// Images classified right, keyed likewise.
    pub right: BTreeMap<String, usize>,
    /// Wilson's 95 % interval of each accuracy in percent.
    pub interval_95: BTreeMap<String, [f64; 2]>,
    /// Images that count as right though the attack's gradient vanished there; only where there are any.
    pub vanished_gradients: BTreeMap<String, usize>,
    /// Accuracy in percent per class; null for a class without images.
    pub per_class: BTreeMap<String, Vec<Option<f64>>>,
    /// Mean of the classes' accuracies in percent.
    pub class_average: BTreeMap<String, f64>,
    /// Lowest accuracy of a class in percent.
    pub worst_class: BTreeMap<String, f64>,
    /// Standard deviation of the classes' accuracies by their mean.
    pub class_normalised_deviation: BTreeMap<String, f64>,
    /// Suites whose figures are only upper bounds of robust accuracy: all but the standard evaluation.
    pub upper_bounds: Vec<String>,
    /// Signs that a figure is not what it seems.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The figures that follow from what was measured.
    pub fn of(evidence: Evidence) -> Self {
        let scores = evidence.scores();
        let worst = scores.iter().filter_map(|(name, score)| Some((name.clone(), score.worst_class()?.1)));
        let blind = evidence.outcomes.iter().map(|outcome| (outcome.suite.clone(), outcome.blind()));
        let attacked = evidence.outcomes.iter().skip(1).map(|outcome| outcome.suite.clone());
        Self {
            right: table(&scores, |score| score.right),
            interval_95: table(&scores, Score::interval),
            vanished_gradients: blind.filter(|(_, blind)| *blind > 0).collect(),
            per_class: table(&scores, Score::per_class),
            class_average: table(&scores, Score::class_average),
            worst_class: worst.collect(),
            class_normalised_deviation: table(&scores, Score::normalised_deviation),
            upper_bounds: attacked.filter(|suite| suite != STANDARD).collect(),
            findings: findings(&evidence),
            scores,
            evidence,
        }
    }

    /// One report of parts of an evaluation.
    pub fn merge(parts: Vec<Evidence>) -> Result<Self, Unmergeable> {
        Evidence::merge(parts).map(Self::of)
    }
}

impl fmt::Display for Report {
    /// A table at most 80 columns wide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = &self.evidence.setting;
        let part = self.evidence.part.map_or_else(String::new, |part| format!(", part {part}"));
        writeln!(
            f,
            "{} on {} {}: {} images{part}, 1 seed",
            setting.architecture, setting.data, setting.split, self.evidence.images
        )?;
        if let Some([mean, std]) = &setting.normalisation {
            let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
            writeln!(f, "images normalised: mean {}, std {}", list(mean), list(std))?;
        }
        if let (Some(norm), Some(eps), Some(step)) = (&setting.norm, &setting.eps, &setting.step_size) {
            writeln!(
                f,
                "eps {eps} in {norm} ({}), steps of {step} ({})",
                setting.eps_from, setting.step_size_from
            )?;
        }
        if let Some(surrogate) = &setting.surrogate {
            writeln!(f, "black box: adversarial images of {}", surrogate.architecture)?;
        }
        let width = self.scores.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10);
        writeln!(f, "{:<width$} {:>8}   {:<15}   worst class", "attack", "accuracy", "95 % interval")?;
        for (name, score) in &self.scores {
            let worst = score.worst_class().map_or_else(String::new, |(class, percent)| {
                let class = setting.class_names.get(class).map_or("?", String::as_str);
                format!("{percent:.2} % ({class})")
            });
            let [low, high] = score.interval();
            let interval = format!("{low:.2} to {high:.2}");
            writeln!(f, "{name:<width$} {:>7.2}%   {interval:<15}   {worst}", score.percent())?;
        }
        write!(f, "{}", quotable(&self.evidence, &self.upper_bounds))
    }
}

/// Which figure may be quoted.
pub(super) fn quotable(evidence: &Evidence, upper_bounds: &[String]) -> String {
    let is_standard = evidence.outcomes.iter().any(|outcome| outcome.suite == STANDARD);
    let others = upper_bounds.join(", ");
    match (is_standard, others.is_empty()) {
        (true, false) => format!("robust accuracy is {STANDARD}'s; upper bounds of it:\n{others}\n"),
        (_, true) => String::new(),
        (false, false) => {
            format!("upper bounds of robust accuracy, which takes --attack {STANDARD}:\n{others}\n")
        }
    }
}

fn table<T>(scores: &[(String, Score)], value: impl Fn(&Score) -> T) -> BTreeMap<String, T> {
    scores.iter().map(|(name, score)| (name.clone(), value(score))).collect()
}

fn percents<S: Serializer>(scores: &[(String, Score)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().map(|(name, score)| (name, score.percent())))
}
