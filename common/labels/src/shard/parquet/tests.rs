//! What is written is what is read, and only its own rows are a twin's.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::row::coding::Coding;
use crate::row::column::LOGITS;
use crate::row::dtype::Dtype;
use crate::row::views::Views;

/// 4,200 images with one row of 300 halves each.
fn shard() -> Shard {
    let layout = Layout::new([4200, 4200], Coding::new(300, Dtype::F16, None, None));
    let mut shard = Shard::blank(layout, 8);
    for (image, offset) in shard.offsets_mut().iter_mut().enumerate() {
        *offset = image as u64;
    }
    let answers: Vec<f32> = (0..4200 * 300).map(|at: u64| (at * 7919 % 4001) as f32 / 16.0).collect();
    shard.fill(&answers, None).unwrap();
    shard
}

fn written(shard: &Shard, group: usize, piece: usize) -> Vec<u8> {
    let mut file = Vec::new();
    encode(shard, Augment::NONE, [group, piece], &mut file).unwrap();
    file
}

#[test]
fn pieces_leave_the_bytes_as_they_are_and_groups_have_the_bytes_that_they_may() {
    let shard = shard();
    let whole = written(&shard, GROUP_BYTES, usize::MAX);
    // Four rows of 300 values begin before the library looks.
    assert_eq!(
        [300 * 2047, 300 * 2048, 300 * 100].map(|values| piece_rows(&shard.layout, values)),
        [1024, 2048, 100]
    );
    assert!(written(&shard, GROUP_BYTES, 300 * 2048) == whole);
    let groups = |file: &[u8]| -> Vec<i64> {
        let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).unwrap();
        reader
            .metadata()
            .row_groups()
            .iter()
            .map(parquet::file::metadata::RowGroupMetaData::num_rows)
            .collect()
    };
    assert_eq!(groups(&whole), [4200]);
    let bounded = written(&shard, 600 * 1500, 300 * 7);
    assert_eq!(groups(&bounded), [1500, 1500, 1200]);
    for file in [whole, bounded] {
        let mut storage = Storage::zeroed(file.len());
        storage.owned_mut().copy_from_slice(&file);
        let read = read(Path::new("shard"), storage, shard.layout, 8, Augment::NONE).unwrap();
        assert!(read.bytes() == shard.bytes());
    }
}

/// So many images with one or two rows each, of six classes.
fn small(coding: Coding, images: usize) -> Shard {
    let begins: Vec<u64> = (0..=images as u64).map(|image| image + image / 2).collect();
    let rows = begins[images] as usize;
    let mut shard = Shard::blank(Layout::new([images, rows], coding), 8);
    shard.offsets_mut().copy_from_slice(&begins);
    for image in 0..images {
        shard.labels_mut()[image] = image as i32 % 6;
        shard.hashes_mut()[image] = [image as u8; 16];
        let rows = begins[image] as usize..begins[image + 1] as usize;
        for (id, view) in shard.views_mut()[rows].iter_mut().enumerate() {
            *view = id as u16;
        }
    }
    let logits: Vec<f32> = (0..rows * 6).map(|at| (at * 7919 % 4001) as f32 / 16.0).collect();
    shard.fill(&coding.keep(&logits).unwrap(), None).unwrap();
    shard
}

/// A Parquet shard of one batch of rows, of which a column has other bytes in its last entry.
fn with_another(shard: &Shard, augment: Augment, other: Option<&Column>) -> Vec<u8> {
    let schema = Arc::new(schema(&shard.layout));
    let rows = batch(shard, augment, &schema, 0, shard.rows()).unwrap();
    let columns = held(&shard.layout).zip(rows.columns()).map(|(column, array)| {
        let mut bytes = cells::bytes(column, &shard.layout, array).to_vec();
        let last = bytes.len() - shard.layout.entry(column);
        bytes[last] ^= u8::from(other.is_some_and(|other| other.name == column.name));
        cells::array(column, &shard.layout, Buffer::from_slice_ref(&bytes)).unwrap()
    });
    let rows = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

/// Whether a Parquet file of these bytes is the twin of a shard.
fn same_in(dir: &Path, shard: &Shard, augment: Augment, bytes: &[u8]) -> Result<bool> {
    let [mapped, path] = ["mapped", "parquet"].map(|name| dir.join(name));
    std::fs::write(&mapped, shard.bytes()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let [mapped_file, file] = [&mapped, &path].map(|path| File::open(path).unwrap());
    let open = || {
        let source = (&mapped_file, shard.bytes().len() as u64);
        let twin = Reading::open(&mapped, source, shard.layout)?;
        Ok((twin.heads(8, augment, Views::Plan { epochs: 2, seed: 0 })?, twin))
    };
    is_twin(&path, (file, bytes.len() as u64), (shard.layout, augment), open, || Ok(()))
}

#[test]
fn a_twin_is_compared_to_its_last_row_through_windows_and_batches() {
    let (dir, shard) = (tempfile::tempdir().unwrap(), shard());
    let same =
        |other| same_in(dir.path(), &shard, Augment::NONE, &with_another(&shard, Augment::NONE, other));
    assert!(shard.layout.window() < shard.layout.together(BATCH_ROWS, BATCH_BYTES));
    assert!(shard.layout.together(BATCH_ROWS, BATCH_BYTES) < shard.layout.rows / 2);
    assert!(same(None).unwrap());
    assert!(!same(Some(&LOGITS)).unwrap());
}

#[test]
fn a_twin_has_every_entry_of_every_column_and_no_row_less() {
    let dir = tempfile::tempdir().unwrap();
    let augment: Augment = "flip".parse().unwrap();
    let codings =
        [(Dtype::F16, None), (Dtype::F32, None), (Dtype::U8, None), (Dtype::F16, NonZeroU32::new(2))];
    let mut seen = BTreeSet::new();
    for (dtype, top) in codings {
        let shard = small(Coding::new(6, dtype, top, None), 40);
        let same = |bytes: &[u8]| same_in(dir.path(), &shard, augment, bytes);
        let whole = with_another(&shard, augment, None);
        assert!(same(&whole).unwrap());
        let written = |shard: &Shard| {
            let mut file = Vec::new();
            write(shard, augment, &mut file).unwrap();
            file
        };
        assert!(same(&written(&shard)).unwrap());
        for column in held(&shard.layout) {
            assert!(!same(&with_another(&shard, augment, Some(column))).unwrap(), "{}", column.name);
            seen.insert(column.name);
        }
        assert!(same(&whole[..whole.len() - 9]).is_err());
        assert!(same(&written(&small(shard.layout.coding, 39))).is_err());
        // A row more than its footer says, in Thrift: the field of rows, and that of row groups behind it.
        let mut more = with_another(&small(shard.layout.coding, 41), augment, None);
        let said = more.windows(3).rposition(|bytes| bytes == [0x16, 2 * 61, 0x19]).unwrap();
        more[said + 1] = 2 * 60;
        assert!(!same(&more).unwrap_or(false));
    }
    // What a manifest promises is held against the file before its twin is looked at.
    let layout = Layout::new([40, 1 << 40], Coding::new(6, Dtype::F16, None, None));
    let file = File::open(dir.path().join("parquet")).unwrap();
    let open = || panic!("the twin was opened");
    let refused = is_twin(Path::new("shard"), (file, 1000), (layout, augment), open, || Ok(()));
    assert!(refused.unwrap_err().to_string().contains("rows that fit in 1000 bytes of Parquet"));
    let all = COLUMNS.iter().filter(|column| column.parquet != Parquet::Absent);
    let missed: Vec<&str> = all.map(|column| column.name).filter(|name| !seen.contains(name)).collect();
    assert_eq!(missed, ["features"]);
}
