//! What a training step does besides passes through the network, in plain arithmetic on the host's memory.
//!
//! The engines whose memory is the host's use these functions as they are, so that [`Cpu`](crate::Cpu) and the
//! reference cannot differ here; every other engine is tested against them.

mod ascent;
mod attack;
mod climb;
mod slope;
mod train;

pub use ascent::ascend;
pub use attack::attack;
pub use climb::{climb, gather};
pub use train::{clear, descend, follow, move_statistics};

use candle_core::Tensor;

use crate::engine::{Engine, Keep, Norm};
use crate::error::EngineError;
use crate::graph::Network;
use crate::images::Images;
use crate::params::Params;

/// [`Engine::shift`] on the host.
pub fn shift(images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
    Ok((images.tensor()? + (offsets * by)?)?.into())
}

/// [`Engine::logits`] by a forward that keeps nothing.
pub fn logits(
    engine: &dyn Engine,
    network: &Network,
    params: &Params,
    images: &Images,
) -> Result<Tensor, EngineError> {
    Ok(engine.forward(network, params, images, Norm::Running, Keep::Nothing, &[])?.logits)
}
