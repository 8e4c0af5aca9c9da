//! What is judged and how, and whether images are right: what every way of judging shares.

use candle_core::{DType, Tensor};
use engine::EngineError;

use crate::attack::Unreadable;
use crate::threat::{Threat, ThreatError};

/// Why judging failed.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The network could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An attack broke its contract.
    #[error("attack {attack}: {source}")]
    Threat {
        /// The attack.
        attack: String,
        /// How.
        source: Box<ThreatError>,
    },
    /// Logits are infinite or not numbers, so no accuracy means anything.
    #[error("the student's logits are infinite or not numbers\nhint: the training that made it diverged")]
    NonFinite,
    /// A state that was kept is of something else.
    #[error(transparent)]
    State(#[from] Unreadable),
    /// What was found could not be kept.
    #[error(
        "what the evaluation found could not be kept: {0}\nhint: free some space or mend the disk, then run the same command again"
    )]
    Keep(#[from] std::io::Error),
    /// The caller asked to stop.
    #[error("interrupted\nhint: nothing of it was kept; run the same command again")]
    Interrupted,
}

impl From<candle_core::Error> for EvalError {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// The images to judge on.
pub trait Exam {
    /// The class of each image.
    fn labels(&self) -> &[i32];
    /// Pixels `(N, C, H, W)` in [0, 1] of the images at these places, in the precision of the student.
    fn images(&self, places: &[usize]) -> candle_core::Result<Tensor>;
}

/// How attacks are run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What the adversary may do.
    pub threat: Threat,
    /// Change of a pixel per step of an iterated attack.
    pub step_size: f64,
    /// Runs of each attack from different starts; an image must withstand all.
    pub restarts: usize,
    /// Keys the starts.
    pub seed: u64,
    /// Images run together; changes no result.
    pub batch: usize,
}

/// What the logits of clean images look like: evaluations of networks that are random, or end in a softmax, mislead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Logits {
    /// Images whose logits are a probability distribution.
    pub distributions: usize,
    /// Images that were asked about twice.
    pub asked_twice: usize,
    /// Those that got another answer.
    pub changed: usize,
}

impl std::ops::AddAssign for Logits {
    fn add_assign(&mut self, other: Self) {
        self.distributions += other.distributions;
        self.asked_twice += other.asked_twice;
        self.changed += other.changed;
    }
}

/// Called after each batch with the images done and the images in all; false stops.
pub type Progress<'a> = dyn FnMut(usize, usize) -> bool + 'a;

pub(super) fn labels(exam: &dyn Exam, places: &[usize]) -> Vec<u32> {
    places.iter().map(|&place| exam.labels()[place] as u32).collect()
}

/// Logits `(N, K)` by image; refused where they are no numbers.
pub(super) fn rows(logits: &Tensor) -> Result<Vec<Vec<f64>>, EvalError> {
    let rows = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    if rows.iter().flatten().any(|logit| !logit.is_finite()) {
        return Err(EvalError::NonFinite);
    }
    Ok(rows)
}

/// Whether the largest logit of each row is the label's; the first of equals counts.
pub(super) fn correct(rows: &[Vec<f64>], labels: &[u32]) -> Vec<bool> {
    rows.iter().zip(labels).map(|(row, &label)| argmax(row) == label as usize).collect()
}

/// The place of the largest value; the first of equals.
pub fn argmax(row: &[f64]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best })
}
