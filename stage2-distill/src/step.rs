//! One training step: attack the student, run its forwards, go back, move the weights.

mod batch;
mod parts;

use std::cell::RefCell;

use candle_core::Var;
use engine::{
    BatchStats, Engine, EngineError, Grads, Images, Keep, Network, NodeId, Norm, Params, Pass, Tape,
};
use method::attack::{Answers, At, Field, Starts, Victim};
use method::average::Average;
use method::awp::Awp;
use method::objective::{Forward, Heads, Inner, Memory, Objective, Said, Targets, UNLABELLED};
use method::optim::Sgd;
use method::rng::Purpose;
use method::swa::Swa;
use method::taps::Taps;
use method::threat::Threat;

pub use batch::{Batch, Seen};
pub use parts::{Parts, Stepped};

/// What stays the same over a run's steps.
pub struct TrainStep<'a> {
    /// What runs the student.
    pub engine: &'a dyn Engine,
    /// The student.
    pub network: &'a Network,
    /// What it learns.
    pub objective: &'a dyn Objective,
    /// The teacher, for an objective that asks one as it goes.
    pub teacher: Option<Victim<'a>>,
    /// A second one, likewise.
    pub second: Option<Victim<'a>>,
    /// Where the student and the teacher give feature maps, for an objective that reads them.
    pub taps: Option<&'a Taps>,
    /// What the attack may do.
    pub threat: Threat,
    /// Its gradient steps.
    pub steps: usize,
    /// Its change of a pixel per step.
    pub step_size: f64,
    /// Keys its starts.
    pub seed: u64,
}

/// What moves.
pub struct Moving {
    /// The student's values.
    pub params: Params,
    /// Their gradients, a buffer.
    pub grads: Grads,
    /// The optimiser.
    pub sgd: Sgd,
    /// What the objective remembers.
    pub memory: Memory,
    /// What is trained beside the student.
    pub heads: Heads,
    /// The moving average of the student, where one is kept.
    pub average: Option<Average>,
    /// The mean of the student at the ends of epochs, where one is kept.
    pub swa: Option<Swa>,
    /// How the weights are perturbed before each step, where they are.
    pub awp: Option<Awp>,
}

impl Moving {
    /// At the beginning of a run, without heads and an average, unperturbed.
    pub fn new(params: Params, sgd: Sgd, memory: Memory) -> Self {
        let precision = params.precision();
        let grads = Grads::zeros(params.layout(), precision);
        let heads = Heads::none(precision);
        Self { params, grads, sgd, memory, heads, average: None, swa: None, awp: None }
    }

    /// The average of the student, where one is kept and has begun.
    pub fn averaged(&self) -> Option<&Params> {
        self.swa.as_ref().and_then(Swa::params).or(self.average.as_ref().map(Average::params))
    }

    /// The student that is judged and published: the average where one is kept.
    pub fn published(&self) -> &Params {
        self.averaged().unwrap_or(&self.params)
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The student or the teacher could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The loss is infinite or not a number.
    #[error("the loss is {0}\nhint: lower --lr, or check the data and the teacher")]
    NotFinite(f64),
    /// The batch holds images without a label, and the objective reads every label.
    #[error(
        "image {0} has no label, and the objective needs one\nhint: choose an objective that takes such images"
    )]
    Unlabelled(usize),
    /// The weights or the logits that they give are infinite or not numbers.
    #[error(
        "the training diverged: weights or logits are not finite\nhint: lower --lr, or check the data and the teacher"
    )]
    Diverged,
}

impl From<candle_core::Error> for StepError {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// What a step found and did.
pub struct Outcome {
    /// The loss before the weights moved.
    pub loss: f64,
    /// The images of the adversarial forward; none for an objective that does not attack.
    pub adversarial: Option<Images>,
}

/// An outcome of which nothing has moved the running statistics yet.
struct Found {
    outcome: Outcome,
    /// What is to move them, in this order.
    stats: Vec<BatchStats>,
}

/// What the student said in a training forward.
struct Answer {
    forward: Forward,
    /// The logits, then the maps.
    leaves: Vec<Var>,
    tape: Tape,
    stats: BatchStats,
}

impl TrainStep<'_> {
    fn taps(&self) -> &Taps {
        self.taps.expect("the trainer says where an objective's maps are taken")
    }

    /// One step at learning rate `rate`.
    pub fn run(&self, moving: &mut Moving, batch: Batch, rate: f64) -> Result<Outcome, StepError> {
        let outcome = self.gradients(moving, batch)?;
        self.apply(moving, rate)?;
        Ok(outcome)
    }

    /// The first half: leaves the loss's gradients in `moving.grads`, the weights as they were.
    ///
    /// The attack leaves the running statistics alone unless the objective has it run on the batch's own. Each forward
    /// of the objective then uses the batch's own and moves the running ones, in the objective's order.
    pub fn gradients(&self, moving: &mut Moving, batch: Batch) -> Result<Outcome, StepError> {
        let Found { outcome, stats } = self.find(moving, batch)?;
        for stats in &stats {
            self.engine.move_statistics(self.network, &mut moving.params, stats)?;
        }
        Ok(outcome)
    }

    /// The same, with the running statistics as they were: nothing of a step reads them after they would have moved.
    fn find(&self, moving: &mut Moving, batch: Batch) -> Result<Found, StepError> {
        let Batch { clean, further, strong, labels, marks, places, epoch } = batch;
        if self.objective.unlabelled_each().is_none()
            && let Some(row) = labels.to_vec1::<u32>()?.iter().position(|&label| label == UNLABELLED)
        {
            return Err(StepError::Unlabelled(places[row]));
        }
        let inner = self.objective.inner();
        let own_clean = match inner {
            Some(Inner { from_own_clean: true, .. }) => {
                Some(Victim::new(self.engine, self.network, &moving.params).logits(&clean.images)?)
            }
            _ => None,
        };
        let memory = moving.memory.clone();
        let heads = moving.heads.leaves()?;
        let mut targets = Targets {
            seed: self.seed,
            marks,
            own_clean,
            memory,
            heads,
            ..Targets::new(epoch, places, labels)
        };
        let views = [(Forward::Clean, clean)].into_iter();
        let views = views.chain((1..).map(Forward::Further).zip(further));
        let views: Vec<_> = views.chain(strong.map(|images| (Forward::Strong, Seen::only(images)))).collect();
        for (forward, seen) in &views {
            for (said, logits) in [(&mut targets.teacher, &seen.teacher), (&mut targets.second, &seen.second)]
            {
                if let Some(logits) = logits {
                    said.push(*forward, logits.clone());
                }
            }
            if let Some(maps) = &seen.maps {
                targets.teacher.push_maps(*forward, maps.clone());
            }
        }
        let seen = |forward| views.iter().find(|(view, _)| *view == forward).map(|(_, seen)| &seen.images);
        // Before the attack, which may be away from what they say of the views.
        self.ask(moving, &mut targets, &|forward| Ok(seen(forward).cloned()))?;
        let clean = &views[0].1.images;
        let mut stats = Vec::new();
        let attack = |inner| self.attack(moving, inner, clean, &targets, &mut stats);
        let adversarial = inner.map(attack).transpose()?;
        // One array for the networks that are asked and the student, which a device is sent once.
        let made = RefCell::new(None::<Images>);
        let of = |forward| -> Result<Images, StepError> {
            let attacked = || adversarial.as_ref().expect("an objective with adversarial forwards attacks");
            Ok(match forward {
                Forward::Adversarial => attacked().clone(),
                Forward::Opposite => {
                    let known = made.borrow().clone();
                    let images = known.map_or_else(|| opposite(clean, attacked()), Ok)?;
                    made.borrow_mut().insert(images).clone()
                }
                _ => seen(forward).expect("an objective forwards the views that it draws").clone(),
            })
        };
        self.ask(moving, &mut targets, &|forward| of(forward).map(Some))?;

        for &forward in &self.objective.needs_in(targets.epoch).teacher.maps {
            if !targets.teacher.has_maps(forward) {
                let asked = self.teacher.expect("the trainer gives the networks that an objective asks");
                targets.teacher.push_maps(forward, asked.maps(&of(forward)?, &self.taps().teacher)?.1);
            }
        }

        let perturbed = match moving.awp {
            Some(awp) if awp.acts(targets.epoch) => {
                self.learn(moving, &of, &targets, &mut Vec::new())?;
                Some(awp.perturb(&mut moving.params, &moving.grads))
            }
            _ => None,
        };
        let learned = self.learn(moving, &of, &targets, &mut stats);
        if let Some(perturbed) = perturbed {
            perturbed.restore(&mut moving.params, &mut moving.grads, moving.sgd.weight_decay);
        }
        let (said, loss) = learned?;
        self.objective.note(&said, &targets, &mut moving.memory)?;
        Ok(Found { outcome: Outcome { loss, adversarial }, stats })
    }

    /// The forwards of the objective, its loss, and the way back: leaves the gradients in `moving.grads` and `moving.heads`.
    /// What its forwards would move the running statistics by comes behind `met`.
    fn learn(
        &self,
        moving: &mut Moving,
        of: &dyn Fn(Forward) -> Result<Images, StepError>,
        targets: &Targets,
        met: &mut Vec<BatchStats>,
    ) -> Result<(Said, f64), StepError> {
        let (mut answers, mut said) = (Vec::<Answer>::new(), Said::default());
        let mapped = self.objective.needs_in(targets.epoch).teacher.maps;
        for forward in self.objective.forwards(targets.epoch) {
            // Under the batch's own statistics the same images get the same answer. All that a second forward does is to
            // move the running statistics again.
            let known = answers.iter().position(|answer| answer.forward == forward);
            let place = known.unwrap_or(answers.len());
            if known.is_none() {
                let taps = if mapped.contains(&forward) { self.taps().student.as_slice() } else { &[] };
                answers.push(self.answer(&moving.params, forward, &of(forward)?, taps)?);
            }
            let Answer { leaves, stats, .. } = &answers[place];
            met.push(stats.clone());
            let mut leaves = leaves.iter().map(|leaf| leaf.as_tensor().clone());
            said.push(forward, leaves.next().expect("logits come first"));
            if known.is_none() && mapped.contains(&forward) {
                said.push_maps(forward, leaves.collect());
            }
        }
        let loss = self.objective.loss(&said, targets)?;
        let value = loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            return Err(StepError::NotFinite(value));
        }
        let gradients = loss.backward()?;
        self.engine.clear(&mut moving.grads)?;
        for Answer { tape, leaves, .. } in answers {
            let seeds: Vec<_> = leaves.iter().map(|leaf| gradients.get(leaf.as_tensor()).cloned()).collect();
            // A forward may be there for its statistics alone, as the clean one of a loss that gives it no weight.
            if seeds.iter().any(Option::is_some) {
                self.engine.backward(tape, &seeds, Some(&mut moving.grads))?;
            }
        }
        moving.heads.take_gradients(&targets.heads, &gradients)?;
        Ok((said, value))
    }

    /// Has the other networks say what the objective needs and nobody said yet, of those images that are at hand.
    fn ask(
        &self,
        moving: &Moving,
        targets: &mut Targets,
        at_hand: &dyn Fn(Forward) -> Result<Option<Images>, StepError>,
    ) -> Result<(), StepError> {
        let needs = self.objective.needs_in(targets.epoch);
        let average = moving.average.as_ref().map_or(&moving.params, Average::params);
        let average = Victim::new(self.engine, self.network, average);
        for (said, about, network) in [
            (&mut targets.teacher, &needs.teacher.about, self.teacher),
            (&mut targets.second, &needs.second.about, self.second),
            (&mut targets.average, &needs.average, Some(average)),
        ] {
            for &forward in about {
                if !said.has(forward)
                    && let Some(images) = at_hand(forward)?
                {
                    let asked = network.expect("the trainer gives the networks that an objective asks");
                    said.push(forward, asked.logits(&images)?);
                }
            }
        }
        Ok(())
    }

    /// A training forward. Its statistics have moved nothing yet.
    fn answer(
        &self,
        params: &Params,
        forward: Forward,
        images: &Images,
        taps: &[NodeId],
    ) -> Result<Answer, StepError> {
        let (norm, keep) = (Norm::Batch, Keep::ForParams);
        let Pass { logits, taps, tape, stats } =
            self.engine.forward(self.network, params, images, norm, keep, taps)?;
        let outputs = std::iter::once(&logits).chain(&taps);
        let leaves = outputs.map(Var::from_tensor).collect::<Result<_, _>>()?;
        Ok(Answer { forward, leaves, tape, stats })
    }

    /// The second half: moves the weights by what lies in `moving.grads`, which others may have added to or scaled;
    /// then what follows the weights.
    pub fn apply(&self, moving: &mut Moving, rate: f64) -> Result<(), StepError> {
        let Moving { params, grads, sgd, heads, average, .. } = moving;
        sgd.step(self.engine, params, grads, rate)?;
        heads.step(sgd.descent(rate));
        if let Some(average) = average {
            average.follow(self.engine, params)?;
        }
        Ok(())
    }

    /// The images that the student's attack finds: in one call of the engine where the objective's attack has a target
    /// and nobody looks on, else step by step. What an attack on batch statistics met comes behind `met`.
    fn attack(
        &self,
        moving: &mut Moving,
        inner: Inner,
        images: &Images,
        targets: &Targets,
        met: &mut Vec<BatchStats>,
    ) -> Result<Images, StepError> {
        let Moving { params, memory, .. } = moving;
        let student = Victim { norm: inner.norm, ..Victim::new(self.engine, self.network, params) };
        let climbed = self.objective.needs_in(targets.epoch).teacher.climbed;
        let pgd = inner.pgd(self.threat, self.steps, self.step_size);
        let value = |answers: &Answers| self.objective.attack_loss(answers, targets);
        let starts = Starts {
            seed: self.seed,
            purpose: Purpose::Start,
            epoch: targets.epoch.number,
            images: &targets.places,
        };
        if inner.norm == Norm::Running && !climbed && !self.objective.watches() {
            let target = self.objective.attack_target(targets, self.network.classes())?;
            if let Some(target) = target {
                return Ok(pgd.flee(&student, &target, images, &starts)?);
            }
        }
        let teacher =
            climbed.then(|| self.teacher.expect("the trainer gives a teacher to an attack on both"));
        let mut watch = |at: &At| {
            if inner.norm == Norm::Batch {
                met.push(at.stats.clone());
            }
            if self.objective.watches() { self.objective.watch(at, targets, memory) } else { Ok(()) }
        };
        Ok(pgd.perturb(&Field { student, teacher, value: &value }, images, &starts, &mut watch)?)
    }
}

/// Opposites x - (x' - x) of adversarial images x'. They may leave the pixel range.
fn opposite(clean: &Images, adversarial: &Images) -> Result<Images, EngineError> {
    let clean = clean.tensor()?;
    Ok((clean - (adversarial.tensor()? - clean)?)?.into())
}
