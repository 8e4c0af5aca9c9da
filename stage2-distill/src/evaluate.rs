//! `distill eval`: clean and robust accuracy of a student, on images as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::{Progress, Stop};
use data::{DatasetSpec, Split};
use engine::Engine;
use engine::params::Precision;
use method::attack::{self, Attack, Victim};
use method::eval::{self, Report, Score, Settings};
use method::model;
use method::threat::{Fraction, Threat};

use crate::error::RunError;
use crate::source::{self, Unchanged};

/// What is judged, and how.
pub struct Examination {
    /// The student's weights.
    pub student: PathBuf,
    /// Its architecture, where the file does not say.
    pub arch: Option<String>,
    /// The data set, as given.
    pub data: String,
    /// The split.
    pub split: Split,
    /// Names of attacks; `clean` is always reported.
    pub attacks: Vec<String>,
    /// Radius of the ball.
    pub eps: Fraction,
    /// Change of a pixel per step; a quarter of eps where not given.
    pub step_size: Option<Fraction>,
    /// Runs of each attack from different starts.
    pub restarts: usize,
    /// Only the first images.
    pub limit: Option<usize>,
    /// Images run together; changes no result.
    pub batch: usize,
    /// Keys the starts.
    pub seed: u64,
}

/// Judges a student.
pub fn evaluate(exam: &Examination, engine: &dyn Engine, stop: &Stop) -> Result<Report, RunError> {
    let attacks: Vec<Box<dyn Attack>> = exam
        .attacks
        .iter()
        .filter(|name| *name != "clean")
        .map(|name| attack::find(name).map_err(|error| RunError::Refused(error.to_string())))
        .collect::<Result<_, _>>()?;
    let spec: DatasetSpec = exam.data.parse()?;
    let mut dataset = spec.load(exam.split)?;
    if let Some(limit) = exam.limit {
        dataset = dataset.limit(limit);
    }
    let task = source::task(&dataset);
    let loaded = model::load(&exam.student, exam.arch.as_deref(), task, Precision::F32)?;
    let victim = Victim::new(engine, &loaded.network, &loaded.params);
    let step_size = exam.step_size.clone().unwrap_or_else(|| exam.eps.usual_step());
    let settings = Settings {
        threat: Threat { eps: exam.eps.value() },
        step_size: step_size.value(),
        restarts: exam.restarts,
        seed: exam.seed,
        batch: exam.batch,
    };
    let places: Vec<usize> = (0..dataset.len()).collect();
    let images = Unchanged(&dataset);
    let judge =
        |name: &str, work: &mut dyn FnMut(&mut eval::Progress) -> Result<Vec<bool>, eval::EvalError>| {
            let mut progress = Progress::on_stderr("images");
            progress.begin(0, dataset.len() as u64);
            work(&mut |done, total| {
                progress.of(total as u64);
                progress.set(done as u64, name);
                !stop.requested()
            })
        };
    let clean =
        judge("clean", &mut |progress| eval::clean(&victim, &images, &places, settings.batch, progress))?;
    let score = |right: &[bool]| Score::count(right, dataset.labels().iter().copied(), dataset.classes());
    let mut scores = vec![("clean".to_string(), score(&clean))];
    for attack in &attacks {
        let name = attack.name();
        if scores.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let right = judge(&name, &mut |progress| {
            let attacks = [attack.as_ref()];
            let fates = eval::robust(&victim, &images, &places, &clean, &attacks, &settings, progress)?;
            Ok(fates.into_iter().map(eval::Fate::stands).collect())
        })?;
        scores.push((name, score(&right)));
    }
    let report = Report {
        architecture: loaded.network.architecture().into(),
        parameters: engine::cost::network(&loaded.network).parameters,
        weights_blake3: loaded.blake3.clone(),
        data: exam.data.clone(),
        split: exam.split.name().into(),
        images: dataset.len(),
        eps: exam.eps.to_string(),
        step_size: step_size.to_string(),
        restarts: exam.restarts,
        seed: exam.seed,
        scores,
        class_names: dataset.class_names().to_vec(),
        per_class: BTreeMap::new(),
        worst_class: BTreeMap::new(),
    };
    Ok(report.with_classes())
}
