use std::fs;

use data::{ImageShape, Split};

use crate::{golden, load, refusal};

#[test]
fn keras_arrays_are_read_and_classes_counted_over_both_splits() {
    let train = load("npz", &golden("keras.npz"), Split::Train).unwrap();
    assert_eq!(train.shape(), ImageShape::new(5, 7, 3));
    assert_eq!(train.images(), fs::read(golden("small.u8")).unwrap());
    assert_eq!((train.labels(), train.classes()), (&[2, 0, 1, 0][..], 4));
    let test = load("npz", &golden("keras.npz"), Split::Test).unwrap();
    assert_eq!((test.images(), test.labels(), test.classes()), (train.pixels(0), &[3][..], 4));
}

#[test]
fn planar_images_and_big_endian_labels_mean_the_same() {
    let dataset = load("npz", &golden("planar.npz"), Split::Train).unwrap();
    assert_eq!(dataset.shape(), ImageShape::new(5, 7, 3));
    assert_eq!(dataset.images(), fs::read(golden("small.u8")).unwrap());
    assert_eq!(dataset.labels(), [2, 0, 1, 0]);
}

#[test]
fn three_dimensions_are_grey_and_plain_names_serve_the_split_that_is_asked_for() {
    let colour = fs::read(golden("small.u8")).unwrap();
    let first_channel: Vec<u8> = colour.iter().step_by(3).copied().collect();
    for split in [Split::Train, Split::Test] {
        let dataset = load("npz", &golden("grey.npz"), split).unwrap();
        assert_eq!((dataset.shape(), dataset.images()), (ImageShape::new(5, 7, 1), &first_channel[..]));
    }
}

#[test]
fn arrays_that_cannot_be_images_or_labels_are_refused() {
    let cases = [
        ("float.npz", "float.npz/x_train.npy: wanted u8 images ('|u1'), found '<f8'"),
        (
            "ambiguous.npz",
            "ambiguous.npz/x_train.npy: wanted images of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, found [4, 3, 7, 3]",
        ),
        (
            "onehot.npz",
            "onehot.npz/y_train.npy: wanted integer labels of shape (N,) or (N, 1), found '|u1' [4, 4]",
        ),
        ("counts.npz", "counts.npz/y_train.npy: wanted one label per image, found 4 images and 3 labels"),
        ("negative.npz", "negative.npz/y_train.npy: row 1: wanted a label in 0..2, found -1"),
        ("fortran.npz", "fortran.npz/x_train.npy: wanted an array in C order, found Fortran order"),
        (
            "names.npz",
            "names.npz: wanted x_train + y_train, or train_images + train_labels, or images + labels, found pictures.npy",
        ),
        ("gone.npz", "gone.npz: wanted a file, found nothing"),
    ];
    for (name, wanted) in cases {
        let text = refusal("npz", &golden(name), Split::Train);
        assert!(text.contains(wanted), "{text}");
    }
    assert!(refusal("npz", &golden("cifar10"), Split::Train).contains("wanted a file, found a folder"));
    assert!(refusal("npz", &golden("planar.npz"), Split::Test).contains("wanted x_test + y_test"));
}

/// Stores one array under a header of the test's making; labels are those of four images.
fn with_header(version: u8, header: &[u8], length: &[u8], body: &[u8]) -> tempfile::TempPath {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut zip = zip::ZipWriter::new(file.as_file_mut());
    zip.start_file("images.npy", zip::write::SimpleFileOptions::default()).unwrap();
    for part in [b"\x93NUMPY", &[version, 0][..], length, header, body] {
        zip.write_all(part).unwrap();
    }
    zip.finish().unwrap();
    file.into_temp_path()
}

#[test]
fn a_header_cannot_claim_memory_or_overflow() {
    let header = |shape: &str| format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
    let claims = [
        ("(4, 2, 2)", "wanted 16 bytes, found 4"),
        ("(4294967296, 4294967296, 2)", "wanted more than there can be bytes, found 4"),
        ("(9999999999, 99999, 1)", "wanted 999989999900001 bytes, found 4"),
        ("(-1, 2, 2)", "the header has no `shape` of sizes"),
        ("4", "the header has no `shape` of sizes"),
    ];
    for (shape, wanted) in claims {
        let header = header(shape);
        let file = with_header(1, header.as_bytes(), &(header.len() as u16).to_le_bytes(), &[1; 4]);
        let text = refusal("npz", &file, Split::Train);
        assert!(text.contains(wanted), "{shape}: {text}");
    }
    let file = with_header(2, b"", &u32::MAX.to_le_bytes(), &[1; 4]);
    assert!(refusal("npz", &file, Split::Train).contains("the header is cut short"));
}
