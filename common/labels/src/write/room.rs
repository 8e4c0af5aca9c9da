//! Whether the disk can hold what is still to be written, looked at before a teacher works for days.

use std::path::Path;

use crate::error::{Error, Result};
use crate::write::session::Session;

impl Session {
    /// Refuses a disk that is certainly too small.
    pub(crate) fn require_room(&self) -> Result<()> {
        require_free(&self.dir, self.least_bytes())
    }

    /// The least that the pending shards can take. Safetensors have the size that they have; Parquet is compressed, and
    /// logits have never been seen to shrink to half; feature maps may be mostly zeros. The answers to a shard are kept until it is written.
    fn least_bytes(&self) -> u64 {
        let (mut shards, mut answers) = (0u64, 0);
        for job in self.pending() {
            let layout = self.layout(&job);
            if self.spec.form.has_safetensors() {
                let tensors = layout.data_len().expect("shards that are to be written have a size");
                shards += (layout.header().len() + tensors) as u64;
            }
            if self.spec.form.has_parquet() {
                let maps = layout.features * layout.floats.features.size();
                shards += (job.rows.len() * (layout.row_bytes() - maps)) as u64 / 2;
            }
            let values = (job.rows.len() * layout.kept()) as u64;
            answers = values.max(answers);
        }
        shards + 4 * answers
    }
}

/// Refuses a disk with less than so many bytes free.
pub(crate) fn require_free(dir: &Path, wanted: u64) -> Result<()> {
    let Some(found) = disk::free_space(dir) else { return Ok(()) };
    if wanted <= found {
        return Ok(());
    }
    // What the system would say, later.
    let source = rustix::io::Errno::NOSPC.into();
    Err(Error::NoRoom { dir: dir.into(), wanted, found, source })
}
