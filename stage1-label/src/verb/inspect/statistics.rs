//! Statistics of a teacher's answers: accuracy, entropy and confidence. Pure counting over rows, nothing printed.

use labels::RightAnswers;

/// Number of bins of each histogram.
pub const BINS: usize = 20;

/// Statistics over rows, added one at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Right answers, in all and per class.
    pub right: RightAnswers,
    /// Rows by entropy of the softmax, in [`BINS`] equal bins over 0 to ln K nats.
    pub entropy: [u64; BINS],
    /// Rows by the softmax's largest probability, in [`BINS`] equal bins over 0 to 1.
    pub confidence: [u64; BINS],
    /// Smallest logit; infinity before the first row.
    pub smallest_logit: f32,
    /// Largest logit; minus infinity before the first row.
    pub largest_logit: f32,
    entropy_sum: f64,
    confidence_sum: f64,
    label_probability_sum: f64,
    softmax: Vec<f64>,
}

impl Statistics {
    /// No rows of K classes yet.
    pub fn new(classes: usize) -> Statistics {
        Statistics {
            right: RightAnswers::none(classes),
            entropy: [0; BINS],
            confidence: [0; BINS],
            smallest_logit: f32::INFINITY,
            largest_logit: f32::NEG_INFINITY,
            entropy_sum: 0.0,
            confidence_sum: 0.0,
            label_probability_sum: 0.0,
            softmax: vec![0.0; classes],
        }
    }

    /// Adds one row of K logits. Panics on another number of logits or a label that is no class.
    pub fn add(&mut self, logits: &[f32], label: i32) {
        assert_eq!(logits.len(), self.softmax.len(), "a row has one logit per class");
        let mut answer = 0;
        for (class, &logit) in logits.iter().enumerate() {
            self.smallest_logit = self.smallest_logit.min(logit);
            self.largest_logit = self.largest_logit.max(logit);
            if logit > logits[answer] {
                answer = class;
            }
        }
        self.right.add(label, answer);

        let entropy = softmax(logits, &mut self.softmax);
        let confidence = self.softmax[answer];
        self.entropy_sum += entropy;
        self.confidence_sum += confidence;
        self.label_probability_sum += self.softmax[label as usize];
        // With one class both ln K and the entropy are 0.
        let most = (logits.len() as f64).ln().max(f64::MIN_POSITIVE);
        self.entropy[bin(entropy / most)] += 1;
        self.confidence[bin(confidence)] += 1;
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.right.rows
    }

    /// Right answers in percent; NaN without rows.
    pub fn accuracy(&self) -> f64 {
        100.0 * self.right.right as f64 / self.rows() as f64
    }

    /// Right answers of one class in percent; NaN where it has no rows.
    pub fn class_accuracy(&self, class: usize) -> f64 {
        let count = self.right.per_class[class];
        100.0 * count.right as f64 / count.rows as f64
    }

    /// Mean entropy of the softmax in nats; NaN without rows.
    pub fn mean_entropy(&self) -> f64 {
        self.entropy_sum / self.rows() as f64
    }

    /// Mean of the softmax's largest probability; NaN without rows.
    pub fn mean_confidence(&self) -> f64 {
        self.confidence_sum / self.rows() as f64
    }

    /// Mean probability of the label; NaN without rows.
    pub fn mean_label_probability(&self) -> f64 {
        self.label_probability_sum / self.rows() as f64
    }
}

/// Fills in the softmax of some logits, in f64, and returns its entropy in nats.
fn softmax(logits: &[f32], out: &mut [f64]) -> f64 {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |most, &logit| most.max(f64::from(logit)));
    let mut sum = 0.0;
    for (out, &logit) in out.iter_mut().zip(logits) {
        *out = (f64::from(logit) - largest).exp();
        sum += *out;
    }
    // H = ln(sum) - E[logit - largest]: no logarithm of a probability that has vanished.
    let mut mean = 0.0;
    for (out, &logit) in out.iter_mut().zip(logits) {
        *out /= sum;
        mean += *out * (f64::from(logit) - largest);
    }
    (sum.ln() - mean).max(0.0)
}

fn bin(fraction: f64) -> usize {
    ((fraction * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_and_confidence_are_those_computed_by_hand() {
        let mut statistics = Statistics::new(4);
        statistics.add(&[0.0; 4], 0);
        assert!((statistics.mean_entropy() - 4f64.ln()).abs() < 1e-15);
        assert!((statistics.mean_confidence() - 0.25).abs() < 1e-15);
        assert_eq!((statistics.entropy[BINS - 1], statistics.confidence[5]), (1, 1));

        // Odds 1 : 3 : 0 : 0, entropy ln 4 - 3/4 ln 3.
        let mut statistics = Statistics::new(4);
        statistics.add(&[0.0, 3f32.ln(), -2000.0, -2000.0], 0);
        assert!((statistics.mean_entropy() - (4f64.ln() - 0.75 * 3f64.ln())).abs() < 1e-7);
        assert!((statistics.mean_confidence() - 0.75).abs() < 1e-7);
        assert!((statistics.mean_label_probability() - 0.25).abs() < 1e-7);
        assert_eq!((statistics.smallest_logit, statistics.rows()), (-2000.0, 1));
    }

    #[test]
    fn accuracy_counts_each_class() {
        let mut statistics = Statistics::new(2);
        statistics.add(&[1.0, 0.0], 0);
        statistics.add(&[1.0, 0.0], 1);
        statistics.add(&[0.0, 1.0], 1);
        statistics.add(&[0.0, 0.0], 1);
        assert!((statistics.accuracy() - 50.0).abs() < 1e-12);
        assert!((statistics.class_accuracy(0) - 100.0).abs() < 1e-12);
        assert!((statistics.class_accuracy(1) - 100.0 / 3.0).abs() < 1e-12);
    }
}
