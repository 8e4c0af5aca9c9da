//! Writing: what a label set is to be, and the session that brings it about.

pub(crate) mod answers;
pub(crate) mod finish;
pub(crate) mod join;
pub(crate) mod publish;
pub(crate) mod repair;
mod room;
pub(crate) mod session;
pub(crate) mod spec;
pub(crate) mod stock;
mod whose;
pub(crate) mod work;
