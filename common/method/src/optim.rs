//! Stochastic gradient descent: its settings, and its velocity wherever the engine keeps it.

use engine::params::{Arena, Values};
use engine::{Descent, Engine, EngineError, Grads, Params};

/// SGD with momentum and weight decay on every parameter, BatchNorm and biases included, without Nesterov's step.
///
/// `velocity = momentum * velocity + gradient + weight_decay * parameter; parameter -= rate * velocity`. PyTorch's
/// first step sets the velocity to the gradient, which starting from zero gives too.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// Share of the old velocity that is kept.
    pub momentum: f64,
    /// Pull towards zero, added to the gradient.
    pub weight_decay: f64,
    velocity: Values,
}

impl Sgd {
    /// At rest.
    pub fn new(params: &Params, momentum: f64, weight_decay: f64) -> Self {
        let velocity = Values::zeros(params.layout().trainable_len(), params.precision());
        Self { momentum, weight_decay, velocity }
    }

    /// The velocity, laid out as the parameters: what a checkpoint keeps.
    pub fn velocity(&self) -> &Arena {
        self.velocity.host()
    }

    /// The velocity, to restore it.
    pub fn velocity_mut(&mut self) -> &mut Arena {
        self.velocity.host_mut()
    }

    /// One step with this learning rate. Refuses parameters and gradients that it was not made for.
    pub fn step(
        &mut self,
        engine: &dyn Engine,
        params: &mut Params,
        grads: &Grads,
        rate: f64,
    ) -> Result<(), EngineError> {
        let by = Descent { momentum: self.momentum, weight_decay: self.weight_decay, rate };
        engine.descend(params, grads, &mut self.velocity, by)
    }
}
