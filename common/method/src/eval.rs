//! Judging a student: clean accuracy, and accuracy under attacks that no training run chose for itself.

mod attacks;
mod report;

pub use attacks::{ATTACKS, AttackRow, JudgeAttack, find as find_attack};
pub use report::{Report, Score};

use candle_core::{Device, Tensor};
use engine::EngineError;

use crate::attack::{Starts, Victim};
use crate::rng::Purpose;
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
        source: ThreatError,
    },
    /// Logits are infinite or not numbers, so no accuracy means anything.
    #[error("the student's logits are infinite or not numbers\nhint: the training that made it diverged")]
    NonFinite,
    /// The caller asked to stop.
    #[error("interrupted")]
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

/// Called after each batch with the images done and the images in all; false stops.
pub type Progress<'a> = dyn FnMut(usize, usize) -> bool + 'a;

/// Which images the student classifies right, in order.
pub fn clean(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    batch: usize,
    progress: &mut Progress,
) -> Result<Vec<bool>, EvalError> {
    let mut right = Vec::with_capacity(places.len());
    for part in places.chunks(batch.max(1)) {
        right.extend(correct(&victim.logits(&exam.images(part)?)?, &labels(exam, part))?);
        if !progress(right.len(), places.len()) {
            return Err(EvalError::Interrupted);
        }
    }
    Ok(right)
}

/// Which images the student classifies right clean *and* under every restart of an attack.
///
/// `clean` says which are right to begin with: only those are attacked, and only as long as they hold. Nothing is
/// lost by that: under running statistics an image's fate does not depend on its neighbours. Each result is
/// projected into the ball and checked here, outside the attack; with eps 0 the result is that of the clean images.
pub fn robust(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    clean: &[bool],
    attack: &dyn JudgeAttack,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<Vec<bool>, EvalError> {
    let mut right = clean.to_vec();
    for restart in 0..settings.restarts.max(1) {
        let standing: Vec<usize> = (0..places.len()).filter(|&i| right[i]).collect();
        let mut done = 0;
        for part in standing.chunks(settings.batch.max(1)) {
            let part_places: Vec<usize> = part.iter().map(|&i| places[i]).collect();
            let images = exam.images(&part_places)?;
            let labels = labels(exam, &part_places);
            let starts =
                Starts { seed: settings.seed, purpose: Purpose::Eval, epoch: restart, images: &part_places };
            let classes = Tensor::new(labels.as_slice(), &Device::Cpu)?;
            let found = attack.perturb(victim, &images, &classes, &starts, settings)?;
            let found = settings.threat.project(&images, &found)?;
            let check = settings.threat.check(&images, &found);
            check.map_err(|source| EvalError::Threat { attack: attack.name(), source })?;
            for (&i, ok) in part.iter().zip(correct(&victim.logits(&found)?, &labels)?) {
                right[i] = ok;
            }
            done += part.len();
            if !progress(done, standing.len()) {
                return Err(EvalError::Interrupted);
            }
        }
    }
    Ok(right)
}

fn labels(exam: &dyn Exam, places: &[usize]) -> Vec<u32> {
    places.iter().map(|&place| exam.labels()[place] as u32).collect()
}

/// Whether the largest logit of each row is the label's; the first of equals counts.
fn correct(logits: &Tensor, labels: &[u32]) -> Result<Vec<bool>, EvalError> {
    let rows = logits.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
    if rows.iter().flatten().any(|logit| !logit.is_finite()) {
        return Err(EvalError::NonFinite);
    }
    Ok(rows.iter().zip(labels).map(|(row, &label)| argmax(row) == label as usize).collect())
}

/// The place of the largest value; the first of equals.
pub fn argmax(row: &[f64]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best })
}
