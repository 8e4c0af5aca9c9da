//! The content hash: the same for both forms of a label set, so that a conversion can be proven lossless.

use crate::row::coding::Coding;
use crate::row::column::{ANSWERS, COLUMNS, LABEL, Source, VIEW};
use crate::row::digest::Hex;
use crate::row::dtype::Dtype;
use crate::row::features::Features;
use crate::shard::rows::Shard;
use crate::shard::window::{RowHead, Window};

/// Images whose rows are hashed together, counted from image 0. A range that stays as it is need not be read again to hash
/// a label set that has it.
const RANGE: u64 = 1024;
/// The columns that enter the hash behind the image's number, by their places: what [`ShardContent::add`] writes.
const HASHED: [usize; 2] = [VIEW.place(), LABEL.place()];
const _: () = {
    let (mut found, mut at) = (0usize, 0);
    while at < COLUMNS.len() {
        if let Source::Stored { place, hashed: true, .. } = COLUMNS[at].source {
            let answer = found.saturating_sub(HASHED.len());
            let wanted = if found < HASHED.len() { HASHED[found] } else { ANSWERS[answer].place() };
            assert!(place == wanted, "the table of columns says another order");
            found += 1;
        }
        at += 1;
    }
    assert!(found == HASHED.len() + ANSWERS.len());
};
/// Bytes hashed together: BLAKE3 is fast on long inputs alone.
const PIECE: usize = 1 << 17;

/// BLAKE3 of `rslad-labels-1`, the dtype (`F16` or `F32`), K (u32), then the BLAKE3 of each range of [`RANGE`] images: per row
/// image u64, view u16, label i32, logits; all little-endian, logits in their stored type. With feature maps it begins with
/// `rslad-labels-2`, after K come their dtype, their number, and of each the length of its name (u32), its name and its
/// shape (u32 each), and each row ends with them. Where not all logits are floats it begins with `rslad-labels-3` and `F16`, `F32`
/// or `U8`, behind K comes N (u32), 0 where there are codes, and a row has all that is stored of it. The table of columns says the same.
#[derive(Clone)]
pub(crate) struct ContentHasher {
    ranges: blake3::Hasher,
    rows: blake3::Hasher,
}

impl ContentHasher {
    pub fn new(coding: Coding, features: Option<&Features>) -> ContentHasher {
        let name = |dtype: Dtype| dtype.to_string().to_uppercase().into_bytes();
        let mut head = format!("rslad-labels-{}", coding.version()).into_bytes();
        head.extend(name(coding.dtype()));
        head.extend((coding.classes as u32).to_le_bytes());
        if !coding.is_plain() {
            head.extend((coding.top as u32).to_le_bytes());
        }
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
        ContentHasher { ranges, rows: blake3::Hasher::new() }
    }

    /// Adds a shard's rows; shards must come in order.
    pub fn add(&mut self, shard: &Shard) {
        let mut content = ShardContent::after(self.begun(), shard.first_image);
        shard.windows(|window| content.add(window));
        self.join(content);
    }

    /// The hash of the last range as it stands after the shards so far.
    pub fn begun(&self) -> blake3::Hasher {
        self.rows.clone()
    }

    /// Adds the rows of the next shard, hashed apart.
    pub fn join(&mut self, mut shard: ShardContent) {
        shard.flush();
        match shard.first {
            First::Joined(rows) => self.rows = rows,
            First::Waiting(rows) => _ = self.rows.update(&rows),
        }
        if let Some(last) = shard.last {
            self.close();
            self.ranges.update(&shard.closed);
            self.rows = last;
        }
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

/// What a shard's rows bring to the content hash. Most shards begin in the middle of a range, and its rows wait for as long
/// as it is not known what they follow.
pub(crate) struct ShardContent {
    /// Rows of the current range, not hashed yet.
    buffer: Vec<u8>,
    range: u64,
    first: First,
    /// Hashes of the ranges that begin and end here.
    closed: Vec<u8>,
    /// The last range that begins here.
    last: Option<blake3::Hasher>,
}

/// The rows of the range that the shard begins in.
#[allow(clippy::large_enum_variant, reason = "a thread has one")]
enum First {
    Joined(blake3::Hasher),
    Waiting(Vec<u8>),
}

impl ShardContent {
    /// Of the shard that begins with this image, after shards whose last range stands so.
    fn after(begun: blake3::Hasher, first_image: u64) -> ShardContent {
        ShardContent::new(First::Joined(begun), first_image)
    }

    /// Of the shard that begins with this image, whatever comes before.
    pub fn apart(first_image: u64) -> ShardContent {
        match first_image {
            0 => ShardContent::after(blake3::Hasher::new(), 0),
            _ => ShardContent::new(First::Waiting(Vec::new()), first_image),
        }
    }

    fn new(first: First, first_image: u64) -> ShardContent {
        // What comes before ends with the image before.
        let range = first_image.saturating_sub(1) / RANGE;
        ShardContent { buffer: Vec::with_capacity(2 * PIECE), range, first, closed: Vec::new(), last: None }
    }

    /// Adds the next rows.
    pub fn add(&mut self, window: &Window) {
        let held: Vec<(&[u8], usize)> =
            window.answers.into_iter().zip(window.sizes).filter(|(_, size)| *size > 0).collect();
        for (row, &RowHead { image, view, label, .. }) in window.heads.iter().enumerate() {
            if image / RANGE != self.range {
                self.close();
                self.range = image / RANGE;
            }
            let mut head = [0; 14];
            head[..8].copy_from_slice(&image.to_le_bytes());
            head[8..10].copy_from_slice(&view.to_le_bytes());
            head[10..].copy_from_slice(&label.to_le_bytes());
            self.buffer.extend_from_slice(&head);
            for &(entries, size) in &held {
                self.buffer.extend_from_slice(&entries[row * size..][..size]);
            }
            if self.buffer.len() >= PIECE {
                self.flush();
            }
        }
    }

    /// Bytes of rows that wait for what they follow.
    pub fn waiting(&self) -> usize {
        if let First::Waiting(rows) = &self.first { rows.len() } else { 0 }
    }

    /// Tells the rows that wait what they follow.
    pub fn follow(&mut self, mut begun: blake3::Hasher) {
        if let First::Waiting(rows) = &self.first {
            begun.update(rows);
            self.first = First::Joined(begun);
        }
    }

    fn flush(&mut self) {
        match (&mut self.last, &mut self.first) {
            (Some(rows), _) | (None, First::Joined(rows)) => _ = rows.update(&self.buffer),
            (None, First::Waiting(rows)) => rows.extend_from_slice(&self.buffer),
        }
        self.buffer.clear();
    }

    /// The current range ends, another begins.
    fn close(&mut self) {
        self.flush();
        let next = blake3::Hasher::new();
        if let Some(ended) = self.last.replace(next) {
            self.closed.extend_from_slice(ended.finalize().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::layout::Layout;

    /// Images of the whole set: three ranges and a part of a fourth.
    const IMAGES: u64 = 3500;

    fn coding() -> Coding {
        Coding::new(2, Dtype::F32, None, None)
    }

    /// So many images, with one to three rows each.
    fn shard(first: u64, images: u64) -> Shard {
        let rows = |image: u64| 1 + (first + image) % 3;
        let layout = Layout::new([images as usize, (0..images).map(rows).sum::<u64>() as usize], coding());
        let mut shard = Shard::blank(layout, first);
        let mut offset = 0;
        for image in 0..images {
            shard.offsets_mut()[image as usize] = offset;
            shard.labels_mut()[image as usize] = ((first + image) % 2) as i32;
            offset += rows(image);
        }
        shard.offsets_mut()[images as usize] = offset;
        let of_row: Vec<(usize, u64)> = shard.rows().map(|(row, image, ..)| (row, image)).collect();
        for &(row, image) in &of_row {
            shard.views_mut()[row] = (image % 7) as u16 + row as u16 % 3;
        }
        let answers: Vec<f32> =
            of_row.iter().flat_map(|&(row, image)| [image as f32, row as f32 + first as f32]).collect();
        shard.fill(&answers, None).unwrap();
        shard
    }

    /// As docs/label-set.md says it.
    fn by_hand(shards: &[Shard]) -> Hex {
        let mut ranges = vec![Vec::new(); IMAGES.div_ceil(1024) as usize];
        for shard in shards {
            for (row, image, view, label) in shard.rows() {
                let range = &mut ranges[image as usize / 1024];
                range.extend(image.to_le_bytes());
                range.extend(view.to_le_bytes());
                range.extend(label.to_le_bytes());
                range.extend(shard.logits(row).to_vec().into_iter().flat_map(f32::to_le_bytes));
            }
        }
        let mut all = b"rslad-labels-1F32\x02\0\0\0".to_vec();
        all.extend(ranges.iter().flat_map(|range| *blake3::hash(range).as_bytes()));
        Hex::blake3(&all)
    }

    #[test]
    fn shards_hashed_apart_join_to_the_hash_of_all_wherever_they_are_cut() {
        for images in [1, 300, 1000, 1024, 2048, 3000, IMAGES] {
            let shards: Vec<Shard> = (0..IMAGES)
                .step_by(images as usize)
                .map(|first| shard(first, images.min(IMAGES - first)))
                .collect();
            let wanted = by_hand(&shards);
            let new = || ContentHasher::new(coding(), None);
            let (mut added, mut joined, mut told) = (new(), new(), new());
            for shard in &shards {
                added.add(shard);
                let (mut apart, mut follows) = (ShardContent::apart(shard.first_image), true);
                shard.windows(|window| apart.add(window));
                joined.join(apart);
                let mut apart = ShardContent::apart(shard.first_image);
                shard.windows(|window| {
                    apart.add(window);
                    // Once only, and some rows late.
                    if std::mem::take(&mut follows) {
                        apart.follow(told.begun());
                    }
                });
                assert_eq!(apart.waiting(), 0);
                told.join(apart);
            }
            assert_eq!([added.finish(), joined.finish(), told.finish()], [wanted; 3], "{images}");
        }
    }
}
