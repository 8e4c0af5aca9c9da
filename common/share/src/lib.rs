//! Label sets that travel: from a folder to a place that others can read, and back.
//!
//! A [`Location`] is a URL. [`open`] gives the [`Store`] behind it, which knows nothing of label sets; [`push`] and
//! [`pull`] know what a label set is and nothing of stores. Folders (`file://`) are always there; object stores, web
//! servers and the Hugging Face Hub take the feature `remote`.

mod cache;
mod error;
mod fetching;
mod folder;
mod location;
mod pull;
mod push;
mod redact;
#[cfg(feature = "remote")]
mod remote;
mod store;

pub use cache::{cache_folder, cached};
pub use error::{Error, Result};
pub use folder::Folder;
pub use location::{Location, Scheme};
pub use pull::{Pulled, Wanted, pull, pull_from};
pub use push::{Pushed, push, push_to};
pub use redact::redacted;
pub use store::{Found, Source, Store, Watch, open};
