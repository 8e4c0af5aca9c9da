//! A suite of attacks against a network: which image falls to which attack, and how far that is.

use std::collections::VecDeque;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::exam::{EvalError, Exam, Settings, correct, labels, rows};
use super::fate::Fate;
use crate::attack::{Asked, Attack, End, Pool, Saved, Subject, Victim};

/// A suite of attacks, each of which sees only the images that the ones before it left.
///
/// Every point that an attack ends at is projected into the ball, checked, and classified in a forward of its own. Nothing
/// depends on which images run together: under running statistics an image's fate is its own.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// Who is judged.
    pub victim: Victim<'a>,
    /// Whose gradients attacks climb: the same, or a surrogate for a black box.
    pub climbed: Victim<'a>,
    /// The images.
    pub exam: &'a dyn Exam,
    /// Which of them, as indices into the exam.
    pub places: &'a [usize],
    /// The attacks, in order.
    pub attacks: &'a [&'a dyn Attack],
    /// How they are run.
    pub settings: &'a Settings,
}

/// What an attack cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Wall-clock time.
    pub seconds: f64,
    /// What it asked of the network.
    pub asked: Asked,
}

/// How far a trial is; all that another process needs to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What is known of each image, in the order of the trial's places.
    pub fates: Vec<Fate>,
    /// What each attack cost so far.
    pub work: Vec<Work>,
    /// Images at which some gradient that an attack met had not vanished.
    tried: Vec<bool>,
    /// The attack under way.
    attack: usize,
    /// Its run.
    restart: usize,
    /// The run's images; none where it has not begun.
    run: Option<Run>,
}

/// One run of one attack over the images that stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    images: usize,
    waiting: VecDeque<usize>,
    under_way: Vec<Saved>,
}

/// What whoever runs a trial is told after each forward.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Name of the attack.
    pub attack: &'a str,
    /// Images that this run of it is done with; one half done counts a half.
    pub done: f64,
    /// Images that this run of it visits.
    pub images: usize,
    /// Images that stand so far.
    pub standing: usize,
}

/// What a trial is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Go,
    /// Have its stage kept, and go on.
    Keep,
    /// Have its stage kept, and stop.
    Stop,
}

/// Whoever runs a trial.
pub trait Watch {
    /// Hears after each forward how far it is.
    fn tell(&mut self, moment: Moment) -> Order;

    /// Keeps the stage for another process.
    fn keep(&mut self, _: &Stage) -> Result<(), EvalError> {
        Ok(())
    }

    /// Sees an adversarial image: index into the trial's places, the attack's place in the suite, and the pixels. All that
    /// was seen before [`keep`](Self::keep) belongs to the stage that is kept.
    fn found(&mut self, _index: usize, _by: usize, _pixels: &[f32]) -> Result<(), EvalError> {
        Ok(())
    }
}

impl Trial<'_> {
    /// Before the first attack; `clean` says which images are right without any.
    pub fn begin(&self, clean: &[bool]) -> Stage {
        Stage {
            fates: clean.iter().map(|&right| Fate::without_attack(right)).collect(),
            work: vec![Work::default(); self.attacks.len()],
            // Where nothing will be tried, nothing was tried in vain.
            tried: vec![self.attacks.is_empty() || self.settings.threat.eps == 0.0; self.places.len()],
            attack: 0,
            restart: 0,
            run: None,
        }
    }

    /// Runs all that is left. With eps 0 there is nowhere to go, and the result is that of the clean images.
    pub fn run(&self, stage: &mut Stage, watch: &mut dyn Watch) -> Result<(), EvalError> {
        while stage.attack < self.attacks.len() {
            let restarts = match self.settings.restarts.max(1) {
                _ if self.settings.threat.eps == 0.0 => 0,
                restarts if self.attacks[stage.attack].is_random() => restarts,
                _ => 1,
            };
            while stage.restart < restarts {
                self.run_once(stage, watch)?;
                stage.restart += 1;
            }
            (stage.attack, stage.restart) = (stage.attack + 1, 0);
        }
        for (fate, tried) in stage.fates.iter_mut().zip(&stage.tried) {
            if fate.stands() && !tried {
                *fate = Fate::Blind;
            }
        }
        Ok(())
    }

    /// One run of the attack under way.
    fn run_once(&self, stage: &mut Stage, watch: &mut dyn Watch) -> Result<(), EvalError> {
        let attack = self.attacks[stage.attack];
        let name = attack.name();
        let mut run = stage.run.take().unwrap_or_else(|| {
            let standing = (0..self.places.len()).filter(|&index| stage.fates[index].stands());
            let waiting: VecDeque<usize> = standing.collect();
            Run { images: waiting.len(), waiting, under_way: Vec::new() }
        });
        let mut pool = Pool::new(attack, self.climbed);
        for saved in run.under_way.drain(..) {
            pool.readmit(&saved, self.subject(saved.index, stage.restart)?)?;
        }
        let (mut claims, mut since) = (Vec::new(), Instant::now());
        loop {
            while pool.len() < self.settings.batch.max(1)
                && let Some(index) = run.waiting.pop_front()
            {
                pool.admit(index, self.subject(index, stage.restart)?);
            }
            for End { index, point, asked } in pool.ask()? {
                stage.tried[index] |= !asked.is_blind();
                stage.work[stage.attack].asked += asked;
                claims.extend(point.map(|point| (index, point)));
            }
            let is_over = pool.is_empty() && run.waiting.is_empty();
            let standing = stage.fates.iter().filter(|fate| fate.stands()).count() - claims.len();
            let done = (run.images - run.waiting.len() - pool.len()) as f64 + pool.share();
            let order = watch.tell(Moment { attack: &name, done, images: run.images, standing });
            if is_over || order != Order::Go || claims.len() >= self.settings.batch {
                self.confirm(&mut claims, stage, watch)?;
            }
            if is_over || order != Order::Go {
                stage.work[stage.attack].seconds += since.elapsed().as_secs_f64();
                since = Instant::now();
            }
            if order != Order::Go {
                run.under_way = pool.save()?;
                stage.run = Some(run);
                watch.keep(stage)?;
                run = stage.run.take().expect("it was put there");
            }
            if order == Order::Stop {
                return Err(EvalError::Interrupted);
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// An image as an attack begins with it.
    fn subject(&self, index: usize, restart: usize) -> Result<Subject, EvalError> {
        let Settings { threat, step_size, seed, .. } = *self.settings;
        let place = self.places[index];
        let image = self.exam.images(&[place])?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        let (shape, label) = (self.victim.network.input(), self.exam.labels()[place] as usize);
        Ok(Subject { image, shape, label, threat, step_size, seed, restart, place })
    }

    /// Brings what attacks claim into the ball, checks it, and counts what the network then gets wrong.
    fn confirm(
        &self,
        claims: &mut Vec<(usize, Vec<f32>)>,
        stage: &mut Stage,
        watch: &mut dyn Watch,
    ) -> Result<(), EvalError> {
        let threat = self.settings.threat;
        for claims in std::mem::take(claims).chunks(self.settings.batch.max(1)) {
            let places: Vec<usize> = claims.iter().map(|(index, _)| self.places[*index]).collect();
            let images = self.exam.images(&places)?;
            let points: Vec<f32> = claims.iter().flat_map(|(_, point)| point).copied().collect();
            let points = Tensor::from_vec(points, images.shape(), &Device::Cpu)?.to_dtype(images.dtype())?;
            let points = threat.project(&images, &points)?;
            threat.check(&images, &points).map_err(|source| EvalError::Threat {
                attack: self.attacks[stage.attack].name(),
                source: Box::new(source),
            })?;
            let right = correct(&rows(&self.victim.logits(&(&points).into())?)?, &labels(self.exam, &places));
            let points = points.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            for (((index, _), right), point) in claims.iter().zip(right).zip(points) {
                if !right {
                    stage.fates[*index] = Fate::Broken { by: stage.attack };
                    watch.found(*index, stage.attack, &point)?;
                }
            }
        }
        Ok(())
    }
}
