//! The content hash: the same for both forms of a label set, so that a conversion can be proven lossless.

use crate::row::column::{COLUMNS, Column, Per, Source};
use crate::row::digest::Hex;
use crate::row::dtype::Dtype;
use crate::row::features::Features;
use crate::shard::layout::version;
use crate::shard::rows::Shard;

/// BLAKE3 of `rslad-labels-1`, the dtype (`F16` or `F32`), K (u32), then per row: image u64, view u16, label i32, logits;
/// all little-endian, logits in their stored type. With feature maps it begins with `rslad-labels-2`, after K come their
/// dtype, their number and their shapes (u32 each), and each row ends with them. Which columns a row brings, the table of
/// columns says.
pub(crate) struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    pub fn new(dtype: Dtype, classes: usize, features: Option<&Features>) -> ContentHasher {
        let name = |dtype| match dtype {
            Dtype::F16 => b"F16",
            Dtype::F32 => b"F32",
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("rslad-labels-{}", version(features.is_some())).as_bytes());
        hasher.update(name(dtype));
        hasher.update(&(classes as u32).to_le_bytes());
        if let Some(Features { dtype, maps }) = features {
            hasher.update(name(*dtype));
            hasher.update(&(maps.len() as u32).to_le_bytes());
            for side in maps.iter().flat_map(|map| map.shape) {
                hasher.update(&side.to_le_bytes());
            }
        }
        ContentHasher(hasher)
    }

    /// Adds a shard's rows; shards must come in order.
    pub fn add(&mut self, shard: &Shard) {
        // Many rows at a time: BLAKE3 is fast on long inputs alone.
        const PIECE: usize = 1 << 18;
        let mut buffer = Vec::with_capacity(2 * PIECE);
        let hashed: Vec<(&Column, Option<Per>)> = COLUMNS
            .into_iter()
            .filter_map(|column| match column.source {
                Source::Image => Some((column, None)),
                Source::Stored { per, hashed: true, .. } => Some((column, Some(per))),
                Source::Stored { hashed: false, .. } | Source::View(_) | Source::Answer => None,
            })
            .collect();
        for (row, image, _, _) in shard.rows() {
            let place = (image - shard.first_image) as usize;
            for &(column, per) in &hashed {
                let entry = match per {
                    None => {
                        buffer.extend_from_slice(&image.to_le_bytes());
                        continue;
                    }
                    Some(Per::Row) => row,
                    Some(Per::Image | Per::Border) => place,
                };
                buffer.extend_from_slice(shard.entries(column, entry..entry + 1));
            }
            if buffer.len() >= PIECE {
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
