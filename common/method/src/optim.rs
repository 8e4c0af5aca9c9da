//! Stochastic gradient descent on flat arenas.

use engine::params::{Arena, Float};
use engine::{Grads, Params};
use rayon::prelude::*;

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
    velocity: Arena,
}

impl Sgd {
    /// At rest.
    pub fn new(params: &Params, momentum: f64, weight_decay: f64) -> Self {
        let velocity = Arena::zeros(params.layout().trainable_len(), params.precision());
        Self { momentum, weight_decay, velocity }
    }

    /// The velocity, laid out as the parameters: what a checkpoint keeps.
    pub fn velocity(&self) -> &Arena {
        &self.velocity
    }

    /// The velocity, to restore it.
    pub fn velocity_mut(&mut self) -> &mut Arena {
        &mut self.velocity
    }

    /// One step with this learning rate.
    pub fn step(&mut self, params: &mut Params, grads: &Grads, rate: f64) {
        let (momentum, decay) = (self.momentum, self.weight_decay);
        match (params.trainable_mut(), grads.values(), &mut self.velocity) {
            (Arena::F32(p), Arena::F32(g), Arena::F32(v)) => update(p, g, v, momentum, decay, rate),
            (Arena::F64(p), Arena::F64(g), Arena::F64(v)) => update(p, g, v, momentum, decay, rate),
            _ => unreachable!("parameters, gradients and velocity are made in one precision"),
        }
    }
}

fn update<T: Float>(params: &mut [T], grads: &[T], velocity: &mut [T], momentum: f64, decay: f64, rate: f64) {
    const CHUNK: usize = 1 << 16;
    let (momentum, decay, rate) = (T::from_f64(momentum), T::from_f64(decay), T::from_f64(rate));
    let chunks =
        params.par_chunks_mut(CHUNK).zip(grads.par_chunks(CHUNK)).zip(velocity.par_chunks_mut(CHUNK));
    chunks.for_each(|((params, grads), velocity)| {
        for ((p, &g), v) in params.iter_mut().zip(grads).zip(velocity) {
            *v = momentum * *v + (g + decay * *p);
            *p = *p - rate * *v;
        }
    });
}
