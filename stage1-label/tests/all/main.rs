//! The command line of `label`, run as people run it: the real binary on the embedded sample, and on real data where
//! `RSLAD_DATA` names a folder that holds it.

mod append;
mod coded;
mod comparison;
mod cuda;
mod damage;
mod disk;
#[path = "../../../tests/src/emulated.rs"]
mod emulated;
mod engines;
mod fixture;
mod foreign;
mod html;
#[cfg(feature = "remote")]
mod hub;
#[cfg(feature = "remote")]
mod hub_push;
mod interrupt;
mod invocations;
mod merge;
mod network;
mod parts;
mod pytorch;
mod real;
#[cfg(feature = "remote")]
mod remote;
mod repair;
mod run;
mod sharing;
mod taps;
mod usage;
#[cfg(feature = "remote")]
mod web;
