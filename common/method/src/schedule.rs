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
    /// From 1/25 of the rate up to it in the first 30 % of the epochs, then down to 4e-6 of it, both by half a cosine; the
    /// momentum moves against it ([`Schedule::momentum`]). PyTorch's `OneCycleLR` with one step an epoch, as fast
    /// adversarial training's benchmark runs it (`fzjcdt/FastAT_Benchmark` 1d7105e, `main.py`: as many steps as epochs);
    /// arXiv:1708.07120 has one step a batch.
    OneCycle,
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
            Self::OneCycle => return one_cycle(epoch, epochs, [0.04, 1.0, 0.04 / 1e4]),
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

    /// The momentum during `epoch` (from 0) of `epochs`, where a run's is `usual`: that, but in a cycle, where it begins and
    /// ends [`SWING`] above and is as far below when the rate is full. PyTorch's 0.95, 0.85 and 0.95 for the usual 0.9.
    pub fn momentum(self, usual: f64, epoch: usize, epochs: usize) -> f64 {
        match self {
            Self::OneCycle => one_cycle(epoch, epochs, [usual + SWING, usual - SWING, usual + SWING]),
            Self::Multistep | Self::Cosine | Self::After(_) => usual,
        }
    }
}

/// How far from the usual momentum a cycle goes.
pub const SWING: f64 = 0.05;

/// A value that begins, culminates and ends at these: the first epoch has the first of them, the last the last.
fn one_cycle(epoch: usize, epochs: usize, [first, top, last]: [f64; 3]) -> f64 {
    let (epoch, end) = (epoch as f64, epochs as f64 - 1.0);
    let turn = 0.3 * epochs as f64 - 1.0;
    let (from, to, share) =
        if epoch <= turn { (first, top, epoch / turn) } else { (top, last, (epoch - turn) / (end - turn)) };
    to + (from - to) / 2.0 * (libm::cos(std::f64::consts::PI * share) + 1.0)
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

    /// PyTorch 2.15's `OneCycleLR(SGD(lr=1, momentum=0.9), max_lr=1, total_steps=n)`, stepped n - 1 times: rate and momentum.
    #[test]
    fn a_cycle_of_one_step_an_epoch_has_the_rates_and_momenta_of_pytorch() {
        const PYTORCH: [(usize, usize, f64, f64); 12] = [
            (100, 0, 0.040_000_000_000_000_036, 0.95),
            (100, 1, 0.042_813_780_565_907_456, 0.949_706_897_857_717_9),
            (100, 15, 0.545_986_676_121_000_4, 0.897_293_054_570_729),
            (100, 29, 1.0, 0.85),
            (100, 30, 0.999_496_535_284_524_3, 0.850_050_346_672_934_2),
            (100, 98, 0.000_507_464_715_475_787_9, 0.949_949_653_327_065_7),
            (100, 99, 4e-6, 0.95),
            (10, 1, 0.52, 0.899_999_999_999_999_9),
            (10, 2, 1.0, 0.85),
            (10, 7, 0.188_258_346_050_236_97, 0.931_174_490_092_936_6),
            (2, 0, 0.811_745_653_949_763, 0.868_825_509_907_063_3),
            (2, 1, 4e-6, 0.95),
        ];
        for (epochs, epoch, rate, momentum) in PYTORCH {
            is(Schedule::OneCycle, epochs, &[(epoch, rate)]);
            let found = Schedule::OneCycle.momentum(0.9, epoch, epochs);
            assert!((found - momentum).abs() < 1e-15, "epoch {epoch} of {epochs}: {found}");
        }
        assert_eq!(Schedule::Cosine.momentum(0.9, 3, 10).to_bits(), 0.9f64.to_bits());
    }
}
