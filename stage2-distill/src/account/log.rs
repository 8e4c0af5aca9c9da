//! metrics.jsonl as what it says: losses by the step, and what each epoch came to.

use serde_json::Value;

use crate::select::SELECTED_BY;

/// What happened in a run, in its order.
#[derive(Debug, Default, PartialEq)]
pub struct Log {
    /// Losses of single steps, every so many of them.
    pub steps: Vec<StepLine>,
    /// Epochs that were done.
    pub epochs: Vec<EpochLine>,
    /// Lines that are none of these: a process was killed as it wrote one, or somebody changed the file.
    pub unreadable: usize,
}

/// The loss of one step.
#[derive(Debug, PartialEq)]
pub struct StepLine {
    /// Which, from 1.
    pub step: u64,
    /// Mean over its images.
    pub loss: f64,
}

/// What an epoch came to.
#[derive(Debug, PartialEq)]
pub struct EpochLine {
    /// Which, from 1.
    pub epoch: usize,
    /// Its last step.
    pub step: u64,
    /// Mean over its images.
    pub loss: f64,
    /// Learning rate of its steps.
    pub lr: f64,
    /// Wall-clock time of its steps.
    pub seconds: f64,
    /// How it was judged to select the best epoch, where it was.
    pub judged: Option<Judged>,
}

/// Right answers in percent on the images that select the best epoch.
#[derive(Debug, PartialEq)]
pub struct Judged {
    /// Whether those images are of the test split.
    pub on_test: bool,
    /// Without an attack.
    pub clean: f64,
    /// Under the attack that selects.
    pub robust: f64,
}

impl Log {
    /// Reads the lines that are whole.
    pub fn parse(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(epoch) = EpochLine::of(&value) {
                log.epochs.push(epoch);
            } else if let (Some(step), Some(loss)) = (value["step"].as_u64(), value["loss"].as_f64()) {
                log.steps.push(StepLine { step, loss });
            } else {
                log.unreadable += 1;
            }
        }
        log
    }

    /// Whether no line of it could be read.
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty() && self.steps.is_empty()
    }

    /// How many epochs were done.
    pub fn epochs_done(&self) -> usize {
        self.epochs.last().map_or(0, |line| line.epoch)
    }

    /// The last step that is known to have been done.
    pub fn last_step(&self) -> u64 {
        let steps = self.steps.last().map(|line| line.step);
        self.epochs.last().map(|line| line.step).max(steps).unwrap_or(0)
    }

    /// Seconds of training steps, by all processes that did them.
    pub fn seconds(&self) -> f64 {
        // The sum of nothing is -0.0, and is printed so.
        self.epochs.iter().fold(0.0, |sum, line| sum + line.seconds)
    }
}

impl EpochLine {
    /// Only the line that closes an epoch says its rate.
    fn of(value: &Value) -> Option<Self> {
        let judged = ["holdout", "test"].into_iter().find_map(|on| {
            let figure = |of: &str| value[format!("{on}_{of}")].as_f64();
            Some(Judged { on_test: on == "test", clean: figure("clean")?, robust: figure(SELECTED_BY)? })
        });
        Some(Self {
            lr: value["lr"].as_f64()?,
            epoch: value["epoch"].as_u64()? as usize,
            step: value["step"].as_u64()?,
            loss: value["loss"].as_f64()?,
            seconds: value["seconds"].as_f64()?,
            judged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `distill train` writes them, and the beginning of a line that a kill left.
    #[test]
    fn steps_and_epochs_are_told_apart_and_a_torn_line_is_counted() {
        let log = Log::parse(concat!(
            "{\"epoch\":1,\"loss\":2.5,\"step\":50}\n",
            "{\"epoch\":1,\"holdout_clean\":40.0,\"holdout_pgd20\":20.5,\"loss\":2.25,\"lr\":0.1,\"seconds\":3.5,\"step\":78}\n",
            "{\"epoch\":2,\"loss\":1.75,\"lr\":0.05,\"seconds\":3.0,\"step\":156}\n",
            "{\"epoch\":3,\"lo",
        ));
        assert_eq!(log.steps, [StepLine { step: 50, loss: 2.5 }]);
        assert_eq!((log.epochs_done(), log.unreadable), (2, 1));
        assert!((log.seconds() - 6.5).abs() < 1e-12);
        assert_eq!(format!("{:.1}", Log::parse("").seconds()), "0.0");
        assert_eq!(log.epochs[0].judged, Some(Judged { on_test: false, clean: 40.0, robust: 20.5 }));
        assert_eq!(log.epochs[1].judged, None);
        assert_eq!((log.epochs[1].step, log.epochs[1].lr), (156, 0.05));
    }
}
