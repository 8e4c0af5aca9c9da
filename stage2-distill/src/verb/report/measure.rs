//! What no file of a run says: how far its student withstands larger and smaller balls, and what fools it.

use std::cmp::Ordering;

use cli::{Progress, Stop, Unchanged};
use data::{Dataset, DatasetSpec, Split};
use engine::params::Precision;
use engine::{Engine, Work};
use method::attack::{Attack, Chain, Victim};
use method::eval::{self, EvalError, Exam, Fate, Moment, Order, Score, Settings, Trial, Watch, argmax};
use method::threat::{Fraction, Threat};
use page::Pixels;
use zoo::Foreign;

use crate::account::{Account, Student};
use crate::error::RunError;
use crate::source;

/// Radii in quarters of the run's eps.
const QUARTERS: [u32; 5] = [1, 2, 4, 6, 8];
/// The run's eps among them.
const WHOLE: usize = 2;
/// Images run together on a processor where nobody says.
const BATCH: usize = 128;
/// Adversarial images shown.
const SHOWN: usize = 12;

/// What to measure.
pub(super) struct Measuring {
    /// The attack.
    pub chain: Chain,
    /// How many images.
    pub images: usize,
    /// Images run together, where somebody chose.
    pub batch: Option<usize>,
    /// Another data set than the run's.
    pub data: Option<String>,
}

/// What was measured.
pub(super) struct Measured {
    /// The attack.
    pub attack: String,
    /// Whether others may break more.
    pub is_upper_bound: bool,
    /// The precision in which the attack saw gradients, where that is lesser than f32.
    pub precision: Option<String>,
    /// The data set, as named.
    pub data: String,
    /// Names of its classes.
    pub class_names: Vec<String>,
    /// Right answers without an attack.
    pub clean: Score,
    /// Right answers in growing balls.
    pub radii: Vec<Radius>,
    /// The run's eps among them.
    pub whole: usize,
    /// Images that fell in the run's ball.
    pub fell: usize,
    /// Some of them.
    pub examples: Vec<Example>,
}

/// Right answers in one ball.
pub(super) struct Radius {
    /// Its radius.
    pub eps: Fraction,
    /// Right answers.
    pub score: Score,
}

/// An image that fell.
pub(super) struct Example {
    /// Its index in the split.
    pub place: usize,
    /// Its class.
    pub label: usize,
    /// As it is.
    pub image: Pixels,
    /// As it was made.
    pub adversarial: Pixels,
    /// What the student says of the two.
    pub said: [Answer; 2],
}

/// A class, and how sure the student is of it.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    /// The class.
    pub class: usize,
    /// Its probability.
    pub probability: f64,
}

impl Measuring {
    /// Measures a run's student.
    ///
    /// The run's ball is attacked as `distill eval` does it, and gives the same figure. A larger ball holds it, so what fell
    /// there has fallen; in a smaller one only what fell is attacked again.
    pub fn run(
        &self,
        account: &Account,
        student: &Student,
        engine: &dyn Engine,
        stop: &Stop,
    ) -> Result<Measured, RunError> {
        let named = self.data.as_ref().unwrap_or(&account.config.data);
        let spec: DatasetSpec = named.parse()?;
        let reading = Progress::busy("reading data");
        let dataset = cli::images(&spec, Split::Test)?.limit(self.images);
        let task = source::task(&dataset);
        let loaded = zoo::load(&student.file, Foreign::default(), task, Precision::F32)?;
        drop(reading);
        let networks = [(&loaded.network, Work::Attack)];
        let batch = match self.batch {
            Some(batch) => cli::refuse_too_large(engine, &networks, batch).map(|()| batch)?,
            None => cli::usual_batch(engine, &networks, BATCH)?,
        };
        let places: Vec<usize> = (0..dataset.len()).collect();
        let images = Unchanged(&dataset);
        let victim = Victim::new(engine, &loaded.network, &loaded.params);
        let clean = eval::clean(&victim, &images, &places, batch, &mut |_, _| !stop.requested())?.right;
        let attacks: Vec<&dyn Attack> = self.chain.attacks.iter().map(AsRef::as_ref).collect();
        let attacked = |eps: &Fraction, step_size: f64, right: &[bool]| {
            let threat = Threat::linf(eps.value());
            let settings = Settings { threat, step_size, restarts: 1, seed: 0, batch };
            let trial = Trial {
                victim,
                climbed: victim,
                exam: &images,
                places: &places,
                attacks: &attacks,
                settings: &settings,
            };
            let mut seen = Seen { progress: begun(&account.name, eps, right), stop, found: Vec::new() };
            let mut stage = trial.begin(right);
            trial.run(&mut stage, &mut seen)?;
            let stands: Vec<bool> = stage.fates.into_iter().map(Fate::stands).collect();
            Ok::<_, EvalError>((stands, seen.found))
        };
        let config = &account.config;
        let (whole, found) = attacked(&config.eps, config.step_size().value(), &clean)?;
        let fell: Vec<bool> = clean.iter().zip(&whole).map(|(clean, stands)| *clean && !stands).collect();
        let mut larger = whole.clone();
        let mut radii = Vec::new();
        for (place, quarters) in QUARTERS.into_iter().enumerate() {
            let eps = if place == WHOLE { config.eps.clone() } else { config.eps.quarters(quarters) };
            if eps.value() > 1.0 {
                continue;
            }
            let step = eps.usual_step().value();
            let stands = match place.cmp(&WHOLE) {
                Ordering::Equal => whole.clone(),
                Ordering::Less => {
                    let again = attacked(&eps, step, &fell)?.0;
                    again.iter().zip(&whole).map(|(again, stood)| *again || *stood).collect()
                }
                Ordering::Greater => {
                    larger = attacked(&eps, step, &larger)?.0;
                    larger.clone()
                }
            };
            radii.push(Radius { eps, score: score(&dataset, &stands) });
        }
        let precision = eval::lesser_precision(engine.name(), engine.hardware().precision, true);
        Ok(Measured {
            attack: self.chain.name.clone(),
            is_upper_bound: precision.is_some() || !eval::is_standard(&self.chain.name),
            precision: precision.map(str::to_owned),
            data: named.clone(),
            class_names: dataset.class_names().to_vec(),
            clean: score(&dataset, &clean),
            radii,
            whole: WHOLE,
            fell: found.len(),
            examples: examples(&victim, &dataset, found)?,
        })
    }
}

fn score(dataset: &Dataset, right: &[bool]) -> Score {
    Score::count(right, dataset.labels().iter().copied(), dataset.classes())
}

fn begun(name: &str, eps: &Fraction, right: &[bool]) -> Progress {
    let mut progress = Progress::on_stderr("images");
    progress.about(&format!("{name}, eps {eps}"));
    progress.begin(0, right.iter().filter(|right| **right).count() as u64);
    progress
}

/// Keeps the adversarial images of a trial.
struct Seen<'a> {
    progress: Progress,
    stop: &'a Stop,
    found: Vec<(usize, Vec<f32>)>,
}

impl Watch for Seen<'_> {
    fn tell(&mut self, Moment { attack, done, images, .. }: Moment) -> Order {
        self.progress.of(images as u64);
        self.progress.set(done as u64, attack);
        if self.stop.requested() { Order::Stop } else { Order::Go }
    }

    fn found(&mut self, index: usize, _: usize, pixels: &[f32]) -> Result<(), EvalError> {
        self.found.push((index, pixels.into()));
        Ok(())
    }
}

/// Some of the images that fell: the first of each class, then the second, in the order of the split.
fn examples(
    victim: &Victim,
    dataset: &Dataset,
    mut found: Vec<(usize, Vec<f32>)>,
) -> Result<Vec<Example>, RunError> {
    found.sort_by_key(|(place, _)| *place);
    let mut met = vec![0; dataset.classes()];
    let mut turns: Vec<(usize, usize, Vec<f32>)> = Vec::new();
    for (place, pixels) in found {
        let label = dataset.labels()[place] as usize;
        turns.push((met[label], place, pixels));
        met[label] += 1;
    }
    turns.sort_by_key(|(turn, place, _)| (*turn, *place));
    turns.truncate(SHOWN);
    let images = Unchanged(dataset);
    let example = |(_, place, pixels): (usize, usize, Vec<f32>)| {
        let clean = images.images(&[place])?;
        let (_, channels, height, width) = clean.dims4()?;
        let shape = [channels, height, width];
        let adversarial = candle_core::Tensor::from_slice(&pixels, clean.shape(), clean.device())?
            .to_dtype(clean.dtype())?;
        let said = [answer(victim, clean.clone())?, answer(victim, adversarial)?];
        let image = shown(shape, clean.flatten_all()?.to_vec1()?);
        let label = dataset.labels()[place] as usize;
        Ok(Example { place, label, image, adversarial: shown(shape, pixels), said })
    };
    turns.into_iter().map(example).collect()
}

/// An image as a page can show it: of other than one or three channels, the first.
fn shown([channels, height, width]: [usize; 3], mut values: Vec<f32>) -> Pixels {
    let channels = if channels == 3 { 3 } else { 1 };
    values.truncate(channels * height * width);
    Pixels { shape: [channels, height, width], values }
}

/// What a network says of one image.
fn answer(victim: &Victim, image: candle_core::Tensor) -> Result<Answer, RunError> {
    let logits = victim.logits(&image.into())?.flatten_all()?.to_dtype(candle_core::DType::F64)?;
    let logits = logits.to_vec1::<f64>()?;
    let class = argmax(&logits);
    let sum: f64 = logits.iter().map(|logit| (logit - logits[class]).exp()).sum();
    Ok(Answer { class, probability: 1.0 / sum })
}
