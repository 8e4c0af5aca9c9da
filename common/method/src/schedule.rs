//! The learning rate of each epoch.

use serde::{Deserialize, Serialize};

/// How the learning rate falls over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// x0.1 after epochs 215, 260 and 285 of 300, scaled to the run's length and rounded down; drops that fall
    /// together multiply. Source: the released code of arXiv:2108.07969.
    #[default]
    Multistep,
    /// Half a cosine from the full rate to 0 at the end of the run.
    Cosine,
}

impl Schedule {
    /// The factor on the base rate during `epoch` (from 0) of `epochs`.
    pub fn factor(self, epoch: usize, epochs: usize) -> f64 {
        match self {
            Self::Multistep => {
                let drops = [215, 260, 285].iter().filter(|&&drop| epoch >= epochs * drop / 300).count();
                0.1f64.powi(drops as i32)
            }
            Self::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * epoch as f64 / epochs as f64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multistep_drops_after_epochs_215_260_and_285_of_300() {
        let rate = |epoch| Schedule::Multistep.factor(epoch, 300);
        for (epoch, expected) in
            [(0, 1.0), (214, 1.0), (215, 0.1), (259, 0.1), (260, 0.01), (284, 0.01), (285, 0.001)]
        {
            assert!((rate(epoch) - expected).abs() < 1e-12, "epoch {epoch}: {}", rate(epoch));
        }
    }

    #[test]
    fn drops_that_fall_together_multiply() {
        // floor(2 * 215/300) = floor(2 * 260/300) = floor(2 * 285/300) = 1
        assert!((Schedule::Multistep.factor(1, 2) - 1e-3).abs() < 1e-15);
        assert!(
            (Schedule::Multistep.factor(0, 1) - 1e-3).abs() < 1e-15,
            "all three drops come before epoch 0 ends"
        );
    }

    #[test]
    fn cosine_runs_from_one_to_zero() {
        assert!((Schedule::Cosine.factor(0, 10) - 1.0).abs() < 1e-15);
        assert!((Schedule::Cosine.factor(5, 10) - 0.5).abs() < 1e-15);
        assert!(Schedule::Cosine.factor(9, 10) < 0.03);
    }
}
