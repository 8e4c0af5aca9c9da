//! Stage two: trains a small student with PGD, from a label set or from a teacher run online, and judges it.

pub mod step;
