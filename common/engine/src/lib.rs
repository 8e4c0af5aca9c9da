//! Networks as data, and the machines that run them.
//!
//! An architecture is a [`graph::Network`]: named nodes, no code. [`params::Params`] holds its values in flat
//! arenas under PyTorch's names. An [`Engine`] runs the one with the other and moves the values as a training step
//! does: [`Cpu`] fast, in f32; [`reference`](mod@reference) with plain candle operations and candle's autograd, in f32
//! or f64, is the truth that every faster engine is tested against. [`host`] has the plain version of all that is not a
//! pass through the network. This crate is the only home of unsafe maths.
//!
//! A network, its values, and the gradient of an image under an engine:
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use engine::graph::{Builder, Conv2d, Op};
//! use engine::params::Precision;
//! use engine::{Cpu, Engine, Images, Keep, Norm, Params};
//!
//! // One channel of 4x4, a convolution with one kernel of ones, the mean over the map, one class.
//! let (mut builder, images) = Builder::new([1, 4, 4]);
//! let map = builder.conv("conv", Conv2d::new(1, 3).padding(1), images)?;
//! let mean = builder.node("pool", Op::GlobalAvgPool, &[map])?;
//! builder.linear("linear", 1, mean)?;
//! let network = builder.finish("example")?;
//!
//! let mut params = Params::zeros(network.layout(), Precision::F32);
//! for entry in network.layout().trainable().iter().filter(|entry| entry.name.ends_with("weight")) {
//!     params.trainable_mut().fill(entry.range.clone(), 1.0);
//! }
//!
//! let engine = Cpu::new(1)?;
//! let images: Images = Tensor::ones((1, 1, 4, 4), candle_core::DType::F32, &Device::Cpu)?.into();
//! let pass = engine.forward(&network, &params, &images, Norm::Running, Keep::ForImage, &[])?;
//! // Four pixels have 9 neighbours with themselves, eight have 6, four have 4: a hundred over sixteen.
//! assert_eq!(pass.logits.to_vec2::<f32>()?, [[6.25]]);
//! let seed = Tensor::ones((1, 1), candle_core::DType::F32, &Device::Cpu)?;
//! let gradient = engine.backward(pass.tape, &[Some(seed)], None)?.expect("it was asked for");
//! let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
//! // A corner is in four windows of sixteen, its neighbour in six. Fast convolutions round.
//! assert!((gradient[0] - 0.25).abs() < 1e-6 && (gradient[1] - 0.375).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod album;
mod check;
mod climb;
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

pub use album::{Album, Cutting, Shelf};
pub use climb::{Ball, Climbed, Climbers, Standing, Stride};
pub use cpu::{Cpu, InstructionSet, Outline, Stretch, peak_gflops};
pub use cuda::{Cuda, Demand, DeviceError, Footprint, Room, Storage, Work};
pub use engine::{
    Ascent, AttackLoss, BatchStats, Descent, Engine, EngineRow, Hardware, Keep, Norm, Pass, Tape,
};
pub use error::EngineError;
pub use graph::{Network, NodeId, cost};
pub use images::Images;
pub use kind::{ENGINES, Kind, Purpose, Start};
pub use params::{Grads, Params};
pub use reference::Reference;
