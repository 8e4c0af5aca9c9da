//! Where the forms of weights files keep their bytes.

use std::borrow::Cow;

use super::error::Problem;

/// How a file holds the bytes of its storages.
pub(super) trait Storages {
    /// The file's form, for messages.
    fn form(&self) -> &'static str;
    /// Whether numbers have their most significant byte first.
    fn big_endian(&self) -> bool;
    /// The bytes of a storage, which the tensor says are `wanted`: more or fewer are an error.
    fn bytes(&mut self, key: &str, wanted: usize) -> Result<Cow<'_, [u8]>, Problem>;
}
