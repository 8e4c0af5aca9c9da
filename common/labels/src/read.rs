//! Reading: a label set is opened, checked against a run's images, and looked up row by row.

mod beside;
pub(crate) mod check;
pub(crate) mod forms;
pub(crate) mod lookup;
pub(crate) mod note;
pub(crate) mod open;
mod reuse;
pub(crate) mod strangers;
mod survey;
mod team;
pub(crate) mod verify;
