//! The exponential moving average of a student's weights: what is judged and published in its place where one is kept.

use engine::{Engine, EngineError, Params};

/// A second set of values that follows the student's.
///
/// After every update `average += (1 - decay) (student - average)`, for parameters and running statistics alike; the
/// first update sets it to the student, and the counters are the student's. This is PyTorch's
/// `AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)`.
#[derive(Clone, Debug)]
pub struct Average {
    /// Share of the old average that is kept at each update.
    pub decay: f64,
    /// None before the first update.
    followed: bool,
    params: Params,
}

impl Average {
    /// Before the first update: the student as it begins.
    pub fn new(decay: f64, student: &Params) -> Self {
        Self { decay, followed: false, params: student.clone() }
    }

    /// With the values that a checkpoint kept after at least one update.
    pub fn resumed(decay: f64, params: Params) -> Self {
        Self { decay, followed: true, params }
    }

    /// The average's own values.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Follows a student that was just updated. Refuses another network's.
    pub fn follow(&mut self, engine: &dyn Engine, student: &Params) -> Result<(), EngineError> {
        if !std::mem::replace(&mut self.followed, true) {
            self.params = student.clone();
            return Ok(());
        }
        engine.follow(&mut self.params, student, self.decay)
    }
}

#[cfg(test)]
mod tests {
    use engine::Reference;
    use engine::params::Precision;

    use super::*;
    use crate::init::initialise;
    use zoo::{Init, Task};

    /// PyTorch 2.15's `AveragedModel` with decay 0.9 and `use_buffers` over these four updates, in f64.
    #[test]
    fn parameters_and_statistics_follow_as_in_pytorch() {
        const STUDENT: [(f64, f64); 4] = [(1.0, 0.5), (2.0, 0.25), (4.0, 3.0), (-3.0, 1.0)];
        const PYTORCH: [(f64, f64); 4] = [
            (1.0, 0.5),
            (1.1, 0.475),
            (1.390_000_000_000_000_1, 0.727_499_999_999_999_9),
            (0.951_000_000_000_000_2, 0.754_749_999_999_999_9),
        ];
        let (_, network) = zoo::build("tiny-cnn", Task { input: [1, 8, 8], classes: 2 }).unwrap();
        let mut student = initialise(&network, Init::PyTorch, 0, Precision::F64);
        let engine = Reference::new(1).unwrap();
        let mut average = Average::new(0.9, &student);
        for (step, ((weight, mean), wanted)) in (1..).zip(STUDENT.into_iter().zip(PYTORCH)) {
            let (parameters, statistics) = (student.trainable().len(), student.statistics().len());
            student.trainable_mut().fill(0..parameters, weight);
            student.statistics_mut().fill(0..statistics, mean);
            student.batches_tracked_mut().fill(step);
            average.follow(&engine, &student).unwrap();
            let found = average.params();
            let last = (found.trainable().get(parameters - 1), found.statistics().get(statistics - 1));
            assert!((last.0 - wanted.0).abs() < 1e-15 && (last.1 - wanted.1).abs() < 1e-15, "{last:?}");
            assert!(found.batches_tracked().iter().all(|&count| count == step));
        }
    }
}
