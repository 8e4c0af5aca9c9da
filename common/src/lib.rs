//! What both stages share: the maths of attacks and objectives, weight files and checkpoints, and judging.

pub mod attack;
pub mod checkpoint;
pub mod eval;
pub mod model;
pub mod objective;
pub mod optim;
pub mod rng;
pub mod schedule;
pub mod soft;
pub mod suggest;
pub mod threat;
pub mod view;
pub mod weights;
