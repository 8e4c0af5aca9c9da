//! The numbers of an evaluation.

use std::fmt;

use serde::{Serialize, Serializer};

/// How often one attack (or none) left the student right.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Images classified right.
    pub right: usize,
    /// Images in all.
    pub images: usize,
    /// Right and all, per class.
    pub classes: Vec<(usize, usize)>,
}

impl Score {
    /// Counts, per class and in all.
    pub fn count(right: &[bool], labels: impl IntoIterator<Item = i32>, classes: usize) -> Self {
        let mut per_class = vec![(0, 0); classes];
        for (&right, label) in right.iter().zip(labels) {
            let (hits, all) = &mut per_class[label as usize];
            *hits += usize::from(right);
            *all += 1;
        }
        Self { right: right.iter().filter(|&&right| right).count(), images: right.len(), classes: per_class }
    }

    /// Accuracy in percent.
    pub fn percent(&self) -> f64 {
        percent(self.right, self.images)
    }

    /// Wilson's 95 % interval of the accuracy, in percent: between which values the accuracy on endless images of this
    /// kind lies, as far as so many images can tell. Source: Wilson, JASA 22 (1927).
    pub fn interval(&self) -> [f64; 2] {
        const Z: f64 = 1.959_963_984_540_054;
        let (n, p) = (self.images.max(1) as f64, self.right as f64 / self.images.max(1) as f64);
        let centre = p + Z * Z / (2.0 * n);
        let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        [centre - reach, centre + reach].map(|end| 100.0 * (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
    }

    /// Accuracy in percent of each class; none for a class without images.
    pub fn per_class(&self) -> Vec<Option<f64>> {
        self.classes.iter().map(|&(right, all)| (all > 0).then(|| percent(right, all))).collect()
    }

    /// The class with the lowest accuracy, and that accuracy; the first of equals.
    pub fn worst_class(&self) -> Option<(usize, f64)> {
        let accuracies = self.per_class();
        let known =
            accuracies.iter().enumerate().filter_map(|(class, accuracy)| accuracy.map(|a| (class, a)));
        known.reduce(|worst, next| if next.1 < worst.1 { next } else { worst })
    }
}

fn percent(right: usize, all: usize) -> f64 {
    100.0 * right as f64 / all.max(1) as f64
}

/// What `distill eval` found, as it is printed in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
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
    /// The data set, as given.
    pub data: String,
    /// The split.
    pub split: String,
    /// Images judged.
    pub images: usize,
    /// The `--limit` that chose them, where there was one.
    pub limit: Option<usize>,
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
    /// What ran the student.
    pub engine: String,
    /// The program's version.
    pub version: String,
    /// The commit that it was built from, where that is known.
    pub commit: Option<String>,
    /// Accuracy in percent, keyed by attack (`clean`, `pgd20`, ...).
    #[serde(flatten, serialize_with = "percents")]
    pub scores: Vec<(String, Score)>,
    /// Wilson's 95 % interval of each accuracy in percent, keyed by attack.
    pub interval_95: std::collections::BTreeMap<String, [f64; 2]>,
    /// Images that count as right though the attack's gradient vanished there, keyed by attack; only where there are any.
    pub vanished_gradients: std::collections::BTreeMap<String, usize>,
    /// Names of the classes, for the two tables below.
    pub class_names: Vec<String>,
    /// Accuracy in percent per class, keyed by attack; null for a class without images.
    pub per_class: std::collections::BTreeMap<String, Vec<Option<f64>>>,
    /// Lowest accuracy of a class in percent, keyed by attack.
    pub worst_class: std::collections::BTreeMap<String, f64>,
}

impl Report {
    /// Fills the tables per attack from the scores.
    #[must_use]
    pub fn with_tables(mut self) -> Self {
        for (name, score) in &self.scores {
            self.interval_95.insert(name.clone(), score.interval());
            self.per_class.insert(name.clone(), score.per_class());
            if let Some((_, worst)) = score.worst_class() {
                self.worst_class.insert(name.clone(), worst);
            }
        }
        self
    }
}

impl fmt::Display for Report {
    /// A table at most 80 columns wide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { architecture, data, split, images, .. } = self;
        writeln!(f, "{architecture} on {data} {split}: {images} images")?;
        if let Some([mean, std]) = &self.normalisation {
            let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
            writeln!(f, "images normalised: mean {}, std {}", list(mean), list(std))?;
        }
        if let (Some(eps), Some(step)) = (&self.eps, &self.step_size) {
            writeln!(f, "eps {eps} ({}), steps of {step} ({})", self.eps_from, self.step_size_from)?;
        }
        let width = self.scores.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10);
        writeln!(f, "{:<width$} {:>8}   {:<15}   worst class", "attack", "accuracy", "95 % interval")?;
        for (name, score) in &self.scores {
            let worst = score.worst_class().map_or_else(String::new, |(class, percent)| {
                let class = self.class_names.get(class).map_or("?", String::as_str);
                format!("{percent:.2} % ({class})")
            });
            let [low, high] = score.interval();
            let interval = format!("{low:.2} to {high:.2}");
            writeln!(f, "{name:<width$} {:>7.2}%   {interval:<15}   {worst}", score.percent())?;
        }
        Ok(())
    }
}

fn percents<S: Serializer>(scores: &[(String, Score)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().map(|(name, score)| (name, score.percent())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `scipy.stats.binomtest(right, images).proportion_ci(method='wilson')`, version 1.17.1.
    const WILSON: [(usize, usize, [f64; 2]); 4] = [
        (0, 50, [0.0, 7.134759913335873]),
        (83, 100, [74.45199523239887, 89.10643388594006]),
        (5149, 10_000, [50.51006900151541, 52.46878668333997]),
        (200, 200, [98.11546736227335, 100.0]),
    ];

    #[test]
    fn intervals_are_those_of_another_program() {
        for (right, images, wanted) in WILSON {
            let score = Score { right, images, classes: vec![] };
            for (found, wanted) in score.interval().into_iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-9, "{right} of {images}: {found}, wanted {wanted}");
            }
        }
    }

    #[test]
    fn the_worst_class_is_the_lowest_accuracy_among_classes_that_have_images() {
        let right = [true, true, false, true, false, false];
        let score = Score::count(&right, [0, 0, 0, 2, 2, 3], 5);
        assert_eq!((score.right, score.images), (3, 6));
        assert_eq!(score.per_class(), [Some(200.0 / 3.0), None, Some(50.0), Some(0.0), None]);
        assert_eq!(score.worst_class(), Some((3, 0.0)));
        assert!((score.percent() - 50.0).abs() < 1e-12);
    }
}
