//! Several students of one kind, trained from different seeds.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::report::{Report, quotable};

/// Mean and standard deviation over students.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How many students.
    pub seeds: usize,
    /// Mean accuracy in percent, keyed by attack.
    pub mean: BTreeMap<String, f64>,
    /// Standard deviation of the accuracy in percent (of a sample: by n - 1).
    pub standard_deviation: BTreeMap<String, f64>,
    /// What was found of each.
    pub reports: Vec<Report>,
}

impl Summary {
    /// The summary of at least two reports of the same suites.
    pub fn of(reports: Vec<Report>) -> Self {
        let (mut mean, mut standard_deviation) = (BTreeMap::new(), BTreeMap::new());
        for (place, (name, _)) in reports[0].scores.iter().enumerate() {
            let values: Vec<f64> = reports.iter().map(|report| report.scores[place].1.percent()).collect();
            let middle = values.iter().sum::<f64>() / values.len() as f64;
            let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
            mean.insert(name.clone(), middle);
            standard_deviation.insert(name.clone(), (squares / (values.len() - 1) as f64).sqrt());
        }
        Self { seeds: reports.len(), mean, standard_deviation, reports }
    }
}

impl fmt::Display for Summary {
    /// A table at most 80 columns wide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.reports[0];
        let setting = &first.evidence.setting;
        writeln!(
            f,
            "{} on {} {}: {} images, {} seeds",
            setting.architecture, setting.data, setting.split, first.evidence.images, self.seeds
        )?;
        if let (Some(norm), Some(eps), Some(step)) = (&setting.norm, &setting.eps, &setting.step_size) {
            writeln!(f, "eps {eps} in {norm}, steps of {step}")?;
        }
        if let Some(surrogate) = &setting.surrogate {
            writeln!(f, "black box: adversarial images of {}", surrogate.architecture)?;
        }
        let width = first.scores.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10);
        writeln!(f, "{:<width$} {:>8} {:>10}   each", "attack", "mean", "deviation")?;
        for (place, (name, _)) in first.scores.iter().enumerate() {
            let each: Vec<String> = self
                .reports
                .iter()
                .map(|report| format!("{:.2}", report.scores[place].1.percent()))
                .collect();
            let (mean, deviation) = (self.mean[name], self.standard_deviation[name]);
            writeln!(f, "{name:<width$} {mean:>7.2}% {deviation:>10.2}   {}", each.join(" "))?;
        }
        write!(f, "{}", quotable(&first.evidence, &first.upper_bounds))
    }
}
