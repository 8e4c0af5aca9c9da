//! `distill eval`: clean and robust accuracy of a student, on images as they are.

mod keeper;
mod kept;
mod spool;

use std::ops::Range;
use std::path::PathBuf;

use cli::{Progress, Stop, Unchanged, Verdicts, detail, note, warn, with_commas};
use data::{Dataset, DatasetSpec, Split};
use engine::params::Precision;
use engine::{Engine, Network, Work};
use labels::Part;
use method::attack::{self, Attack, Chain, Victim};
use method::eval::{
    self, EvalError, Evidence, Fate, Logits, Outcome, Report, Setting, Settings, Surrogate, Trial,
};
use method::threat::{Fraction, Threat};
use zoo::{Foreign, Loaded};

use self::keeper::Keeper;
use crate::error::RunError;
use crate::source;

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
    /// The ball.
    pub threat: Threat,
    /// Its radius.
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
    /// Images run together, where somebody chose; changes no result.
    pub batch: Option<usize>,
    /// Keys the starts.
    pub seed: u64,
    /// A network whose gradients attacks climb in the student's place.
    pub surrogate: Option<PathBuf>,
    /// Whether attacks keep to convolutions that round no more than a plain sum.
    pub exact_conv: bool,
    /// Only this part of the images.
    pub part: Option<Part>,
    /// Where to keep how far it is.
    pub state: Option<PathBuf>,
    /// Whether what is kept there of another evaluation is put aside, in place of being refused: where nobody named the
    /// folder.
    pub anew: bool,
    /// Where to write the adversarial images.
    pub adversarial: Option<PathBuf>,
}

impl Examination {
    /// Whether anything attacks.
    pub fn verdicts(&self) -> Verdicts {
        if self.reach.is_some() { Verdicts::Attacked } else { Verdicts::Clean }
    }
}

/// Judges a student.
pub fn evaluate(
    exam: &Examination,
    engine: &dyn Engine,
    threads: usize,
    stop: &Stop,
) -> Result<Judged<Report>, RunError> {
    let chains = attack::chains(&exam.attacks)?;
    refuse_surrogate(exam, &chains)?;
    let spec: DatasetSpec = exam.data.parse()?;
    let reading = Progress::busy("reading data");
    let mut dataset = cli::images(&spec, exam.split)?;
    let identity = dataset.record().hash();
    if let Some(limit) = exam.limit {
        dataset = cli::limited(dataset, &spec, limit);
    }
    let task = source::task(&dataset);
    let loaded = zoo::load(&exam.student, &exam.said, task, Precision::F32)?;
    let surrogate = exam.surrogate.as_ref();
    let surrogate = surrogate
        .map(|path| zoo::load(path.as_path(), Foreign::default(), task, Precision::F32))
        .transpose()?;
    drop(reading);
    cli::say_notes(&exam.student, &loaded.notes);
    detail(format_args!("{}: BLAKE3 {}", exam.student.display(), loaded.blake3));
    detail(format_args!("{}: identity {identity}", exam.data));
    let range = exam.part.map_or(0..dataset.len(), |part| part.range(dataset.len()));
    let networks: Vec<&Network> =
        [Some(&loaded), surrogate.as_ref()].into_iter().flatten().map(|loaded| &loaded.network).collect();
    let batch = batch(exam, engine, &networks)?;
    announce(exam, range.len(), loaded.network.architecture(), &chains, engine, threads);
    let evidence = Evidence {
        setting: setting(exam, &loaded, surrogate.as_ref(), &dataset, &identity.to_string(), engine),
        part: exam.part,
        images: range.len(),
        labels: dataset.labels()[range.clone()].to_vec(),
        logits: Logits::default(),
        outcomes: Vec::new(),
    };
    let victim = Victim::new(engine, &loaded.network, &loaded.params);
    let climbed =
        surrogate.as_ref().map_or(victim, |other| Victim::new(engine, &other.network, &other.params));
    let (evidence, images) =
        judged((exam, batch), &chains, &dataset, range, [victim, climbed], evidence, stop)?;
    let report = Report::of(evidence);
    say_doubts(&report);
    Ok((report, images))
}

/// What is to be said beside a report's figures.
pub fn say_doubts(report: &Report) {
    for remark in report.evidence.outcomes.iter().flat_map(|outcome| &outcome.remarks) {
        note(format_args!("note: {remark}"));
    }
    for finding in &report.findings {
        let suite = finding.suite.as_ref().map_or_else(String::new, |suite| format!("{suite}: "));
        warn(format_args!("{suite}{}", finding.text));
    }
}

/// Images that run together on a processor where nobody says.
const BATCH: usize = 128;

/// Images that run together: as many as were asked for, where the engine's memory holds them, or as many as suit it.
fn batch(exam: &Examination, engine: &dyn Engine, networks: &[&Network]) -> Result<usize, RunError> {
    let work = if exam.reach.is_some() { Work::Attack } else { Work::Forward };
    let networks: Vec<(&Network, Work)> = networks.iter().map(|&network| (network, work)).collect();
    Ok(match exam.batch {
        Some(batch) => cli::refuse_too_large(engine, &networks, batch).map(|()| batch)?,
        None => cli::usual_batch(engine, &networks, BATCH)?,
    })
}

/// What was judged, and whether its adversarial images could be written where they were asked for.
pub type Judged<T> = (T, Result<(), RunError>);

/// Attacks that stop where the network that they climb is wrong leave images that say little of another one.
fn refuse_surrogate(exam: &Examination, chains: &[Chain]) -> Result<(), RunError> {
    let mut attacks = chains.iter().flat_map(|chain| &chain.attacks);
    match attacks.find(|attack| !attack.transfers()) {
        Some(attack) if exam.surrogate.is_some() => Err(RunError::Refused(format!(
            "--surrogate: {} stops at the first image that fools the surrogate, which says little of the student\nhint: for a black box use fgsm, pgdN, cwN, pgd-sat or pgd-trades; square needs no gradients of any network",
            attack.name()
        ))),
        _ => Ok(()),
    }
}

/// Runs every suite on the images of the range, or what an earlier process left of them.
fn judged(
    (exam, batch): (&Examination, usize),
    chains: &[Chain],
    dataset: &Dataset,
    range: Range<usize>,
    [victim, climbed]: [Victim; 2],
    mut evidence: Evidence,
    stop: &Stop,
) -> Result<Judged<Evidence>, RunError> {
    let places: Vec<usize> = range.collect();
    let settings = Settings {
        threat: exam.reach.as_ref().map_or(Threat::linf(0.0), |reach| reach.threat),
        step_size: exam.reach.as_ref().map_or(0.0, |reach| reach.step_size.value.value()),
        restarts: exam.restarts,
        seed: exam.seed,
        batch,
    };
    let images = Unchanged(dataset);
    let mut keeper = Keeper::new(exam, chains, dataset, &places, &evidence, stop)?;
    let clean = eval::clean(&victim, &images, &places, settings.batch, &mut |done, total| {
        keeper.heard_clean(done, total)
    });
    let clean = clean.map_err(|error| resumable(error, exam))?;
    evidence.logits = clean.logits;
    evidence.outcomes.push(Outcome {
        suite: "clean".into(),
        attacks: Vec::new(),
        remarks: Vec::new(),
        fates: clean.right.iter().map(|&right| Fate::without_attack(right)).collect(),
        work: Vec::new(),
    });
    for (number, Chain { name, attacks }) in chains.iter().enumerate() {
        if number < keeper.done() {
            continue;
        }
        let attacks: Vec<&dyn Attack> = attacks.iter().map(AsRef::as_ref).collect();
        let trial =
            Trial { victim, climbed, exam: &images, places: &places, attacks: &attacks, settings: &settings };
        let mut stage = keeper.enter(number).unwrap_or_else(|| trial.begin(&clean.right));
        trial.run(&mut stage, &mut keeper).map_err(|error| resumable(error, exam))?;
        keeper.leave(Outcome {
            suite: name.clone(),
            attacks: attacks.iter().map(|attack| attack.name()).collect(),
            remarks: attacks.iter().filter_map(|attack| attack.remark(dataset.classes())).collect(),
            fates: stage.fates,
            work: stage.work,
        })?;
    }
    let (outcomes, images) = keeper.finish(exam, &evidence.setting);
    evidence.outcomes.extend(outcomes);
    Ok((evidence, images))
}

/// What an interrupted evaluation leaves, if it has a folder.
fn resumable(error: EvalError, exam: &Examination) -> RunError {
    match (&error, &exam.state) {
        (EvalError::Interrupted, Some(_)) => RunError::Paused,
        _ => error.into(),
    }
}

/// Who is judged, on what and how.
fn setting(
    exam: &Examination,
    loaded: &Loaded,
    surrogate: Option<&Loaded>,
    dataset: &Dataset,
    identity: &str,
    engine: &dyn Engine,
) -> Setting {
    let reach = exam.reach.as_ref();
    let written = |choose: fn(&Reach) -> &Chosen| reach.map(|reach| choose(reach).value.to_string());
    let from =
        |choose: fn(&Reach) -> &Chosen| reach.map_or_else(String::new, |reach| choose(reach).from.clone());
    Setting {
        architecture: loaded.network.architecture().into(),
        parameters: engine::cost::network(&loaded.network).parameters,
        weights_blake3: loaded.blake3.clone(),
        weights_key: Some(loaded.part.clone()).filter(|part| !part.is_empty()),
        normalisation: loaded.network.normalisation().map(|(mean, std)| [mean.into(), std.into()]),
        surrogate: surrogate.map(|other| Surrogate {
            architecture: other.network.architecture().into(),
            weights_blake3: other.blake3.clone(),
        }),
        data: exam.data.clone(),
        data_blake3: identity.into(),
        split: exam.split.name().into(),
        limit: exam.limit,
        class_names: dataset.class_names().to_vec(),
        norm: reach.map(|reach| reach.threat.norm),
        eps: written(|reach| &reach.eps),
        eps_from: from(|reach| &reach.eps),
        trained_eps: exam.trained_eps.as_ref().map(ToString::to_string),
        step_size: written(|reach| &reach.step_size),
        step_size_from: from(|reach| &reach.step_size),
        restarts: exam.restarts,
        seed: exam.seed,
        engine: engine.name().into(),
        device: engine.hardware().device,
        judged_in: engine.hardware().precision.into(),
        exact_conv: exam.exact_conv,
        version: cli::build::VERSION.into(),
        commit: cli::build::commit().map(Into::into),
    }
}

/// What will run, on what.
fn announce(
    exam: &Examination,
    images: usize,
    architecture: &str,
    chains: &[Chain],
    engine: &dyn Engine,
    threads: usize,
) {
    let mut names = vec!["clean".to_string()];
    names.extend(chains.iter().map(|chain| chain.name.clone()));
    note(format_args!(
        "{}: {architecture}, {} images of {} {}\n{} on {}",
        exam.student.display(),
        with_commas(images as u64),
        exam.data,
        exam.split.name(),
        names.join(", "),
        cli::whereabouts(engine, threads),
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
