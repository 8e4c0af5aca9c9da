//! The content hash: the same for both forms of a label set, so that a conversion can be proven lossless.

use crate::row::digest::Hex;
use crate::row::dtype::Dtype;
use crate::shard::rows::Shard;

/// BLAKE3 of `rslad-labels-1`, the dtype (`F16` or `F32`), K (u32), then per row: image u64, view u16, label i32, logits;
/// all little-endian, logits in their stored type.
pub(crate) struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    pub fn new(dtype: Dtype, classes: usize) -> ContentHasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"rslad-labels-1");
        hasher.update(match dtype {
            Dtype::F16 => b"F16",
            Dtype::F32 => b"F32",
        });
        hasher.update(&(classes as u32).to_le_bytes());
        ContentHasher(hasher)
    }

    /// Adds a shard's rows; shards must come in order.
    pub fn add(&mut self, shard: &Shard) {
        let row_bytes = shard.layout.classes * shard.layout.dtype.size();
        let logits = shard.logit_bytes();
        // Many rows at a time: BLAKE3 is fast on long inputs alone.
        let mut buffer = Vec::with_capacity((1 << 18) + 14 + row_bytes);
        for (row, image, view, label) in shard.rows() {
            buffer.extend_from_slice(&image.to_le_bytes());
            buffer.extend_from_slice(&view.to_le_bytes());
            buffer.extend_from_slice(&label.to_le_bytes());
            buffer.extend_from_slice(&logits[row * row_bytes..][..row_bytes]);
            if buffer.len() >= 1 << 18 {
                self.0.update(&buffer);
                buffer.clear();
            }
        }
        self.0.update(&buffer);
    }

    pub fn finish(self) -> Hex {
        Hex(self.0.finalize().into())
    }
}
