//! One training step: attack the student, run its forwards, go back, move the weights.

use candle_core::{Tensor, Var};
use engine::{Engine, EngineError, Grads, Keep, Network, Norm, Params};
use method::attack::{Answers, Field, Pgd, Starts, Victim};
use method::objective::{Forward, Objective, Targets};
use method::optim::Sgd;
use method::rng::Purpose;

/// What stays the same over a run's steps.
pub struct TrainStep<'a> {
    /// What runs the student.
    pub engine: &'a dyn Engine,
    /// The student.
    pub network: &'a Network,
    /// What it learns.
    pub objective: &'a dyn Objective,
    /// How it is attacked; its start is the objective's.
    pub attack: Option<Pgd>,
    /// Keys the attack's starts.
    pub seed: u64,
}

/// What one step learns from.
pub struct Batch {
    /// The views `(N, C, H, W)`, pixels in [0, 1].
    pub images: Tensor,
    /// Hard labels `(N,)`, u32.
    pub labels: Tensor,
    /// The teacher's logits `(N, K)` on these views, where the objective needs them.
    pub teacher: Option<Tensor>,
    /// Each image's index in the data set: keys its start.
    pub places: Vec<usize>,
    /// The epoch, from 0.
    pub epoch: usize,
}

/// What moves.
pub struct Moving {
    /// The student's values.
    pub params: Params,
    /// Their gradients, a buffer.
    pub grads: Grads,
    /// The optimiser.
    pub sgd: Sgd,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The student or the teacher could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The loss is infinite or not a number.
    #[error("the loss is {0}\nhint: lower --set lr=.., or check the data and the teacher")]
    NotFinite(f64),
    /// The weights or the logits that they give are infinite or not numbers.
    #[error(
        "the training diverged: weights or logits are not finite\nhint: lower --set lr=.., or check the data and the teacher"
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
    pub adversarial: Option<Tensor>,
}

impl TrainStep<'_> {
    /// One step at learning rate `rate`.
    ///
    /// The attack runs under running statistics and leaves them alone. Each forward of the objective then uses the
    /// batch's own statistics and moves the running ones, in the objective's order.
    pub fn run(&self, moving: &mut Moving, batch: Batch, rate: f64) -> Result<Outcome, StepError> {
        let Batch { images, labels, teacher, places, epoch } = batch;
        let victim = Victim::new(self.engine, self.network, &moving.params);
        let own_clean = if self.objective.attacks_own_clean() { Some(victim.logits(&images)?) } else { None };
        let targets = Targets { labels, teacher, own_clean };
        let adversarial = match &self.attack {
            None => None,
            Some(pgd) => {
                let starts = Starts { seed: self.seed, purpose: Purpose::Start, epoch, images: &places };
                let value = |answers: &Answers| self.objective.attack_loss(&answers.student, &targets);
                let field = Field { student: victim, teacher: None, value: &value };
                Some(pgd.perturb(&field, &images, &starts, &mut |_| Ok(()))?)
            }
        };

        let mut tapes = Vec::new();
        let mut leaves = Vec::new();
        for forward in self.objective.forwards() {
            let input = match forward {
                Forward::Clean => &images,
                Forward::Adversarial => {
                    adversarial.as_ref().expect("an objective with adversarial forwards attacks")
                }
            };
            let pass = self.engine.forward(
                self.network,
                &moving.params,
                input,
                Norm::Batch,
                Keep::ForParams,
                &[],
            )?;
            pass.stats.update(self.network, &mut moving.params);
            tapes.push(pass.tape);
            leaves.push(Var::from_tensor(&pass.logits)?);
        }
        let logits: Vec<Tensor> = leaves.iter().map(|leaf| leaf.as_tensor().clone()).collect();
        let loss = self.objective.loss(&logits, &targets)?;
        let value = loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            return Err(StepError::NotFinite(value));
        }
        let gradients = loss.backward()?;
        moving.grads.clear();
        for (tape, leaf) in tapes.into_iter().zip(&leaves) {
            let seed = gradients.get(leaf.as_tensor()).cloned();
            self.engine.backward(tape, &[seed], Some(&mut moving.grads))?;
        }
        moving.sgd.step(&mut moving.params, &moving.grads, rate);
        Ok(Outcome { loss: value, adversarial })
    }
}
