//! The learning rate of each epoch.

use std::fmt;
use std::str::FromStr;

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
    /// x0.1 after each of these epochs, whatever the run's length. Its name is that of [`Self::Multistep`].
    #[serde(skip)]
    After(Milestones),
}

impl Schedule {
    /// The factor on the base rate during `epoch` (from 0) of `epochs`.
    pub fn factor(self, epoch: usize, epochs: usize) -> f64 {
        let milestones = match self {
            Self::Multistep => Milestones::of(epochs),
            Self::After(milestones) => milestones,
            Self::Cosine => {
                return 0.5 * (1.0 + libm::cos(std::f64::consts::PI * epoch as f64 / epochs as f64));
            }
        };
        0.1f64.powi(milestones.epochs().filter(|&drop| epoch >= drop).count() as i32)
    }

    /// The same over `epochs` with its first drop alone: what a loop does that sets the rate to a tenth of the *first* rate at
    /// every milestone. The released code of ARD, IAD and Fair-ARD is such a loop.
    #[must_use]
    pub fn first_drop_only(self, epochs: usize) -> Self {
        match self {
            Self::Multistep => Self::After(Milestones::of(epochs).first_only()),
            Self::After(milestones) => Self::After(milestones.first_only()),
            other => other,
        }
    }
}

/// Epochs after which the learning rate falls tenfold: at most eight, ascending, none before the first epoch's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milestones {
    /// What is not used is 0.
    after: [u32; MOST],
}

/// The most that there are of them.
const MOST: usize = 8;

impl Milestones {
    /// RSLAD's, 215, 260 and 285 of 300, scaled to a run of so many epochs and rounded down.
    ///
    /// A drop that would come before the first epoch does not count: it would only be another base rate.
    pub fn of(epochs: usize) -> Self {
        let mut after = [0; MOST];
        for (place, of_300) in after.iter_mut().zip([215, 260, 285]) {
            *place = (epochs.saturating_mul(of_300) / 300) as u32;
        }
        Self { after }
    }

    /// The first of them alone.
    fn first_only(self) -> Self {
        let mut after = [0; MOST];
        after[0] = self.epochs().next().unwrap_or(0) as u32;
        Self { after }
    }

    /// The epochs, each with those done before the drop.
    pub fn epochs(&self) -> impl Iterator<Item = usize> {
        self.after.into_iter().filter(|&after| after > 0).map(|after| after as usize)
    }
}

impl fmt::Display for Milestones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.epochs().map(|after| after.to_string()).collect();
        f.write_str(&all.join(","))
    }
}

/// A text that names no milestones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wanted up to 8 epochs of at least 1, ascending, as in 74,89,99")]
pub struct NoMilestones;

/// Numbers with commas between them, in brackets or not.
impl FromStr for Milestones {
    type Err = NoMilestones;

    fn from_str(text: &str) -> Result<Self, NoMilestones> {
        let text = text.trim();
        let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let mut after = [0; MOST];
        let mut before = 0;
        for (place, number) in text.split(',').enumerate() {
            let epoch =
                number.trim().parse().ok().filter(|&epoch: &u32| epoch > before).ok_or(NoMilestones)?;
            *after.get_mut(place).ok_or(NoMilestones)? = epoch;
            before = epoch;
        }
        Ok(Self { after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(schedule: Schedule, epochs: usize, rates: &[(usize, f64)]) {
        for &(epoch, expected) in rates {
            let found = schedule.factor(epoch, epochs);
            assert!((found - expected).abs() < 1e-12, "epoch {epoch} of {epochs}: {found}");
        }
    }

    #[test]
    fn multistep_drops_after_epochs_215_260_and_285_of_300() {
        let rates = [(0, 1.0), (214, 1.0), (215, 0.1), (259, 0.1), (260, 0.01), (284, 0.01), (285, 0.001)];
        is(Schedule::Multistep, 300, &rates);
    }

    #[test]
    fn drops_that_fall_together_multiply() {
        // floor(2 * 215/300) = floor(2 * 260/300) = floor(2 * 285/300) = 1
        is(Schedule::Multistep, 2, &[(0, 1.0), (1, 1e-3)]);
    }

    #[test]
    fn no_drop_comes_before_the_first_epoch() {
        is(Schedule::Multistep, 1, &[(0, 1.0)]);
        for epochs in 1..=300 {
            is(Schedule::Multistep, epochs, &[(0, 1.0)]);
        }
    }

    /// `train_trades_cifar10.py` of `yaodongyu/TRADES`: with epochs counted from 1, x0.1 from the 75th on, x0.01 from the 90th,
    /// x0.001 from the 100th.
    #[test]
    fn milestones_are_counted_as_epochs_done_and_stay_where_they_are() {
        let trades = Schedule::After("74,89,99".parse().unwrap());
        let rates = [(0, 1.0), (73, 1.0), (74, 0.1), (88, 0.1), (89, 0.01), (98, 0.01), (99, 0.001)];
        for epochs in [100, 300] {
            is(trades, epochs, &rates);
        }
    }

    #[test]
    fn milestones_are_read_as_they_are_written_and_slips_are_refused() {
        for text in ["74,89,99", " 74, 89 ,99 ", "[74, 89, 99]"] {
            assert_eq!(text.parse::<Milestones>().unwrap().to_string(), "74,89,99");
        }
        assert_eq!("1".parse::<Milestones>().unwrap().epochs().collect::<Vec<_>>(), [1]);
        for bad in ["", "0", "5,5", "9,5", "1,2,3,4,5,6,7,8,9", "a", "74;89", "-1", "[5", "1.5"] {
            assert_eq!(bad.parse::<Milestones>(), Err(NoMilestones), "{bad}");
        }
    }

    /// `adjust_learning_rate` of goldblum/AdversariallyRobustDistillation (main.py) and ZFancy/IAD (IAD-I.py): 0.1 * 0.1 after
    /// 100 epochs and, from the same first rate, once more after 150.
    #[test]
    fn a_schedule_of_one_drop_stays_where_the_first_left_it() {
        let twice = Schedule::After("100,150".parse().unwrap());
        is(twice, 200, &[(99, 1.0), (100, 0.1), (149, 0.1), (150, 0.01)]);
        is(twice.first_drop_only(200), 200, &[(99, 1.0), (100, 0.1), (149, 0.1), (150, 0.1), (199, 0.1)]);
        is(Schedule::Multistep.first_drop_only(300), 300, &[(214, 1.0), (215, 0.1), (299, 0.1)]);
        is(Schedule::Multistep.first_drop_only(1), 1, &[(0, 1.0)]);
        assert_eq!(Schedule::Cosine.first_drop_only(9), Schedule::Cosine);
    }

    #[test]
    fn cosine_runs_from_one_to_zero() {
        assert!((Schedule::Cosine.factor(0, 10) - 1.0).abs() < 1e-15);
        assert!((Schedule::Cosine.factor(5, 10) - 0.5).abs() < 1e-15);
        assert!(Schedule::Cosine.factor(9, 10) < 0.03);
    }
}
