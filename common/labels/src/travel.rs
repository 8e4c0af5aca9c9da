//! Travelling: what of a published label set is sent to other places, and the folder in which one arrives. Where it
//! lies in between, and how it is moved, is nothing that this crate knows.

pub(crate) mod arriving;
pub(crate) mod incoming;
pub(crate) mod outgoing;
