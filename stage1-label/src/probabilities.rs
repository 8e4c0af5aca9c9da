//! Probabilities that were taken for logits: a softmax of a softmax teaches next to nothing, and nothing fails.

/// Whether rows of answers may be probabilities: what a softmax gives, and no network's last layer.
#[derive(Debug, Clone, Copy)]
pub struct Probabilities {
    slack: f32,
    /// What each row sums to: 1, or 100 where they are percent.
    whole: f32,
    rows: usize,
    all: bool,
}

impl Probabilities {
    /// Nothing seen yet of answers in this precision.
    pub fn of(precision: &str) -> Self {
        // Rounded to f16, K numbers that sum to 1 miss it by at most 2^-11 of it, and by a unit below f16's normal range.
        Self { slack: if precision == "f16" { 2e-3 } else { 1e-4 }, whole: 1.0, rows: 0, all: true }
    }

    /// Looks at a row.
    pub fn watch(&mut self, row: &[f32]) {
        let sum: f32 = row.iter().sum();
        if self.rows == 0 && (sum - 100.0).abs() <= 100.0 * self.slack {
            self.whole = 100.0;
        }
        let slack = self.whole * self.slack;
        let within = row.iter().all(|value| (-slack..=self.whole + slack).contains(value));
        self.rows += 1;
        self.all &= row.len() > 1 && within && (sum - self.whole).abs() <= slack;
    }

    /// Whether every row was one.
    pub fn are_all(self) -> bool {
        self.rows > 0 && self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_that_all_sum_to_one_or_a_hundred_are_probabilities() {
        let all = |precision: &str, rows: &[&[f32]]| {
            let mut seen = Probabilities::of(precision);
            for row in rows {
                seen.watch(row);
            }
            seen.are_all()
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
}
