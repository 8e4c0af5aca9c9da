use std::fs;

use data::{DataError, Dataset, ImageShape, Split};

use crate::{golden, load, refusal};

fn train(folder: &str) -> Result<Dataset, DataError> {
    load("parquet", &golden("parquet").join(folder), Split::Train)
}

#[test]
fn shards_under_data_are_read_in_the_order_of_their_names() {
    let dataset = train("sharded").unwrap();
    assert_eq!(dataset.shape(), ImageShape::new(5, 7, 3));
    assert_eq!(dataset.images(), fs::read(golden("small.u8")).unwrap());
    assert_eq!(dataset.labels(), [2, 0, 1, 0]);
    assert_eq!(dataset.class_names(), ["a", "b", "c"]);
}

#[test]
fn plain_binary_images_and_unsigned_labels_are_read_and_classes_counted() {
    let dataset = train("plain").unwrap();
    assert_eq!(dataset.images(), fs::read(golden("small.u8")).unwrap());
    assert_eq!(dataset.labels(), [2, 0, 1, 0]);
    assert_eq!(dataset.class_names(), ["0", "1", "2"]);
}

/// Converted branches of the hub keep `train/0000.parquet`.
#[test]
fn a_folder_per_split_is_read() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("train")).unwrap();
    fs::copy(golden("parquet/plain/train.parquet"), home.path().join("train/0000.parquet")).unwrap();
    assert_eq!(load("parquet", home.path(), Split::Train).unwrap().len(), 4);
}

#[test]
fn a_missing_shard_is_named() {
    let home = tempfile::tempdir().unwrap();
    let name = "train-00001-of-00002.parquet";
    fs::copy(golden("parquet/sharded/data").join(name), home.path().join(name)).unwrap();
    let text = refusal("parquet", home.path(), Split::Train);
    assert!(
        text.contains(
            "part train-00000-of-00002.parquet is missing, though train-00001-of-00002.parquet is there"
        ),
        "{text}"
    );
}

#[test]
fn a_shard_count_beyond_reason_takes_no_time_or_memory() {
    let home = tempfile::tempdir().unwrap();
    for count in ["99999999999999999999", "18446744073709551615", "0"] {
        fs::write(home.path().join(format!("train-0-of-{count}.parquet")), "").unwrap();
        refusal("parquet", home.path(), Split::Train);
        fs::remove_file(home.path().join(format!("train-0-of-{count}.parquet"))).unwrap();
    }
}

#[test]
fn each_kind_of_damage_names_the_file_and_the_row() {
    let cases = [
        ("mixed", "row 2: wanted an image of 5x7x3 (height x width x channels), found 4x7x3"),
        ("broken", "row 2: wanted an 8-bit grey or RGB PNG or JPEG, found "),
        ("alpha", "row 0: wanted an 8-bit grey or RGB PNG or JPEG, found pixels of kind Rgba8"),
        ("deep", "row 0: wanted an 8-bit grey or RGB PNG or JPEG, found pixels of kind L16"),
        ("label", "row 2: wanted a label in 0..3, found 3"),
        ("hidden", "row 3: wanted a label in 0..65536, found -1"),
        ("null", "row 1: wanted a value in `image`, found null"),
        (
            "text",
            "wanted encoded images in column image: a struct with binary `bytes`, or binary, found Utf8",
        ),
        ("columns", "wanted a column img or image, found columns picture, label"),
    ];
    for (folder, wanted) in cases {
        let text = refusal("parquet", &golden("parquet").join(folder), Split::Train);
        assert!(text.contains(&format!("train.parquet: {wanted}")), "{text}");
    }
    let text = refusal("parquet", &golden("parquet/empty"), Split::Train);
    assert!(text.contains("wanted images in the train part, found none"), "{text}");
    let text = refusal("parquet", &golden("parquet/plain"), Split::Test);
    assert!(text.contains("no test part of parquet; looked for test-*.parquet"), "{text}");
    assert!(text.ends_with("the folder holds train.parquet"), "{text}");
}

#[test]
fn a_palette_is_looked_up() {
    let dataset = train("palette").unwrap();
    assert_eq!(dataset.shape(), ImageShape::new(5, 7, 3));
    assert_eq!(dataset.images(), fs::read(golden("palette.u8")).unwrap());
}

/// Decoders round differently; Pillow's pixels of a smooth image are within a few levels.
#[test]
fn a_jpeg_is_decoded_nearly_as_pillow_does() {
    let dataset = train("jpeg").unwrap();
    assert_eq!(dataset.shape(), ImageShape::new(16, 24, 3));
    let pillow = fs::read(golden("jpeg.u8")).unwrap();
    let distance = dataset.images().iter().zip(&pillow).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(distance <= Some(3), "{distance:?}");
}

#[test]
fn class_names_of_another_dataset_are_refused() {
    let text = refusal("cifar10", &golden("parquet/classes"), Split::Test);
    assert!(text.contains("wanted the 10 classes of cifar10, found 15"), "{text}");
}
