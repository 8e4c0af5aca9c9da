//! Writing: what a label set is to be, and the session that brings it about.

pub(crate) mod answers;
pub(crate) mod finish;
mod publish;
pub(crate) mod repair;
mod room;
pub(crate) mod session;
pub(crate) mod spec;
mod stock;
mod work;
