//! The kernels, a file or folder for each: they know maps, shapes and vectors, and nothing of programs or slots.

pub(crate) mod choice;
pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod direct;
pub(crate) mod map;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod winograd;
