//! The fast CPU engine.

mod axis;
mod conv;
mod depthwise;
mod direct;
mod epilogue;
mod map;
mod norm;
#[cfg(test)]
mod oracle;
mod pointwise;
mod pool;
mod simd;
mod tile;
mod winograd;
