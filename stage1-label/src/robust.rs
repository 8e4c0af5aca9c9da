//! How a teacher does under attack, for the card of its label set.

use std::num::NonZeroUsize;

use clap::Args;
use cli::{Progress, Stop, Unchanged, note, warn};
use data::{Dataset, DatasetSpec, Split};
use engine::Work;
use labels::Robust;
use method::attack::{self, Attack, Chain, Victim};
use method::eval::{
    self, Clean, Evidence, Fate, Moment, Order, Outcome, Setting, Settings, Stage, Trial, Watch,
};
use method::threat::{Fraction, Norm, Threat};

use crate::{Error, Result};

/// Whether the teacher is judged under attack, and how.
#[derive(Debug, Clone, Args)]
pub struct RobustArgs {
    /// Also judge the teacher under attack, on the first N test images, for the card
    #[arg(long, value_name = "N", requires = "eps")]
    pub robust: Option<NonZeroUsize>,
    /// The attack, or suite of attacks, of --robust
    #[arg(long, value_name = "NAME", default_value = "autoattack", requires = "robust")]
    pub attack: String,
    /// How the attack measures distance: linf or l2
    #[arg(long, value_name = "NORM", default_value = "linf", requires = "robust")]
    pub norm: Norm,
    /// Radius of the attack, such as 8/255
    #[arg(long, value_name = "FRACTION", value_parser = Fraction::of_any_size, requires = "robust")]
    pub eps: Option<Fraction>,
}

/// A judgement that is to come: asked for early, since it must not be refused after hours of labelling.
pub struct Judgement {
    chain: Chain,
    threat: Threat,
    eps: Fraction,
    dataset: Dataset,
}

/// Images run together on a processor; changes no result.
const BATCH: usize = 128;

impl RobustArgs {
    /// What is to be judged, if anything is.
    pub fn prepare(&self, data: &DatasetSpec) -> Result<Option<Judgement>> {
        let (Some(images), Some(eps)) = (self.robust, &self.eps) else { return Ok(None) };
        let threat = Threat::new(self.norm, eps).map_err(|error| {
            let text = error.to_string();
            let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, "see `label run --help`"));
            Error::Usage { what: format!("--eps: {what}"), hint: hint.into() }
        })?;
        let chain = attack::chain(&self.attack)?;
        let dataset = cli::images(data, Split::Test)?.limit(images.get());
        Ok(Some(Judgement { chain, threat, eps: eps.clone(), dataset }))
    }
}

/// What a judgement came to.
pub enum Verdict {
    /// Somebody asked to stop.
    Stopped,
    /// Nothing was tried on some images that count as right: a figure would flatter.
    Void,
    /// How often the teacher is right.
    Robust(Robust),
}

impl Judgement {
    /// Runs the attacks against the teacher.
    pub fn of(&self, victim: Victim, stop: &Stop) -> Result<Verdict> {
        let Self { chain, threat, eps, dataset } = self;
        let places: Vec<usize> = (0..dataset.len()).collect();
        let exam = Unchanged(dataset);
        let step_size = eps.usual_step().value();
        let batch = cli::usual_batch(victim.engine, &[(victim.network, Work::Attack)], BATCH)?;
        let settings = Settings { threat: *threat, step_size, restarts: 1, seed: 0, batch };
        let mut watcher = Watcher { stop, progress: Progress::on_stderr("images") };
        watcher.progress.about("under attack");
        watcher.progress.begin_at(0, places.len() as u64);
        let mut judge = || {
            let Clean { right, logits } =
                eval::clean(&victim, &exam, &places, batch, &mut |_, _| !stop.requested())?;
            let attacks: Vec<&dyn Attack> = chain.attacks.iter().map(AsRef::as_ref).collect();
            let (attacks, places) = (&attacks[..], &places[..]);
            let trial = Trial { victim, climbed: victim, exam: &exam, places, attacks, settings: &settings };
            let mut stage = trial.begin(&right);
            trial.run(&mut stage, &mut watcher)?;
            Ok((right, logits, stage))
        };
        let (right, logits, Stage { fates, work, .. }) = match judge() {
            Err(eval::EvalError::Interrupted) => return Ok(Verdict::Stopped),
            judged => judged?,
        };
        let clean: Vec<Fate> = right.into_iter().map(Fate::without_attack).collect();
        let stand = |fates: &[Fate]| fates.iter().filter(|fate| fate.stands()).count() as u64;
        let counts = [stand(&clean), stand(&fates)];
        let attacks: Vec<String> = chain.attacks.iter().map(|attack| attack.name()).collect();
        let outcome = |suite: &str, fates, work| Outcome {
            suite: suite.into(),
            attacks: attacks.clone(),
            remarks: Vec::new(),
            fates,
            work,
        };
        let suite = outcome(&chain.name, fates, work);
        let is_void = suite.blind() > 0;
        let evidence = Evidence {
            setting: Setting::default(),
            part: None,
            images: dataset.len(),
            labels: dataset.labels().into(),
            logits,
            outcomes: vec![outcome("clean", clean, Vec::new()), suite],
        };
        for finding in eval::findings(&evidence) {
            warn(format_args!("the teacher: {}", finding.text));
        }
        if is_void {
            return Ok(Verdict::Void);
        }
        let [clean, right] = counts;
        let robust = Robust {
            attack: chain.name.clone(),
            norm: threat.norm.to_string(),
            eps: eps.to_string(),
            seed: settings.seed,
            split: dataset.split().name().into(),
            images: dataset.len() as u64,
            clean,
            right,
        };
        let bound = if robust.attack == "autoattack" { "" } else { ", an upper bound" };
        note(format_args!(
            "of {} images of {}, {} are right, {} under {} at {} {}{}",
            robust.images,
            robust.split,
            robust.clean,
            robust.right,
            robust.attack,
            robust.norm,
            robust.eps,
            bound
        ));
        Ok(Verdict::Robust(robust))
    }
}

struct Watcher<'a> {
    stop: &'a Stop,
    progress: Progress,
}

impl Watch for Watcher<'_> {
    fn tell(&mut self, Moment { attack, done, images, standing }: Moment) -> Order {
        self.progress.of(images as u64);
        self.progress.set(done as u64, &format!("{attack}, {standing} stand"));
        if self.stop.requested() { Order::Stop } else { Order::Go }
    }
}
