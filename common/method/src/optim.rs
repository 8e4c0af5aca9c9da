//! Stochastic gradient descent: its settings, and its velocity wherever the engine keeps it.

use engine::params::{Arena, Values};
use engine::{Descent, Engine, EngineError, Grads, Params};

/// SGD with momentum and weight decay on every parameter, BatchNorm and biases included.
///
/// `velocity = momentum * velocity + gradient + weight_decay * parameter; parameter -= rate * velocity`; with Nesterov's
/// step `parameter -= rate * (gradient + weight_decay * parameter + momentum * velocity)`, as PyTorch's
/// `SGD(nesterov=True)`. PyTorch's first step sets the velocity to the gradient, which starting from zero gives too.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// Share of the old velocity that is kept.
    pub momentum: f64,
    /// Pull towards zero, added to the gradient.
    pub weight_decay: f64,
    /// Whether a step looks ahead along the new velocity.
    pub nesterov: bool,
    velocity: Values,
}

impl Sgd {
    /// At rest, without Nesterov's step.
    pub fn new(params: &Params, momentum: f64, weight_decay: f64) -> Self {
        let velocity = Values::zeros(params.layout().trainable_len(), params.precision());
        Self { momentum, weight_decay, nesterov: false, velocity }
    }

    /// The same with Nesterov's step, or without.
    #[must_use]
    pub fn nesterov(self, nesterov: bool) -> Self {
        Self { nesterov, ..self }
    }

    /// The velocity, laid out as the parameters: what a checkpoint keeps.
    pub fn velocity(&self) -> &Arena {
        self.velocity.host()
    }

    /// The velocity, to restore it.
    pub fn velocity_mut(&mut self) -> &mut Arena {
        self.velocity.host_mut()
    }

    /// What a step with this learning rate does, without its velocity.
    pub fn descent(&self, rate: f64) -> Descent {
        let Self { momentum, weight_decay, nesterov, .. } = *self;
        Descent { momentum, weight_decay, rate, nesterov }
    }

    /// One step with this learning rate. Refuses parameters and gradients that it was not made for.
    pub fn step(
        &mut self,
        engine: &dyn Engine,
        params: &mut Params,
        grads: &Grads,
        rate: f64,
    ) -> Result<(), EngineError> {
        let by = self.descent(rate);
        engine.descend(params, grads, &mut self.velocity, by)
    }
}
