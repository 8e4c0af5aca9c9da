//! `distill eval`: clean and robust accuracy of a student, on images as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::{Progress, detail, note, warn, with_commas};
use data::{Dataset, DatasetSpec, Split};
use engine::Engine;
use engine::params::Precision;
use method::attack::{self, Attack, Chain, Victim};
use method::eval::{self, Fate, Report, Score, Settings};
use method::model::{self, Foreign};
use method::threat::{Fraction, Threat};

use crate::error::RunError;
use crate::source::{self, Unchanged};

/// A number, and who chose it: `given`, or the file of the run.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The number as written.
    pub value: Fraction,
    /// Who chose it.
    pub from: String,
}

/// How far attacks may go.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Radius of the ball.
    pub eps: Chosen,
    /// Change of a pixel per step.
    pub step_size: Chosen,
}

/// What is judged, and how.
pub struct Examination {
    /// The student's weights.
    pub student: PathBuf,
    /// What is said of its file.
    pub said: Foreign,
    /// The data set, as given.
    pub data: String,
    /// The split.
    pub split: Split,
    /// Names of attacks; `clean` is always reported.
    pub attacks: Vec<String>,
    /// How far they may go; there where any attacks.
    pub reach: Option<Reach>,
    /// The radius that the student was trained for, where its run is known.
    pub trained_eps: Option<Fraction>,
    /// Runs of each attack from different starts.
    pub restarts: usize,
    /// Only the first images.
    pub limit: Option<usize>,
    /// Images run together; changes no result.
    pub batch: usize,
    /// Keys the starts.
    pub seed: u64,
}

/// The attacks and suites of these names, once each; `clean` is none.
pub fn chains(names: &[String]) -> Result<Vec<Chain>, RunError> {
    let mut found: Vec<Chain> = Vec::new();
    for name in names.iter().filter(|name| names::plain(name) != "clean") {
        let chain = attack::chain(name)?;
        if found.iter().all(|known| known.name != chain.name) {
            found.push(chain);
        }
    }
    Ok(found)
}

/// Judges a student.
pub fn evaluate(exam: &Examination, engine: &dyn Engine, threads: usize) -> Result<Report, RunError> {
    let chains = chains(&exam.attacks)?;
    let spec: DatasetSpec = exam.data.parse()?;
    let reading = Progress::busy("reading data");
    let mut dataset = cli::images(&spec, exam.split)?;
    if let Some(limit) = exam.limit {
        dataset = dataset.limit(limit);
    }
    let task = source::task(&dataset);
    let loaded = model::load(&exam.student, &exam.said, task, Precision::F32)?;
    drop(reading);
    cli::say_notes(&exam.student, &loaded.notes);
    let victim = Victim::new(engine, &loaded.network, &loaded.params);
    detail(format_args!("{}: BLAKE3 {}", exam.student.display(), loaded.blake3));
    detail(format_args!("{}: identity {}", exam.data, dataset.record().hash()));
    announce(exam, &dataset, loaded.network.architecture(), &chains, engine, threads);
    let settings = Settings {
        threat: Threat::linf(exam.reach.as_ref().map_or(0.0, |reach| reach.eps.value.value())),
        step_size: exam.reach.as_ref().map_or(0.0, |reach| reach.step_size.value.value()),
        restarts: exam.restarts,
        seed: exam.seed,
        batch: exam.batch,
    };
    let places: Vec<usize> = (0..dataset.len()).collect();
    let images = Unchanged(&dataset);
    let watched = |name: &str, progress: &mut Progress, done: usize, total: usize| {
        progress.of(total as u64);
        progress.set(done as u64, name);
        true
    };
    let mut progress = begun(&dataset, "clean");
    let clean = eval::clean(&victim, &images, &places, settings.batch, &mut |done, total| {
        watched("clean", &mut progress, done, total)
    })?;
    let score = |right: &[bool]| Score::count(right, dataset.labels().iter().copied(), dataset.classes());
    let mut scores = vec![("clean".to_string(), score(&clean))];
    let mut vanished = BTreeMap::new();
    for Chain { name, attacks } in &chains {
        progress = begun(&dataset, name);
        let attacks: Vec<&dyn Attack> = attacks.iter().map(AsRef::as_ref).collect();
        let fates =
            eval::robust(&victim, &images, &places, &clean, &attacks, &settings, &mut |done, total| {
                watched(name, &mut progress, done, total)
            })?;
        let blind = fates.iter().filter(|fate| **fate == Fate::Blind).count();
        if blind > 0 && settings.threat.eps > 0.0 {
            vanished.insert(name.clone(), blind);
        }
        // What each attack of a suite left of the images that the ones before it had.
        for (by, attack) in attacks.iter().enumerate().filter(|_| attacks.len() > 1) {
            let left: Vec<bool> = fates.iter().map(|fate| fate.stands_after(by)).collect();
            scores.push((format!("{name}/{}", attack.name()), score(&left)));
        }
        let right: Vec<bool> = fates.iter().map(|fate| fate.stands()).collect();
        scores.push((name.clone(), score(&right)));
    }
    drop(progress);
    for (name, blind) in &vanished {
        let standing = scores.iter().find(|(known, _)| known == name).map_or(0, |(_, score)| score.right);
        warn(format_args!(
            "{name}: the gradient vanished at {blind} of the {standing} images that count as right\n\
             nothing was tried there, so the accuracy is too high: softmax saturates, as logits lie too far apart\n\
             hint: divide the last layer's weight and bias by a constant (no decision changes), and judge that file"
        ));
    }
    let reach = |choose: fn(&Reach) -> &Chosen| exam.reach.as_ref().map(choose);
    let (eps, step_size) = (reach(|reach| &reach.eps), reach(|reach| &reach.step_size));
    let from = |chosen: Option<&Chosen>| chosen.map_or_else(String::new, |chosen| chosen.from.clone());
    let report = Report {
        architecture: loaded.network.architecture().into(),
        parameters: engine::cost::network(&loaded.network).parameters,
        weights_blake3: loaded.blake3.clone(),
        weights_key: Some(loaded.part.clone()).filter(|part| !part.is_empty()),
        normalisation: loaded.network.normalisation().map(|(mean, std)| [mean.into(), std.into()]),
        data: exam.data.clone(),
        split: exam.split.name().into(),
        images: dataset.len(),
        limit: exam.limit,
        eps: eps.map(|eps| eps.value.to_string()),
        eps_from: from(eps),
        trained_eps: exam.trained_eps.as_ref().map(ToString::to_string),
        step_size: step_size.map(|step| step.value.to_string()),
        step_size_from: from(step_size),
        restarts: exam.restarts,
        seed: exam.seed,
        engine: engine.name().into(),
        version: cli::build::VERSION.into(),
        commit: cli::build::commit().map(Into::into),
        scores,
        interval_95: BTreeMap::new(),
        vanished_gradients: vanished,
        class_names: dataset.class_names().to_vec(),
        per_class: BTreeMap::new(),
        worst_class: BTreeMap::new(),
    };
    Ok(report.with_tables())
}

/// What will run, on what.
fn announce(
    exam: &Examination,
    dataset: &Dataset,
    architecture: &str,
    chains: &[Chain],
    engine: &dyn Engine,
    threads: usize,
) {
    let mut names = vec!["clean".to_string()];
    names.extend(chains.iter().map(|chain| chain.name.clone()));
    note(format_args!(
        "{}: {architecture}, {} images of {} {}\n{} on {}, {threads} threads",
        exam.student.display(),
        with_commas(dataset.len() as u64),
        exam.data,
        exam.split.name(),
        names.join(", "),
        engine.name(),
    ));
    if let (Some(reach), Some(trained)) = (&exam.reach, &exam.trained_eps)
        && (reach.eps.value.value() - trained.value()).abs() > f64::EPSILON
    {
        let than = if reach.eps.value.value() > trained.value() { "larger" } else { "smaller" };
        warn(format_args!(
            "eps {} is {than} than the {trained} that the run trained with: compare such numbers with care",
            reach.eps.value
        ));
    }
}

/// The progress of an attack, or of none.
fn begun(dataset: &Dataset, name: &str) -> Progress {
    let mut progress = Progress::on_stderr("images");
    progress.about(name);
    progress.begin_at(0, dataset.len() as u64);
    progress
}
