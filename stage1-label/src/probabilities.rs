//! Probabilities that were taken for logits: a softmax of a softmax teaches next to nothing, and nothing fails.

/// Whether rows of answers may be probabilities: what a softmax gives, and no network's last layer.
#[derive(Debug, Clone, Copy)]
pub struct Probabilities {
    slack: f32,
    rows: usize,
    all: bool,
}

impl Probabilities {
    /// Nothing seen yet of answers in this precision.
    pub fn of(precision: &str) -> Self {
        // Rounded to f16, K numbers that sum to 1 miss it by at most 2^-11 of it, and by a unit below f16's normal range.
        Self { slack: if precision == "f16" { 2e-3 } else { 1e-4 }, rows: 0, all: true }
    }

    /// Looks at a row.
    pub fn watch(&mut self, row: &[f32]) {
        let within = row.iter().all(|value| (-self.slack..=1.0 + self.slack).contains(value));
        self.rows += 1;
        self.all &= row.len() > 1 && within && (row.iter().sum::<f32>() - 1.0).abs() <= self.slack;
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
    fn only_rows_that_all_sum_to_one_are_probabilities() {
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
        // What numpy makes of a third and two thirds in float16.
        assert!(all("f16", &[&[0.333_251_95, 0.666_503_9]]));
        assert!(!all("f32", &[]));
    }
}
