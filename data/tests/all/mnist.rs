use std::fs;
use std::io::Write;
use std::path::Path;

use data::{ImageShape, Split};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{counts, golden, load, pixel, published, refusal, sha256};

/// From NumPy on the unpacked files; each position differs from its transpose.
#[test]
fn published_mnist_has_the_pixels_and_labels_that_numpy_reads() {
    let Some(folder) = published("mnist") else { return };
    let train = load("mnist", &folder, Split::Train).unwrap();
    assert_eq!((train.len(), train.shape()), (60_000, ImageShape::new(28, 28, 1)));
    assert_eq!(counts(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!((pixel(&train, 0, 5, 17), pixel(&train, 0, 17, 5)), (&[136][..], &[0][..]));
    assert_eq!((pixel(&train, 3, 14, 16), pixel(&train, 3, 16, 14)), (&[23][..], &[251][..]));
    assert_eq!(pixel(&train, 59_999, 7, 14), [97]);
    assert_eq!(sha256(train.images()), "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757");

    let test = load("mnist", &folder, Split::Test).unwrap();
    assert_eq!(counts(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    assert_eq!((pixel(&test, 3, 5, 12), pixel(&test, 3, 12, 5)), (&[37][..], &[0][..]));
    assert_eq!(sha256(test.images()), "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161");
}

#[test]
fn plain_and_gzipped_idx_hold_the_same_dataset() {
    let pixels = fs::read(golden("mnist.u8")).unwrap();
    // The packed files lie in torchvision's raw/.
    for form in ["plain", "packed"] {
        for split in [Split::Train, Split::Test] {
            let dataset = load("mnist", &golden("mnist").join(form), split).unwrap();
            assert_eq!((dataset.images(), dataset.labels()), (&pixels[..], &[5, 0, 9][..]), "{form}");
            assert_eq!((dataset.classes(), dataset.class_names()[7].as_str()), (10, "7"));
        }
    }
}

/// Mirrors and browsers unpack files without renaming them.
#[test]
fn an_unpacked_file_that_is_still_called_gz_is_read() {
    let home = tempfile::tempdir().unwrap();
    for part in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        fs::copy(golden("mnist/plain").join(part), home.path().join(format!("{part}.gz"))).unwrap();
    }
    assert_eq!(load("mnist", home.path(), Split::Train).unwrap().labels(), [5, 0, 9]);
}

/// Three images and labels, of which a test damages one.
fn write(folder: &Path, images: &[u8], labels: &[u8]) {
    fs::write(folder.join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), labels).unwrap();
}

fn idx(sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(body);
    bytes
}

#[test]
fn each_kind_of_damage_has_its_message() {
    let labels = idx(&[2], &[1, 2]);
    let images = idx(&[2, 28, 28], &[7; 2 * 784]);
    let mut html = b"<!DOCTYPE html>".to_vec();
    html.resize(2_000, b' ');
    let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[7; 2 * 784]);
    let cases: [(&str, &[u8], &[u8], &str); 11] = [
        (
            "an HTML page",
            &html,
            &labels,
            "images-idx3-ubyte: wanted 00 00 08 03 at the start, found 3c 21 44 4f",
        ),
        (
            "labels as images",
            &labels,
            &labels,
            "images-idx3-ubyte: wanted 00 00 08 03 at the start, found 00 00 08 01",
        ),
        (
            "an empty file",
            b"",
            &labels,
            "images-idx3-ubyte: wanted 00 00 08 03 at the start, found an empty file",
        ),
        ("a cut header", &images[..9], &labels, "images-idx3-ubyte: wanted 16 bytes, found 9"),
        ("a cut body", &images[..1_000], &labels, "images-idx3-ubyte: wanted 1584 bytes, found 1000"),
        (
            "a long body",
            &[&images[..], &[0]].concat(),
            &labels,
            "images-idx3-ubyte: wanted 1584 bytes, found more",
        ),
        (
            "sizes beyond memory",
            &huge,
            &labels,
            "images-idx3-ubyte: wanted 18446744073709551615 bytes, found 1584",
        ),
        (
            "a side of 0",
            &idx(&[2, 0, 28], &[7; 2 * 784]),
            &labels,
            "images-idx3-ubyte: wanted images with pixels, found [2, 0, 28]: a side is 0",
        ),
        (
            "more labels",
            &images,
            &idx(&[3], &[1, 2, 3]),
            "labels-idx1-ubyte: wanted one label per image, found 2 images and 3",
        ),
        (
            "a label of 10",
            &images,
            &idx(&[2], &[1, 10]),
            "labels-idx1-ubyte: row 1: wanted a label in 0..10, found 10",
        ),
        (
            "no images",
            &idx(&[0, 28, 28], &[]),
            &idx(&[0], &[]),
            "wanted images in the train part, found none",
        ),
    ];
    for (name, images, labels, wanted) in cases {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), images, labels);
        let text = refusal("mnist", home.path(), Split::Train);
        assert!(text.contains(wanted), "{name}: {text}");
    }
}

#[test]
fn images_of_another_size_are_not_mnist() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), &idx(&[1, 28, 27], &[0; 28 * 27]), &idx(&[1], &[0]));
    let text = refusal("mnist", home.path(), Split::Train);
    assert!(text.contains("wanted an image of 28x28x1 (height x width x channels), found 28x27x1"), "{text}");
}

#[test]
fn damaged_gzip_is_named() {
    let home = tempfile::tempdir().unwrap();
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(&idx(&[2, 28, 28], &[7; 2 * 784])).unwrap();
    let whole = packer.finish().unwrap();
    let mut flipped = whole.clone();
    // The checksum stands in the last eight bytes.
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    for images in [&whole[..whole.len() - 9], &flipped, b"\x1f\x8bgarbage that is no stream"] {
        fs::write(home.path().join("train-images-idx3-ubyte.gz"), images).unwrap();
        fs::write(home.path().join("train-labels-idx1-ubyte.gz"), idx(&[2], &[1, 2])).unwrap();
        let text = refusal("mnist", home.path(), Split::Train);
        assert!(text.contains("train-images-idx3-ubyte.gz: not readable as gzip"), "{text}");
    }
}
