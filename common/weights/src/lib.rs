//! Weights in and out: the files other people's networks arrive in, and the one form we write.
//!
//! [`WeightsFile::open`] lists what a `.safetensors` file or a PyTorch checkpoint (the zip form, and the bare pickle from
//! before PyTorch 1.6) holds: every mapping of tensors under PyTorch's names. [`Checkpoint::locate`] finds a network's
//! tensors in it, whatever they are nested in and prefixed with, and says what lies beside them. [`read`] takes a file
//! that is one state dict, as ours are, and [`fit`] lays it against what a network wants. [`write()`] publishes tensors
//! as safetensors with reproducible bytes. [`onnx`] reads and writes models that bring their graph along.
//!
//! Checkpoints are programs for a pickle machine, and files come from strangers: nothing in them is executed,
//! and no size they declare is believed before it is compared with the file (see [`pickle`]).

mod checkpoint;
mod error;
mod file;
mod fit;
mod foreign;
mod judge;
mod kept;
mod kind;
mod leftover;
mod locate;
mod nesting;
mod normaliser;
pub mod npy;
pub mod onnx;
mod part;
pub mod pickle;
mod safetensors;
mod spot;
mod state;
mod storages;
mod strided;
mod tensor_call;
mod torch;
mod torch_legacy;
mod torch_zip;
mod write;

pub use checkpoint::Checkpoint;
pub use error::{LocateError, Problem, WeightsError};
pub use file::WeightsFile;
pub use fit::{Mismatch, Misshapen, Wanted, fit};
pub use kind::{Kind, kind_of};
pub use locate::{Located, Sought};
pub use normaliser::Normaliser;
pub use spot::Spot;
pub use state::{Dtype, StateDict, TensorData};
pub use write::{Entry, blake3_of_file, write};

use std::path::Path;

/// The state dict in a weights file: of several mappings of tensors the largest, under its own names.
///
/// The form is decided by content, never by the file's suffix; the keys on the way are in [`StateDict::nesting`].
///
/// Memory: at most the file, plus eight times its length and 16 MiB for tensors that share storages.
///
/// Errors: [`WeightsError::Io`] where the file cannot be read; [`WeightsError::Content`] where it is
/// something else (a web page, a git-lfs pointer, a compressed file), damaged, or holds what cannot be read
/// without executing it.
pub fn read(path: &Path) -> Result<StateDict, WeightsError> {
    let file = WeightsFile::read(path)?;
    let read = || file.open()?.largest().map_err(|problem| file.refuse(problem));
    read()
}

/// The state dict in the bytes of a weights file: [`read`] for weights that are already in memory.
pub fn decode(bytes: &[u8]) -> Result<StateDict, Problem> {
    Checkpoint::open(bytes)?.largest()
}

#[cfg(test)]
mod tests;
