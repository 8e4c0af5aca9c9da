//! Statistics of a teacher's answers: accuracy, entropy and confidence. Pure counting over rows, nothing printed.

use labels::RightAnswers;

/// Number of bins of each histogram.
pub const BINS: usize = 20;

/// Bins of the calibration error, those of Guo et al. 2017 (arXiv:1706.04599, section 2 and table 1).
pub const CALIBRATION_BINS: usize = 15;

/// What a network says of one image: the softmax of its logits, in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Class of the largest logit, the first of equals.
    pub class: usize,
    /// Entropy of the softmax, in nats.
    pub entropy: f64,
    /// Smallest and largest logit.
    pub range: [f32; 2],
    probabilities: Vec<f64>,
    logarithms: Vec<f64>,
}

impl Answer {
    /// Room for an answer among K classes.
    pub fn new(classes: usize) -> Answer {
        let room = || vec![0.0; classes];
        Answer { class: 0, entropy: 0.0, range: [0.0; 2], probabilities: room(), logarithms: room() }
    }

    /// Takes in K logits in place of what was here. Panics on another number of them.
    pub fn read(&mut self, logits: &[f32]) {
        assert_eq!(logits.len(), self.probabilities.len(), "a row has one logit per class");
        self.class = 0;
        self.range = [f32::INFINITY, f32::NEG_INFINITY];
        for (class, &logit) in logits.iter().enumerate() {
            self.range = [self.range[0].min(logit), self.range[1].max(logit)];
            if logit > logits[self.class] {
                self.class = class;
            }
        }
        let largest = f64::from(logits[self.class]);
        let mut sum = 0.0;
        for (out, &logit) in self.probabilities.iter_mut().zip(logits) {
            *out = (f64::from(logit) - largest).exp();
            sum += *out;
        }
        // H = ln(sum) - E[logit - largest]: no logarithm of a probability that has vanished.
        let mut mean = 0.0;
        for ((out, log), &logit) in self.probabilities.iter_mut().zip(&mut self.logarithms).zip(logits) {
            *out /= sum;
            *log = f64::from(logit) - largest - sum.ln();
            mean += *out * (f64::from(logit) - largest);
        }
        self.entropy = (sum.ln() - mean).max(0.0);
    }

    /// The largest probability.
    pub fn confidence(&self) -> f64 {
        self.probabilities[self.class]
    }

    /// KL(this || other), in nats.
    pub fn kl(&self, other: &Answer) -> f64 {
        let logarithms = self.logarithms.iter().zip(&other.logarithms);
        self.probabilities.iter().zip(logarithms).map(|(p, (own, others))| p * (own - others)).sum()
    }
}

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
    wrong_confidence_sum: f64,
    label_probability_sum: f64,
    /// Right answers less the confidence in them, summed, by the answer's confidence.
    calibration: [f64; CALIBRATION_BINS],
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
            wrong_confidence_sum: 0.0,
            label_probability_sum: 0.0,
            calibration: [0.0; CALIBRATION_BINS],
        }
    }

    /// Adds the answer to one row. Panics on a label that is no class.
    pub fn add(&mut self, answer: &Answer, label: i32) {
        self.right.add(label, answer.class);
        self.smallest_logit = self.smallest_logit.min(answer.range[0]);
        self.largest_logit = self.largest_logit.max(answer.range[1]);
        let (confidence, right) = (answer.confidence(), answer.class == label as usize);
        self.entropy_sum += answer.entropy;
        self.confidence_sum += confidence;
        self.wrong_confidence_sum += if right { 0.0 } else { confidence };
        self.label_probability_sum += answer.probabilities[label as usize];
        // With one class both ln K and the entropy are 0.
        let most = (answer.probabilities.len() as f64).ln().max(f64::MIN_POSITIVE);
        self.entropy[bin(answer.entropy / most)] += 1;
        self.confidence[bin(confidence)] += 1;
        // The source's bins are open below and closed above: ((m - 1) / M, m / M].
        let place = (confidence * CALIBRATION_BINS as f64).ceil() as usize;
        self.calibration[place.clamp(1, CALIBRATION_BINS) - 1] += f64::from(u8::from(right)) - confidence;
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

    /// The class with the smallest share of right answers, the first of equals; none without rows.
    pub fn worst_class(&self) -> Option<usize> {
        let with_rows = (0..self.right.per_class.len()).filter(|&class| self.right.per_class[class].rows > 0);
        with_rows.min_by(|&a, &b| self.class_accuracy(a).total_cmp(&self.class_accuracy(b)))
    }

    /// Mean entropy of the softmax in nats; NaN without rows.
    pub fn mean_entropy(&self) -> f64 {
        self.entropy_sum / self.rows() as f64
    }

    /// Mean of the softmax's largest probability; NaN without rows.
    pub fn mean_confidence(&self) -> f64 {
        self.confidence_sum / self.rows() as f64
    }

    /// The same over the rows that are answered wrong; NaN where none is.
    pub fn mean_wrong_confidence(&self) -> f64 {
        self.wrong_confidence_sum / (self.rows() - self.right.right) as f64
    }

    /// Mean probability of the label; NaN without rows.
    pub fn mean_label_probability(&self) -> f64 {
        self.label_probability_sum / self.rows() as f64
    }

    /// Expected calibration error, a share of 1: |right answers - confidence| in each of [`CALIBRATION_BINS`] equal bins of
    /// the confidence, weighted by their rows. NaN without rows. Source: arXiv:1706.04599, eq. 3.
    pub fn calibration_error(&self) -> f64 {
        self.calibration.iter().map(|bin| bin.abs()).sum::<f64>() / self.rows() as f64
    }
}

fn bin(fraction: f64) -> usize {
    ((fraction * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(statistics: &mut Statistics, logits: &[f32], label: i32) {
        let mut answer = Answer::new(logits.len());
        answer.read(logits);
        statistics.add(&answer, label);
    }

    #[test]
    fn entropy_and_confidence_are_those_computed_by_hand() {
        let mut statistics = Statistics::new(4);
        add(&mut statistics, &[0.0; 4], 0);
        assert!((statistics.mean_entropy() - 4f64.ln()).abs() < 1e-15);
        assert!((statistics.mean_confidence() - 0.25).abs() < 1e-15);
        assert_eq!((statistics.entropy[BINS - 1], statistics.confidence[5]), (1, 1));

        // Odds 1 : 3 : 0 : 0, entropy ln 4 - 3/4 ln 3.
        let mut statistics = Statistics::new(4);
        add(&mut statistics, &[0.0, 3f32.ln(), -2000.0, -2000.0], 0);
        assert!((statistics.mean_entropy() - (4f64.ln() - 0.75 * 3f64.ln())).abs() < 1e-7);
        assert!((statistics.mean_confidence() - 0.75).abs() < 1e-7);
        assert!((statistics.mean_label_probability() - 0.25).abs() < 1e-7);
        assert_eq!((statistics.smallest_logit, statistics.rows()), (-2000.0, 1));
    }

    #[test]
    fn accuracy_counts_each_class() {
        let mut statistics = Statistics::new(2);
        add(&mut statistics, &[1.0, 0.0], 0);
        add(&mut statistics, &[1.0, 0.0], 1);
        add(&mut statistics, &[0.0, 1.0], 1);
        add(&mut statistics, &[0.0, 0.0], 1);
        assert!((statistics.accuracy() - 50.0).abs() < 1e-12);
        assert!((statistics.class_accuracy(0) - 100.0).abs() < 1e-12);
        assert!((statistics.class_accuracy(1) - 100.0 / 3.0).abs() < 1e-12);
    }
}
