//! The `distill` binary as its users run it.

mod bench;
mod compare;
mod cuda;
#[path = "../../../tests/src/emulated.rs"]
mod emulated;
mod evaluation;
mod export;
mod fixture;
mod interruption;
mod invocations;
mod lost;
mod parts;
mod peers;
mod published_attacks;
mod refusals;
mod report;
mod shared_evaluation;
mod shared_labels;
mod streams;
mod sweep;
