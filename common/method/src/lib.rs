//! The maths of attacks, objectives and judging, and the checkpoints that training leaves.

pub mod attack;
pub mod average;
pub mod awp;
pub mod checkpoint;
pub mod eval;
pub mod init;
pub mod objective;
pub mod optim;
pub mod options;
pub mod rng;
pub mod schedule;
pub mod soft;
pub mod swa;
pub mod taps;
pub mod threat;
pub mod transform;
pub mod view;
