//! Weights in and out: the files other people's networks arrive in, and the one form we write.
//!
//! [`read`] turns a `.safetensors` file or a PyTorch checkpoint (the zip form, and the bare pickle from
//! before PyTorch 1.6) into a [`StateDict`]: PyTorch's names, shapes and little-endian values, nothing of any
//! network yet. [`fit`] lays a state dict against the names and shapes a network wants and lists every
//! disagreement at once. [`write()`] publishes tensors as safetensors with reproducible bytes.
//!
//! Checkpoints are programs for a pickle machine, and files come from strangers: nothing in them is executed,
//! and no size they declare is believed before it is compared with the file (see [`pickle`]).

mod error;
mod file;
mod fit;
mod foreign;
mod kind;
mod nesting;
pub mod npy;
pub mod pickle;
mod safetensors;
mod state;
mod strided;
mod tensor_call;
mod torch;
mod torch_legacy;
mod torch_zip;
mod write;

pub use error::{Problem, WeightsError};
pub use file::WeightsFile;
pub use fit::{Mismatch, Misshapen, Wanted, fit};
pub use kind::{Kind, kind_of};
pub use state::{Dtype, StateDict, TensorData};
pub use write::{Entry, blake3_of_file, write};

use std::path::Path;

/// The state dict in a weights file.
///
/// The form is decided by content, never by the file's suffix. A state dict nested under `state_dict`, `net`,
/// `model`, `last` or `best` is found (in this order, also nested twice), and what lies beside it is ignored;
/// the names on the way are in [`StateDict::nesting`]. Prefixes that every tensor carries (`module.` of
/// `DataParallel`, `model.` of a wrapper, `_orig_mod.` of `torch.compile`) are removed, also when repeated.
///
/// Memory: at most the file, plus eight times its length and 16 MiB for tensors that share storages.
///
/// Errors: [`WeightsError::Io`] where the file cannot be read; [`WeightsError::Content`] where it is
/// something else (a web page, a git-lfs pointer, a compressed file), damaged, or holds what cannot be read
/// without executing it.
pub fn read(path: &Path) -> Result<StateDict, WeightsError> {
    WeightsFile::read(path)?.decode()
}

/// The state dict in the bytes of a weights file: [`read`] for weights that are already in memory.
pub fn decode(bytes: &[u8]) -> Result<StateDict, Problem> {
    let mut state = if safetensors::looks_like(bytes) {
        safetensors::decode(bytes)?
    } else if torch_zip::looks_like(bytes) {
        torch_zip::decode(bytes)?
    } else if torch_legacy::looks_like(bytes) {
        torch_legacy::decode(bytes)?
    } else {
        return Err(foreign::recognise(bytes));
    };
    state.strip_prefixes();
    Ok(state)
}

#[cfg(test)]
mod tests;
