//! Answers that are no logits: what a softmax, a sigmoid or another squashing function gave. A softmax of those teaches
//! next to nothing, and nothing fails.

/// Fewer rows say nothing of the range that a network's last layer has: an untrained one may answer with ten small
/// numbers of one sign to everything.
const ENOUGH: usize = 64;
/// The way to logits from all that was made of them.
const BEFORE: &str = "save what the network gives before it";

/// Rows of answers, as far as they were watched.
#[derive(Debug, Clone, Copy)]
pub struct Squashed {
    slack: f32,
    /// What each row sums to: 1, or 100 where they are percent.
    whole: f32,
    rows: usize,
    classes: usize,
    /// Whether each row is positive and sums to the whole.
    sums: bool,
    /// Whether each row is the logarithm of something that sums to 1.
    logarithms: bool,
    least: f32,
    greatest: f32,
}

/// What there is to say of answers, each in a line, and what to do in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// They are no logits.
    Refused {
        /// What they are.
        what: String,
        /// The way to logits, and the way on for those that are.
        hint: String,
    },
    /// They may be none.
    Doubted(String),
}

impl Squashed {
    /// Nothing seen yet of answers in this precision.
    pub fn of(precision: &str) -> Self {
        Self {
            // Rounded to f16, K numbers that sum to 1 miss it by at most 2^-11 of it, and by a unit below f16's normal range.
            slack: if precision == "f16" { 2e-3 } else { 1e-4 },
            whole: 1.0,
            rows: 0,
            classes: 0,
            sums: true,
            logarithms: true,
            least: f32::INFINITY,
            greatest: f32::NEG_INFINITY,
        }
    }

    /// Looks at a row.
    pub fn watch(&mut self, row: &[f32]) {
        let sum: f32 = row.iter().sum();
        if self.rows == 0 && (sum - 100.0).abs() <= 100.0 * self.slack {
            self.whole = 100.0;
        }
        let slack = self.whole * self.slack;
        let within = row.iter().all(|value| (-slack..=self.whole + slack).contains(value));
        self.sums &= row.len() > 1 && within && (sum - self.whole).abs() <= slack;
        let exponentials: f64 = row.iter().map(|&value| f64::from(value).exp()).sum();
        self.logarithms &= (exponentials - 1.0).abs() <= 0.01;
        self.least = row.iter().copied().fold(self.least, f32::min);
        self.greatest = row.iter().copied().fold(self.greatest, f32::max);
        self.rows += 1;
        self.classes = row.len();
    }

    /// What to say of all that was seen; none where they look like logits.
    pub fn finding(self) -> Option<Finding> {
        if self.rows > 0 && self.sums {
            return Some(Finding::Refused {
                what: format!("every row sums to {}: these are probabilities, not logits", self.whole),
                hint: "save what the network gives before its softmax; the logarithm of the probabilities will do, too".into(),
            });
        }
        let Self { rows, classes, least, greatest, .. } = self;
        if rows < ENOUGH || classes < 2 || least >= greatest {
            return None;
        }
        let seen = format!("all {rows} rows lie between {least} and {greatest}");
        let doubted =
            |what: &str, hint: &str| Some(Finding::Doubted(format!("{seen}: {what}\nhint: {hint}")));
        for (whole, confident, divided) in [(1.0, 0.5, ""), (100.0, 90.0, " with p in percent / 100")] {
            if least >= 0.0 && (confident..=whole).contains(&greatest) {
                return Some(Finding::Refused {
                    what: format!(
                        "{seen}: a sigmoid gives that, or a rounded softmax, and no layer of logits"
                    ),
                    hint: format!(
                        "{BEFORE}, or log(p / (1 - p)){divided}; if these are logits, take each row's mean from it: their softmax stays the same"
                    ),
                });
            }
        }
        if least >= 0.0 {
            return doubted(
                "logits have both signs; a ReLU, an exponential or a rounding may stand behind them",
                &format!("{BEFORE}; if these are what its softmax sees, all is well"),
            );
        }
        if greatest <= 0.0 && greatest > -0.1 && !self.logarithms {
            return doubted(
                "none is positive; the logarithm of a sigmoid gives that",
                &format!(
                    "{BEFORE}; if these are what its softmax sees, like negative distances, all is well"
                ),
            );
        }
        let reach = greatest.max(-least);
        if (0.9..=1.0).contains(&reach) {
            let most = 100.0 / (1.0 + (classes - 1) as f64 * (-2.0_f64).exp());
            return doubted(
                &format!(
                    "a tanh or a cosine gives that, and a softmax of it is never surer than {most:.0} %"
                ),
                "save what the network's softmax sees in training, such as the cosines times their scale",
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(precision: &str, rows: &[Vec<f32>]) -> Option<Finding> {
        let mut seen = Squashed::of(precision);
        for row in rows {
            seen.watch(row);
        }
        seen.finding()
    }

    #[test]
    fn only_rows_that_all_sum_to_one_or_a_hundred_are_probabilities() {
        let all = |precision: &str, rows: &[&[f32]]| {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
            matches!(finding(precision, &rows), Some(Finding::Refused { what, .. }) if what.contains("probabilities"))
        };
        assert!(all("f32", &[&[0.2, 0.8], &[1.0, 0.0]]));
        assert!(!all("f32", &[&[0.2, 0.8], &[1.0, 0.1]]));
        assert!(!all("f32", &[&[-1.0, 2.0]]), "logits may sum to 1 as well");
        assert!(!all("f32", &[&[0.3335, 0.6670]]));
        assert!(all("f32", &[&[20.0, 80.0], &[100.0, 0.0]]), "percent");
        assert!(!all("f32", &[&[20.0, 80.0], &[100.0, 1.0]]));
        // What numpy makes of a third and two thirds in float16.
        assert!(all("f16", &[&[0.333_251_95, 0.666_503_9]]));
        assert!(!all("f32", &[]));
    }

    /// The range of TRADES' published network for MNIST on the first 400 test images, in PyTorch, is -6.2 to 10.2;
    /// two classes, as few as there are, and the functions are their definitions.
    #[test]
    fn what_a_squashing_function_makes_of_logits_is_refused_or_doubted_and_logits_are_neither() {
        let logits: Vec<f64> = (0..80).map(|step| -6.2 + 0.2 * f64::from(step)).collect();
        let of = |function: &dyn Fn(f64) -> f64| {
            let rows: Vec<Vec<f32>> =
                logits.iter().map(|&l| vec![function(l) as f32, function(2.0 - l) as f32]).collect();
            finding("f32", &rows)
        };
        let sigmoid = |l: f64| 1.0 / (1.0 + (-l).exp());
        let refused = |found: Option<Finding>| matches!(found, Some(Finding::Refused { .. }));
        let doubted = |found: Option<Finding>| matches!(found, Some(Finding::Doubted(_)));
        assert_eq!(of(&|l| l), None);
        assert!(refused(of(&sigmoid)));
        assert!(refused(of(&|l| 100.0 * sigmoid(l))));
        assert!(refused(of(&|l| (100.0 * sigmoid(l)).round())));
        assert!(refused(of(&|l| 0.5 + l.atan() / std::f64::consts::PI)));
        for function in [f64::tanh, f64::cos, f64::exp, |l: f64| l.max(0.0), |l: f64| (1.0 + l.exp()).ln()] {
            assert!(doubted(of(&function)));
        }
        assert!(doubted(of(&|l| sigmoid(l).ln())));
        assert_eq!(of(&|l| -(l * l) - 3.0), None, "negative distances");
        assert_eq!(of(&|l| 0.1 * l / 6.2), None, "an untrained network's small numbers");
        // Logarithms of probabilities are logits.
        let rows: Vec<Vec<f32>> =
            logits.iter().map(|&l| vec![sigmoid(l).ln() as f32, sigmoid(-l).ln() as f32]).collect();
        assert_eq!(finding("f32", &rows), None);
        assert_eq!(finding("f32", &vec![vec![0.25; 10]; 400]), None, "one answer to everything");
    }

    #[test]
    fn a_few_rows_in_a_narrow_range_say_nothing() {
        let rows = |count| vec![vec![0.1, 0.7, 0.3]; count];
        assert_eq!(finding("f32", &rows(ENOUGH - 1)), None);
        assert!(finding("f32", &rows(ENOUGH)).is_some());
    }
}
