//! The fast CPU engine.

mod conv;
mod direct;
mod epilogue;
#[cfg(test)]
mod oracle;
mod simd;
mod tile;
