//! The content hash: the same for both forms of a label set, so that a conversion can be proven lossless.

use crate::row::column::{COLUMNS, Column, Per, Source};
use crate::row::digest::Hex;
use crate::row::dtype::Dtype;
use crate::row::features::Features;
use crate::shard::layout::version;
use crate::shard::rows::Shard;

/// Images whose rows are hashed together, counted from image 0. A range that stays as it is need not be read again to hash
/// a label set that has it.
const RANGE: u64 = 1024;

/// BLAKE3 of `rslad-labels-1`, the dtype (`F16` or `F32`), K (u32), then the BLAKE3 of each range of [`RANGE`] images: per row
/// image u64, view u16, label i32, logits; all little-endian, logits in their stored type. With feature maps it begins with
/// `rslad-labels-2`, after K come their dtype, their number, and of each the length of its name (u32), its name and its
/// shape (u32 each), and each row ends with them. Which columns a row brings, the table of columns says.
pub(crate) struct ContentHasher {
    ranges: blake3::Hasher,
    rows: blake3::Hasher,
    /// The range that `rows` are of.
    range: u64,
}

impl ContentHasher {
    pub fn new(dtype: Dtype, classes: usize, features: Option<&Features>) -> ContentHasher {
        let name = |dtype| match dtype {
            Dtype::F16 => b"F16",
            Dtype::F32 => b"F32",
        };
        let mut head = format!("rslad-labels-{}", version(features.is_some())).into_bytes();
        head.extend(name(dtype));
        head.extend((classes as u32).to_le_bytes());
        if let Some(Features { dtype, maps }) = features {
            head.extend(name(*dtype));
            head.extend((maps.len() as u32).to_le_bytes());
            for map in maps {
                head.extend((map.module.len() as u32).to_le_bytes());
                head.extend(map.module.as_bytes());
                head.extend(map.shape.into_iter().flat_map(u32::to_le_bytes));
            }
        }
        let mut ranges = blake3::Hasher::new();
        ranges.update(&head);
        ContentHasher { ranges, rows: blake3::Hasher::new(), range: 0 }
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
            if image / RANGE != self.range {
                self.rows.update(&buffer);
                buffer.clear();
                self.close();
                self.range = image / RANGE;
            }
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
                self.rows.update(&buffer);
                buffer.clear();
            }
        }
        self.rows.update(&buffer);
    }

    /// The hash of a range joins the others.
    fn close(&mut self) {
        self.ranges.update(self.rows.finalize().as_bytes());
        self.rows.reset();
    }

    pub fn finish(mut self) -> Hex {
        self.close();
        Hex(self.ranges.finalize().into())
    }
}
