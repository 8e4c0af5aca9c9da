//! Writing: what a label set is to be, and the session that brings it about.

pub(crate) mod answers;
mod finish;
mod publish;
mod room;
pub(crate) mod session;
pub(crate) mod spec;
mod work;
