//! What kernels are written in: vectors of a register, register tiles, windows along an axis, aligned memory, and what
//! happens to a value on its way out.

pub(crate) mod axis;
pub(crate) mod epilogue;
pub(crate) mod memory;
mod pages;
pub(crate) mod pointwise;
pub(crate) mod simd;
pub(crate) mod tile;
pub(crate) mod transpose;

#[cfg(all(test, target_os = "linux"))]
mod huge;
