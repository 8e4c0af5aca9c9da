//! Stage two: trains a small student with PGD, from a label set or from a teacher run online, and judges it.

pub mod args;
pub mod bench;
pub mod config;
pub mod error;
pub mod evaluate;
pub mod folder;
pub mod progress;
pub mod select;
pub mod source;
pub mod step;
pub mod train;
