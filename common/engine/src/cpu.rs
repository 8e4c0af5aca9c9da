//! The fast CPU engine.

mod conv;
mod epilogue;
#[cfg(test)]
mod oracle;
mod simd;
mod tile;
