//! Data as people have it: files of `golden/make_odd.py` and such as are damaged here on purpose.

use std::fs;
use std::path::Path;

use data::{DataError, Dataset, ImageShape, Split};

use crate::{golden, load, refusal};

fn odd(path: &str) -> std::path::PathBuf {
    golden("odd").join(path)
}

fn train(folder: &str) -> Result<Dataset, DataError> {
    load("parquet", &odd(folder), Split::Train)
}

fn small() -> Vec<u8> {
    fs::read(odd("small.u8")).unwrap()
}

#[test]
fn every_codec_that_pyarrow_writes_is_read() {
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"] {
        let dataset = train(&format!("codec/{codec}")).unwrap_or_else(|error| panic!("{codec}: {error}"));
        assert_eq!((dataset.images(), dataset.labels()), (&small()[..], &[2, 0, 1, 0][..]), "{codec}");
    }
}

#[test]
fn dictionaries_of_labels_and_of_images_are_read_and_their_nulls_and_words_refused() {
    assert_eq!(train("folded").unwrap().labels(), [2, 0, 1, 0]);
    let images = train("folded_images").unwrap();
    assert_eq!(images.images(), [small(), small()[..105].to_vec()].concat());
    let text = refusal("parquet", &odd("folded_null"), Split::Train);
    assert!(text.contains("row 2: wanted a value in `label`, found null"), "{text}");
    let text = refusal("parquet", &odd("folded_words"), Split::Train);
    assert!(text.contains("wanted integers in column label, found Dictionary(Int32, Utf8)"), "{text}");
}

/// Pillow's `convert("RGB")` makes three equal channels of a grey one.
#[test]
fn grey_images_among_colour_get_three_channels_and_that_is_said() {
    let dataset = train("mixed").unwrap();
    assert_eq!(dataset.shape(), ImageShape::new(5, 7, 3));
    assert_eq!(dataset.images(), fs::read(odd("mixed.u8")).unwrap());
    assert_eq!(dataset.notes(), ["2 of 4 images are grey among colour; each got three equal channels"]);
    assert_eq!(train("codec/none").unwrap().notes(), [""; 0]);
}

#[test]
fn encrypted_parquet_is_called_by_its_name() {
    for folder in ["encrypted", "encrypted_columns"] {
        let text = refusal("parquet", &odd(folder), Split::Train);
        assert!(text.contains("encrypted") && !text.contains("cut short"), "{text}");
    }
}

/// A checksum of a page, where a writer made one, is held against the page.
#[test]
fn a_flipped_bit_under_a_pages_checksum_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let whole = fs::read(odd("checked/train.parquet")).unwrap();
    assert_eq!(load("parquet", &odd("checked"), Split::Train).unwrap().len(), 4);
    let mut flipped = whole.clone();
    // Inside the first image's bytes, which PNG's own checksum guards, too; then inside the labels.
    let labels: Vec<u8> = [2_i64, 0, 1].iter().flat_map(|label| label.to_le_bytes()).collect();
    let at = whole.windows(labels.len()).position(|window| window == labels).expect("labels lie plain");
    flipped[at] = 1;
    fs::write(home.path().join("train.parquet"), flipped).unwrap();
    let text = refusal("parquet", home.path(), Split::Train);
    assert!(text.contains("wanted Parquet that can be read, found damaged"), "{text}");
}

#[test]
fn class_names_in_another_order_are_refused_between_shards_and_between_parts() {
    let text = refusal("parquet", &odd("shards"), Split::Train);
    let wanted = "train-00001-of-00002.parquet: class 0 is `c`, in train-00000-of-00002.parquet it is `a`";
    assert!(text.contains(wanted), "{text}");
    for (split, wanted) in [
        (Split::Train, "test.parquet: class 0 is `c`, in train.parquet it is `a`"),
        (Split::Test, "train.parquet: class 0 is `a`, in test.parquet it is `c`"),
    ] {
        let text = refusal("parquet", &odd("parts"), split);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn a_part_that_lacks_a_class_has_the_classes_of_both() {
    for (split, images) in [(Split::Train, 4), (Split::Test, 1)] {
        let dataset = load("parquet", &odd("lacking"), split).unwrap();
        assert_eq!((dataset.len(), dataset.classes()), (images, 3), "{split}");
    }
}

/// What is wrong with a part is for those who ask for it.
#[test]
fn a_damaged_other_part_harms_no_reading_of_this_one() {
    let home = tempfile::tempdir().unwrap();
    fs::copy(odd("lacking/train.parquet"), home.path().join("train.parquet")).unwrap();
    for other in [&b"PAR1 and no more"[..], b"", b"\x93NUMPY"] {
        fs::write(home.path().join("test.parquet"), other).unwrap();
        assert_eq!(load("parquet", home.path(), Split::Train).unwrap().classes(), 3);
        refusal("parquet", home.path(), Split::Test);
    }
}

/// Puts copies of one file under these names into a new folder.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for name in names {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(odd("codec/none/train.parquet"), path).unwrap();
    }
    home
}

#[test]
fn a_set_of_shards_is_whole_and_alone() {
    let (a, b) =
        ("train-00000-of-00002-0a1b2c3d4e5f6071.parquet", "train-00001-of-00002-ffeeddccbbaa0099.parquet");
    let cases: [(&[&str], &str); 11] = [
        // Half of it.
        (&[a], "part train-00001-of-00002-*.parquet is missing"),
        (&[b], "part train-00000-of-00002-*.parquet is missing"),
        (
            &["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"],
            "train-00001-of-00003.parquet is missing",
        ),
        (&["train/0000.parquet", "train/0002.parquet"], "part 0001.parquet is missing"),
        (&["train/00001-of-00002.parquet"], "part 00000-of-00002.parquet is missing"),
        // Twice the whole.
        (
            &["train.parquet", "train-00000-of-00001.parquet"],
            "train-00000-of-00001.parquet beside train.parquet",
        ),
        (&["train-00000-of-00001.parquet", "train-00000-of-00001 (1).parquet"], "beside"),
        (&["train-00000-of-00001.parquet", a, b], "train-00000-of-00001.parquet beside train-0000"),
        (&[a, b, "train-00000-of-00002-1111111111111111.parquet"], "beside train-00000-of-00002-1"),
        (&["train.parquet", "train/0000.parquet"], "found train.parquet beside train/0000.parquet"),
        (&["train.parquet", "train-copy.parquet"], "found train.parquet beside train-copy.parquet"),
    ];
    for (names, wanted) in cases {
        let home = folder(names);
        let text = refusal("parquet", home.path(), Split::Train);
        assert!(text.contains(wanted), "{names:?}: {text}");
    }
    for names in [
        &[a, b][..],
        &["train/0000.parquet"],
        &["train-0.parquet", "train-1.parquet"],
        &["data/train_a.parquet"],
        &["default/train/0000.parquet"],
    ] {
        let home = folder(names);
        let dataset = load("parquet", home.path(), Split::Train).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(dataset.len(), 4 * names.len(), "{names:?}");
    }
}

#[test]
fn files_that_begin_with_a_dot_are_nobodys_business() {
    let home = folder(&["train/0000.parquet"]);
    fs::write(home.path().join("train/._0000.parquet"), [0, 5, 0x16, 7]).unwrap();
    fs::write(home.path().join(".DS_Store"), "").unwrap();
    assert_eq!(load("parquet", home.path(), Split::Train).unwrap().len(), 4);
    let text = refusal("parquet", home.path(), Split::Test);
    assert!(text.ends_with("the folder holds train"), "{text}");
}

/// Two copies under names that nobody could tell from shards.
#[test]
fn the_same_images_twice_are_refused() {
    let images = |copies: usize| {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("set.npz");
        let mut zip = zip::ZipWriter::new(fs::File::create(&file).unwrap());
        let pixels: Vec<u8> =
            (0..40 * 48_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let labels: Vec<u8> = (0..40).map(|image| image % 7).collect();
        for (name, shape, one) in
            [("images", vec![40 * copies, 4, 4, 3], pixels), ("labels", vec![40 * copies], labels)]
        {
            use std::io::Write;
            zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&weights::npy::head("|u1", &shape)).unwrap();
            zip.write_all(&one.repeat(copies)).unwrap();
        }
        zip.finish().unwrap();
        (home, file)
    };
    let (_home, once) = images(1);
    assert_eq!(load("npz", &once, Split::Train).unwrap().len(), 40);
    let (_home, twice) = images(2);
    let text = refusal("npz", &twice, Split::Train);
    assert!(text.contains("wanted 40 images, found the same 40 images and labels twice"), "{text}");
}

#[test]
fn arrays_that_are_no_plain_numbers_or_have_no_pixels_are_called_by_name() {
    let cases = [
        ("objects.npz", "images.npy: wanted an array of numbers, found an object array: pickled"),
        ("object_labels.npz", "labels.npy: wanted an array of numbers, found an object array: pickled"),
        ("named_fields.npz", "labels.npy: wanted a plain array, found another"),
        ("no_height.npz", "images.npy: wanted images with pixels, found [4, 3, 0, 7]: a side is 0"),
        ("no_width.npz", "images.npy: wanted images with pixels, found [4, 5, 0, 3]: a side is 0"),
        ("largest.npz", "labels.npy: row 2: wanted a label in 0..3, found 9223372036854775807"),
        ("alone/gaussian_noise.npy", "found a NumPy array (.npy) alone\nhint: save images and labels"),
    ];
    for (name, wanted) in cases {
        let text = refusal("npz", &odd(name), Split::Train);
        assert!(text.contains(wanted) && !text.contains("download it again"), "{text}");
    }
}

/// CIFAR-10-C keeps one array for each corruption and `labels.npy` for all.
#[test]
fn an_array_with_labels_beside_it_is_read_for_either_part() {
    for split in [Split::Train, Split::Test] {
        let dataset = load("npz", &odd("corrupted/gaussian_noise.npy"), split).unwrap();
        assert_eq!((dataset.images(), dataset.labels()), (&small()[..], &[2, 0, 1, 0][..]));
    }
}

/// How files begin that `SciPy`, h5py, onnx, a shell and git-lfs wrote; each under a name that a reader asks for.
#[test]
fn files_of_another_form_are_called_by_name_and_never_cut_short() {
    let forms: [(&[u8], &str); 7] = [
        (b"MATLAB 5.0 MAT-file Platform: posix, Created on", "a MATLAB file (.mat)"),
        (b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08\x00", "an HDF5 file (.h5)"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "an ONNX model"),
        (b"\x1f\x8b\x08\x00 and so on", "a gzip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><title>Sign in</title>", "an HTML page"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'", "a NumPy array (.npy)"),
    ];
    let places = [
        ("npz", "set.npz"),
        ("parquet", "train.parquet"),
        ("cifar10", "test_batch.bin"),
        ("cifar10", "test_batch"),
    ];
    for (bytes, name) in forms {
        for (dataset, file) in places {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join(file);
            fs::write(&path, bytes).unwrap();
            let place: &Path = if dataset == "npz" { &path } else { home.path() };
            let split = if file == "train.parquet" { Split::Train } else { Split::Test };
            let text = refusal(dataset, place, split);
            assert!(text.contains(name) && !text.contains("cut short"), "{file}: {text}");
        }
    }
}

/// The file with another footer: its rows, and the values of each column, as many as are claimed.
fn forged(whole: &[u8], rows: i64, values: i64) -> Vec<u8> {
    use parquet::file::metadata::{
        FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
    };
    let found = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(whole)).unwrap();
    let file = found.file_metadata();
    let file = FileMetaData::new(file.version(), rows, None, None, file.schema_descr_ptr(), None);
    let group = found.row_group(0).clone().into_builder().set_num_rows(rows);
    let columns = found.row_group(0).columns().iter();
    let columns = columns.map(|column| column.clone().into_builder().set_num_values(values).build().unwrap());
    let group = group.set_column_metadata(columns.collect()).build().unwrap();
    let metadata = ParquetMetaDataBuilder::new(file).add_row_group(group).build();
    let mut out = whole[..whole.len() - 8].to_vec();
    ParquetMetaDataWriter::new(&mut out, &metadata).finish().unwrap();
    out
}

#[test]
fn rows_that_only_the_footer_has_take_no_time_and_no_memory() {
    let whole = fs::read(odd("codec/none/train.parquet")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("train.parquet");
    fs::write(&path, forged(&whole, 4, 4)).unwrap();
    assert_eq!(
        load("parquet", home.path(), Split::Train).unwrap().images(),
        small(),
        "the footer is a right one"
    );
    for (rows, values) in [
        (i64::MAX, 4),
        (i64::MAX, i64::MAX),
        (4, i64::MAX),
        (-1, 4),
        (i64::MIN, -1),
        (5, 5),
        (1 << 40, 1 << 40),
    ] {
        fs::write(&path, forged(&whole, rows, values)).unwrap();
        match load("parquet", home.path(), Split::Train) {
            Ok(dataset) => assert_eq!(dataset.images(), small(), "{rows} {values}"),
            Err(error) => assert!(error.to_string().contains("train.parquet"), "{rows} {values}: {error}"),
        }
    }
}
