//! Writing: what a label set is to be, and the session that brings it about.

mod finish;
mod publish;
pub(crate) mod session;
pub(crate) mod spec;
mod work;
