//! A weights file in memory, before anything in it is believed.

use std::path::Path;

use super::checkpoint::Checkpoint;
use super::error::{Problem, WeightsError};
use super::foreign::is_onnx;
use super::onnx::Model;

/// The bytes of a weights file, and their digest: whoever asks for certain weights can refuse others before they are
/// decoded, and what was hashed is what is decoded.
pub struct WeightsFile {
    path: String,
    bytes: Vec<u8>,
    blake3: blake3::Hash,
}

impl WeightsFile {
    /// Reads a file, once, and hashes what was read.
    ///
    /// Errors: [`WeightsError::Io`] where the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let failed = |source| WeightsError::Io { path: path.display().to_string(), doing: "read", source };
        // A pipe or a device would block or never end; its length could not bound what we allocate.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            let kind = std::io::ErrorKind::InvalidInput;
            return Err(failed(std::io::Error::new(kind, "not a regular file")));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let blake3 = blake3::hash(&bytes);
        Ok(Self { path: path.display().to_string(), bytes, blake3 })
    }

    /// The path, as errors show it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// BLAKE3 of the file's bytes.
    pub fn blake3(&self) -> blake3::Hash {
        self.blake3
    }

    /// Lists what the file holds.
    ///
    /// Errors: [`WeightsError::Content`].
    pub fn open(&self) -> Result<Checkpoint<'_>, WeightsError> {
        Checkpoint::open(&self.bytes).map_err(|problem| self.refuse(problem))
    }

    /// What is wrong with this file's content.
    pub fn refuse(&self, problem: Problem) -> WeightsError {
        WeightsError::Content { path: self.path.clone(), problem }
    }

    /// Whether it begins as an ONNX model does.
    pub fn is_onnx(&self) -> bool {
        is_onnx(&self.bytes)
    }

    /// What it says as an ONNX model, with the tensors that lie in files beside it; and the digest of it all, which is
    /// [`WeightsFile::blake3`] where no other file belongs to it.
    pub fn model(&self) -> Result<(Model, blake3::Hash), WeightsError> {
        let mut model = Model::decode(&self.bytes).map_err(|problem| self.refuse(problem))?;
        let beside = model.gather(Path::new(&self.path))?;
        if beside.is_empty() {
            return Ok((model, self.blake3));
        }
        let mut all = blake3::Hasher::new();
        all.update(self.blake3.as_bytes());
        for (_, digest) in beside {
            all.update(digest.as_bytes());
        }
        Ok((model, all.finalize()))
    }
}
