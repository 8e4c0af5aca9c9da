//! How often a network is right, and what that says of endless images.

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

    /// Mean over the classes that have images, in percent.
    pub fn class_average(&self) -> f64 {
        let known: Vec<f64> = self.per_class().into_iter().flatten().collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// How unequal the classes are: standard deviation of their accuracies (of the population) by their mean; 0 where
    /// nothing is right. Source: ABSLD, arXiv:2312.05508.
    pub fn normalised_deviation(&self) -> f64 {
        let known: Vec<f64> = self.per_class().into_iter().flatten().collect();
        let mean = self.class_average();
        let variance = known.iter().map(|accuracy| (accuracy - mean).powi(2)).sum::<f64>();
        let deviation = (variance / known.len().max(1) as f64).sqrt();
        if mean > 0.0 { deviation / mean } else { 0.0 }
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
        // numpy 2.3: a = [200/3, 50, 0]; a.mean(), a.std() / a.mean()
        assert!((score.class_average() - 38.888_888_888_888_89).abs() < 1e-12);
        assert!((score.normalised_deviation() - 0.728_431_359_084_683_6).abs() < 1e-12);
    }
}
