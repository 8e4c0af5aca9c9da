//! Reading: opening a published label set, comparing it with a run, looking rows up, verifying all of it.

pub(crate) mod check;
pub(crate) mod lookup;
pub(crate) mod open;
mod strangers;
pub(crate) mod verify;
