//! Networks as data, and the machines that run them.
//!
//! An architecture is a [`graph::Network`]: named nodes, no code. [`params::Params`] holds its values in flat
//! arenas under PyTorch's names. An [`Engine`] runs the one with the other and moves the values as a training step
//! does: [`Cpu`] fast, in f32; [`reference`](mod@reference) with plain candle operations and candle's autograd, in f32
//! or f64, is the truth that every faster engine is tested against. [`host`] has the plain version of all that is not a
//! pass through the network. This crate is the only home of unsafe maths.

mod check;
mod cpu;
mod cuda;
mod engine;
mod error;
pub mod graph;
pub mod host;
mod images;
mod kind;
pub mod params;
mod plan;
pub mod process;
pub mod reference;

pub use cpu::{Cpu, peak_gflops};
pub use cuda::{Cuda, Demand, DeviceError, Footprint, Room, Storage, Work};
pub use engine::{
    Ascent, AttackLoss, BatchStats, Descent, Engine, EngineRow, Hardware, Keep, Norm, Pass, Tape,
};
pub use error::EngineError;
pub use graph::{Network, NodeId, cost};
pub use images::Images;
pub use kind::{ENGINES, Kind, Start};
pub use params::{Grads, Params};
pub use reference::Reference;
