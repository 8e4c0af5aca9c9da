//! JPEGs in every coding that Pillow writes, cut short, damaged, and turned.

use std::fs;
use std::path::PathBuf;

use data::{DataError, Dataset, Split};

use crate::{golden, load};

const WAYS: [&str; 10] = [
    "whole",
    "halved",
    "wide",
    "progressive",
    "fine",
    "restarts",
    "rows",
    "optimal",
    "grey",
    "grey_progressive",
];

fn odd(path: &str) -> PathBuf {
    golden("odd").join(path)
}

/// Where the first scan's codes begin.
fn scan_of(whole: &[u8]) -> usize {
    let marker = whole.windows(2).position(|pair| pair == b"\xff\xda").unwrap();
    marker + 2 + usize::from(u16::from_be_bytes([whole[marker + 2], whole[marker + 3]]))
}

/// Reads JPEGs from a Parquet file: one row each.
fn read(encoded: &[&[u8]]) -> Result<Dataset, DataError> {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
    let home = tempfile::tempdir().unwrap();
    let columns: [(&str, ArrayRef); 2] = [
        ("image", Arc::new(BinaryArray::from_iter_values(encoded))),
        ("label", Arc::new(Int64Array::from(vec![0; encoded.len()]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(home.path().join("train.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    load("parquet", home.path(), Split::Train)
}

fn farthest(ours: &[u8], theirs: &[u8]) -> u8 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Decoders round differently, and differ more where they interpolate halved colours.
#[test]
fn every_coding_is_read_nearly_as_pillow_reads_it() {
    for way in WAYS {
        let encoded = fs::read(odd(&format!("jpeg/{way}.jpg"))).unwrap();
        let dataset = read(&[&encoded]).unwrap_or_else(|error| panic!("{way}: {error}"));
        let distance = farthest(dataset.images(), &fs::read(odd(&format!("jpeg/{way}.u8"))).unwrap());
        assert!(distance <= 4, "{way}: {distance}");
    }
}

/// Pillow refuses each of these, too: "image file is truncated".
#[test]
fn a_jpeg_is_refused_wherever_it_is_cut() {
    for way in WAYS {
        let whole = fs::read(odd(&format!("jpeg/{way}.jpg"))).unwrap();
        for cut in (4..whole.len()).step_by(23).chain([whole.len() - 2, whole.len() - 1]) {
            let outcome = read(&[&whole, &whole[..cut]]);
            let text = outcome.expect_err("a JPEG that lacks its end").to_string();
            assert!(
                text.contains("row 1: wanted an 8-bit grey or RGB PNG or JPEG"),
                "{way} at {cut}: {text}"
            );
        }
        // With its end put back, the codes run out.
        let scan = scan_of(&whole);
        for share in [3, 5, 8] {
            let ended = [&whole[..scan + (whole.len() - scan) * share / 10], b"\xff\xd9"].concat();
            assert!(read(&[&ended]).is_err(), "{way}: {share} tenths and an end");
        }
    }
}

/// A bit of a colour is another colour, and codes fall into step again: of single flipped bits a quarter is seen. Of
/// stretches that something else was written over, nearly all.
#[test]
fn nearly_every_stretch_that_is_written_over_is_seen() {
    let (mut seen, mut tried) = (0, 0);
    for way in WAYS {
        let whole = fs::read(odd(&format!("jpeg/{way}.jpg"))).unwrap();
        for at in (scan_of(&whole)..whole.len() - 40).step_by(37) {
            let mut damaged = whole.clone();
            for (place, byte) in damaged[at..at + 32].iter_mut().enumerate() {
                *byte = (place as u8).wrapping_mul(73) ^ 0x5a;
            }
            seen += usize::from(read(&[&damaged]).is_err());
            tried += 1;
        }
    }
    assert!(tried > 200 && 100 * seen >= 85 * tried, "{seen} of {tried}");
}

#[test]
fn bytes_that_harm_nothing_are_passed_over() {
    let whole = fs::read(odd("jpeg/whole.jpg")).unwrap();
    let pixels = read(&[&whole]).unwrap().images().to_vec();
    let table = whole.windows(2).position(|pair| pair == b"\xff\xdb").unwrap();
    let end = whole.len() - 2;
    let harmless = [
        ("bytes between headers", [&whole[..table], b"\x00\x01\x02junk", &whole[table..]].concat()),
        ("fill bytes", [&whole[..table], b"\xff\xff\xff", &whole[table..]].concat()),
        ("zeros after the scan", [&whole[..end], &[0; 9], &whole[end..]].concat()),
        ("fill bytes before the end", [&whole[..end], b"\xff\xff", &whole[end..]].concat()),
        ("another image after the end", [&whole[..], &whole[..]].concat()),
        ("a comment", [&whole[..table], b"\xff\xfe\x00\x05abc", &whole[table..]].concat()),
    ];
    for (what, encoded) in harmless {
        let dataset = read(&[&encoded]).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(dataset.images(), pixels, "{what}");
    }
}

#[test]
fn inks_are_no_colours() {
    let text = read(&[&fs::read(odd("jpeg/inks.jpg")).unwrap()]).unwrap_err().to_string();
    assert!(text.contains("found pixels of kind Cmyk8"), "{text}");
}

/// The chunk may stand behind the pixels, where Pillow finds it, too.
#[test]
fn a_png_is_turned_wherever_its_exif_stands() {
    use arrow_array::cast::AsArray;
    let file = fs::File::open(odd("turned/png/train.parquet")).unwrap();
    let batches =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build();
    let batch = batches.unwrap().next().unwrap().unwrap();
    let stored = batch.column(0).as_struct().column_by_name("bytes").unwrap().clone();
    let png = stored.as_binary::<i32>().value(5);
    let at = png.windows(4).position(|kind| kind == b"eXIf").unwrap() - 4;
    let length = 12 + u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let (before, chunk, behind) = (&png[..at], &png[at..at + length], &png[at + length..]);
    let (behind, end) = behind.split_at(behind.len() - 12);
    let moved = [before, behind, chunk, end].concat();
    assert_eq!(read(&[&moved]).unwrap().images(), read(&[png]).unwrap().images());
    assert_ne!(read(&[&[before, behind, end].concat()]).unwrap().images(), read(&[png]).unwrap().images());
}

/// Expected pixels are Pillow's `exif_transpose`, which `datasets` applies. A PNG has one decoding.
#[test]
fn images_are_turned_as_their_exif_or_xmp_says() {
    for (form, allowed) in [("png", 0), ("jpeg", 3)] {
        let dataset = load("parquet", &odd("turned").join(form), Split::Train).unwrap();
        let pillow = fs::read(odd(&format!("turned/{form}.u8"))).unwrap();
        for image in 0..dataset.len() {
            let values = dataset.shape().values();
            let distance = farthest(dataset.pixels(image), &pillow[image * values..][..values]);
            assert!(distance <= allowed, "{form} {}: {distance}", image + 1);
        }
        assert_ne!(dataset.pixels(0), dataset.pixels(5), "orientation 6 is not as stored");
    }
}
