//! What is stored of one row's answer: its entries in the columns that hold answers.

use std::ops::Range;

use half::f16;

use crate::row::coding::Coding;
use crate::row::column::{ANSWERS, CLASSES, CODES, Column, Element, LOGITS, LOST, LOW, REST, SCALE, TURNED};
use crate::row::dtype::Dtype;
use crate::row::logits::Logits;
use crate::shard::window::stored;

/// Entries of some rows in each of [`ANSWERS`], in that order; none in those that the label set does not hold.
pub(crate) type Entries<'a> = [&'a [u8]; ANSWERS.len()];

/// One row of a label set that keeps its answers so. Its bytes are aligned to their elements.
#[derive(Clone, Copy)]
pub(crate) struct AnswerRow<'a> {
    pub coding: &'a Coding,
    pub entries: Entries<'a>,
}

/// The place of a column among [`ANSWERS`].
const fn place(column: &Column) -> usize {
    let mut at = 0;
    while ANSWERS[at].place() != column.place() {
        at += 1;
    }
    at
}

impl<'a> AnswerRow<'a> {
    /// A row of these, whose entries have these sizes.
    pub fn of(coding: &'a Coding, all: &Entries<'a>, sizes: [usize; ANSWERS.len()], row: usize) -> Self {
        let mut entries = *all;
        for (entry, size) in entries.iter_mut().zip(sizes) {
            *entry = &entry[row * size..(row + 1) * size];
        }
        AnswerRow { coding, entries }
    }

    /// The logits of a row alone, as [`AnswerRow::of`] and [`AnswerRow::logits`] give them; most sets have no other column.
    #[inline]
    pub fn logits_of(
        coding: &'a Coding,
        all: &Entries<'a>,
        sizes: [usize; ANSWERS.len()],
        row: usize,
    ) -> Logits<'a> {
        if coding.is_plain() {
            let (logits, size) = (all[const { place(&LOGITS) }], sizes[const { place(&LOGITS) }]);
            return Logits::Plain(stored(&logits[row * size..(row + 1) * size], coding.floats.logits));
        }
        AnswerRow::of(coding, all, sizes, row).logits()
    }

    fn single(&self, place: usize) -> f32 {
        f32::from_le_bytes(self.entries[place].try_into().expect("it is held, and an f32"))
    }

    pub fn logits(&self) -> Logits<'a> {
        let dtype = self.coding.floats.logits;
        let floats = || stored(self.entries[const { place(&LOGITS) }], dtype);
        if dtype == Dtype::U8 {
            let [low, scale] = const { [place(&LOW), place(&SCALE)] }.map(|place| self.single(place));
            Logits::Codes { codes: self.entries[const { place(&CODES) }], low, scale }
        } else if self.coding.top > 0 {
            Logits::Top {
                logits: floats(),
                classes: bytemuck::cast_slice(self.entries[const { place(&CLASSES) }]),
                rest: self.single(const { place(&REST) }),
                of: self.coding.classes,
            }
        } else {
            Logits::Plain(floats())
        }
    }

    /// What storing it costs in billionths of a nat, and whether another class comes first; nothing where all logits are floats.
    pub fn lost(&self) -> Option<(u32, bool)> {
        let lost = self.entries[const { place(&LOST) }].try_into().ok().map(u32::from_le_bytes)?;
        Some((lost, self.entries[const { place(&TURNED) }] != [0]))
    }

    /// What is wrong with a row that is not plain: what, what is wanted, what is found.
    pub fn problem(&self, seen: &mut Vec<u64>) -> Option<[String; 3]> {
        let turned = self.entries[const { place(&TURNED) }];
        if turned.iter().any(|&flag| flag > 1) {
            return Some(["turned".into(), "0 or 1".into(), turned[0].to_string()]);
        }
        self.logits().problem(seen)
    }

    /// Writes it as it was kept before it was stored, [`Coding::kept`] numbers, or those without the feature maps.
    pub fn keep(&self, out: &mut [f32]) {
        let mut rest = out;
        for (column, bytes) in ANSWERS.iter().zip(self.entries) {
            let here;
            // Feature maps come last, and may not be wanted.
            (here, rest) = rest.split_at_mut(self.coding.numbers(column).min(rest.len()));
            if !here.is_empty() {
                read(column, self.coding, bytes, here);
            }
        }
    }
}

/// The numbers of an entry.
fn read(column: &Column, coding: &Coding, bytes: &[u8], out: &mut [f32]) {
    match column.element {
        Element::Float(which) => stored(bytes, which.dtype(coding.floats)).copy_to(out),
        Element::U32 => {
            for (out, half) in out.iter_mut().rev().zip(bytes.chunks_exact(2)) {
                *out = u16::from_le_bytes([half[0], half[1]]).into();
            }
        }
        Element::U16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = u16::from_le_bytes([bytes[0], bytes[1]]).into();
            }
        }
        _ => {
            for (out, &byte) in out.iter_mut().zip(bytes) {
                *out = byte.into();
            }
        }
    }
}

/// Stores the numbers of an entry; gives the first that its type cannot hold.
pub(crate) fn write(column: &Column, coding: &Coding, numbers: &[f32], out: &mut [u8]) -> Option<usize> {
    match column.element {
        Element::Float(which) if which.dtype(coding.floats) == Dtype::F16 => {
            let out: &mut [f16] = bytemuck::cast_slice_mut(out);
            for (out, &number) in out.iter_mut().zip(numbers) {
                *out = f16::from_f32(number);
            }
            out.iter().position(|value| !value.is_finite())
        }
        Element::Float(_) => {
            bytemuck::cast_slice_mut(out).copy_from_slice(numbers);
            numbers.iter().position(|value| !value.is_finite())
        }
        Element::U32 => {
            for (out, &half) in out.chunks_exact_mut(2).rev().zip(numbers) {
                out.copy_from_slice(&(half as u16).to_le_bytes());
            }
            None
        }
        Element::U16 => {
            for (out, &number) in out.chunks_exact_mut(2).zip(numbers) {
                out.copy_from_slice(&(number as u16).to_le_bytes());
            }
            None
        }
        _ => {
            for (out, &number) in out.iter_mut().zip(numbers) {
                *out = number as u8;
            }
            None
        }
    }
}

/// Where each of [`ANSWERS`] has its numbers in a row that is kept.
pub(crate) fn places(coding: &Coding) -> [Range<usize>; ANSWERS.len()] {
    let mut start = 0;
    ANSWERS.map(|column| {
        let place = start..start + coding.numbers(column);
        start = place.end;
        place
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::Path;

    use super::*;
    use crate::shard::layout::Layout;
    use crate::shard::rows::Shard;

    /// Two images of one row each, of three classes.
    fn shard(dtype: Dtype, top: u32) -> Shard {
        let coding = Coding::new(3, dtype, NonZeroU32::new(top), None);
        let mut shard = Shard::blank(Layout::new([2, 2], coding), 0);
        shard.offsets_mut().copy_from_slice(&[0, 1, 2]);
        let kept = coding.keep(&[5.96875, 13.9375, -2.0, 0.25, 0.1, 0.25]).unwrap().into_owned();
        shard.fill(&kept, None).unwrap();
        let mut again = vec![0.0; coding.kept()];
        for (row, kept) in kept.chunks_exact(coding.kept()).enumerate() {
            shard.answer(row).keep(&mut again);
            assert_eq!(again, kept);
        }
        shard
    }

    fn refused(shard: &Shard) -> Option<String> {
        Some(shard.check_answers(Path::new("shard"), None).err()?.to_string())
    }

    #[test]
    fn the_largest_and_codes_of_a_row_say_a_logit_of_every_class() {
        let top = shard(Dtype::F32, 2);
        assert_eq!(top.logits(0).to_vec(), [5.96875, 13.9375, -2.0]);
        assert_eq!((top.logits(0).argmax(), top.logits(1).argmax()), (1, 0));
        let codes = shard(Dtype::U8, 0);
        // A sixteenth a step: the first is 127.5 of them from -2, and of 127 and 128 the even one is taken.
        assert_eq!(codes.entries(&CODES, 0..1), [128, 255, 0]);
        // Both of the largest are 0.25, and the first of them comes first.
        assert_eq!(codes.entries(&CODES, 1..2), [255, 0, 255]);
        assert_eq!([refused(&top), refused(&codes)], [None, None]);
    }

    #[test]
    fn a_loss_in_two_halves_is_one_number() {
        let mut shard = shard(Dtype::U8, 0);
        let (lost, turned) = shard.answer(0).lost().unwrap();
        assert!(lost > 0 && !turned);
        let big = [1.0, 4.0, 2.0, 0.0, 0.0, 65_535.0, 65_534.0, 1.0];
        let coding = shard.layout.coding;
        let mut kept = vec![0.0; 2 * coding.kept()];
        kept[..8].copy_from_slice(&big);
        shard.fill(&kept, None).unwrap();
        assert_eq!(shard.answer(0).lost(), Some((u32::MAX - 1, true)));
        let mut again = [0.0; 8];
        shard.answer(0).keep(&mut again);
        assert_eq!(again.map(f32::to_bits), big.map(f32::to_bits));
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn rows_that_lie_are_refused_in_parquet_as_they_are_in_a_mapped_shard() {
        use crate::row::augment::Augment;
        use crate::shard::parquet;
        use crate::shard::storage::Storage;
        let lies: [(Dtype, &Column, &[u8]); 5] = [
            (Dtype::F32, &CLASSES, &[1, 0, 1, 0]),
            (Dtype::F32, &CLASSES, &[1, 0, 0xff, 0xff]),
            (Dtype::F32, &REST, &[0, 0, 0xc0, 0x7f]),
            (Dtype::U8, &SCALE, &[0, 0, 0xc0, 0x7f]),
            (Dtype::U8, &LOW, &[0, 0, 0x80, 0xff]),
        ];
        for (dtype, column, bytes) in lies {
            let mut lying = shard(dtype, if dtype == Dtype::U8 { 0 } else { 2 });
            lying.entries_mut(column, 0..1).copy_from_slice(bytes);
            let mut file = Vec::new();
            parquet::write(&lying, Augment::NONE, &mut file).unwrap();
            let mut storage = Storage::zeroed(file.len());
            storage.owned_mut().copy_from_slice(&file);
            let read = parquet::read(Path::new("shard"), storage, lying.layout, 0, Augment::NONE).unwrap();
            assert!(read.bytes() == lying.bytes());
            let wanted = refused(&lying);
            assert!(wanted.is_some(), "{}", column.name);
            assert_eq!(refused(&read), wanted);
            let mut found = None;
            read.windows(|window| found = found.take().or(window.bad_row()));
            let (row, problem) = found.unwrap();
            assert_eq!(Some(read.bad_row(Path::new("shard"), row, problem).to_string()), wanted);
        }
    }
}
