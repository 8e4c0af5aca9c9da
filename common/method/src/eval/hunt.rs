//! Judging by an attack that is made of searches.

use candle_core::{DType, Device, Tensor};

use super::exam::{EvalError, Exam, Progress, Settings, judged};
use crate::attack::{self, Attack, End, Searching, Subject, Victim};

/// One run of an attack that is made of searches.
pub(super) struct Hunt<'a> {
    pub victim: &'a Victim<'a>,
    pub exam: &'a dyn Exam,
    pub attack: &'a dyn Attack,
    pub searching: &'a dyn Searching,
    pub restart: usize,
    pub settings: &'a Settings,
}

impl Hunt<'_> {
    /// Which of the standing images fall, as indices into `places`. What a search found is projected, checked and
    /// classified in forwards of their own, a batch at a time; memory holds no more than two batches.
    pub fn broken(
        &self,
        places: &[usize],
        standing: &[usize],
        tried: &mut [bool],
        progress: &mut Progress,
    ) -> Result<Vec<usize>, EvalError> {
        let Settings { threat, seed, batch, .. } = *self.settings;
        let shape = self.victim.network.input();
        let mut subject = |index: usize| -> Result<Subject, EvalError> {
            let place = places[standing[index]];
            let image = self.exam.images(&[place])?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
            let label = self.exam.labels()[place] as usize;
            Ok(Subject { image, shape, label, threat, seed, restart: self.restart, place })
        };
        let (mut broken, mut found) = (Vec::new(), Vec::new());
        let mut ended = |index: usize, end: End| -> Result<(), EvalError> {
            tried[standing[index]] |= !end.is_blind;
            found.extend(end.found.map(|point| (standing[index], point.to_vec())));
            if found.len() >= batch {
                broken.extend(self.confirmed(places, &mut found)?);
            }
            Ok(())
        };
        let mut asked =
            |done| if progress(done, standing.len()) { Ok(()) } else { Err(EvalError::Interrupted) };
        attack::run(
            self.searching,
            self.victim,
            standing.len(),
            batch,
            &mut subject,
            &mut ended,
            &mut asked,
        )?;
        broken.extend(self.confirmed(places, &mut found)?);
        Ok(broken)
    }

    /// Those of the points found that lie in the ball and are classified wrong.
    fn confirmed(
        &self,
        places: &[usize],
        found: &mut Vec<(usize, Vec<f32>)>,
    ) -> Result<Vec<usize>, EvalError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let (indices, points): (Vec<usize>, Vec<Vec<f32>>) = found.drain(..).unzip();
        let part: Vec<usize> = indices.iter().map(|&i| places[i]).collect();
        let images = self.exam.images(&part)?;
        let points = Tensor::from_vec(points.concat(), images.shape(), &Device::Cpu)?;
        let right =
            judged(self.victim, self.exam, &part, &images, &points, self.attack, self.settings.threat)?;
        Ok(indices.into_iter().zip(right).filter(|(_, right)| !right).map(|(i, _)| i).collect())
    }
}
