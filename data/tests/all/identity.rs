use std::fs;

use data::{DataError, Dataset, DatasetSpec, ImageShape, Split};

use crate::{golden, load};

#[test]
fn the_hash_of_an_image_is_blake3_of_its_shape_and_pixels() {
    let dataset = load("parquet", &golden("parquet/sharded"), Split::Train).unwrap();
    let pixels = fs::read(golden("small.u8")).unwrap();
    for (image, hash) in dataset.image_hashes().iter().enumerate() {
        // 5, 7, 3 as u32 LE, then the 105 values.
        let mut message = vec![5, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0];
        message.extend(&pixels[image * 105..(image + 1) * 105]);
        assert_eq!(hash[..], blake3::hash(&message).as_bytes()[..16]);
    }
}

#[test]
fn a_limit_keeps_the_first_images_their_hashes_and_all_classes() {
    let whole = DatasetSpec::sample().load(Split::Test).unwrap();
    let hashes = whole.image_hashes().to_vec();
    let hashed_before = whole.clone().limit(7);
    let hashed_after = DatasetSpec::sample().load(Split::Test).unwrap().limit(7);
    for limited in [&hashed_before, &hashed_after] {
        assert_eq!((limited.len(), limited.classes()), (7, 10));
        assert_eq!(limited.image_hashes(), &hashes[..7]);
        assert_eq!(limited.labels(), &whole.labels()[..7]);
        assert_eq!(limited.images(), &whole.images()[..7 * 784]);
    }
    assert_eq!(whole.limit(2_000).len(), 1_000);
}

#[test]
fn a_dataset_made_by_hand_is_checked() {
    let names = || vec!["a".to_owned(), "b".to_owned()];
    let shape = ImageShape::new(1, 2, 3);
    let make = |images: usize, labels: &[i32]| {
        Dataset::new("mine", Split::Train, shape, vec![0; images], labels.to_vec(), names())
    };
    assert_eq!(make(12, &[0, 1]).unwrap().len(), 2);
    assert!(matches!(make(12, &[0]), Err(DataError::CountsDiffer { images: 2, labels: 1, .. })));
    assert!(matches!(make(13, &[0, 1]), Err(DataError::WrongLength { .. })));
    assert!(matches!(make(12, &[0, 2]), Err(DataError::WrongLabel { row: 1, label: 2, classes: 2, .. })));
    assert!(matches!(make(0, &[]), Err(DataError::EmptySplit { .. })));
}

#[test]
fn the_record_for_a_label_set_says_what_the_dataset_is() {
    let dataset = load("parquet", &golden("parquet/sharded"), Split::Train).unwrap();
    let record = dataset.record();
    assert_eq!((record.name.as_str(), record.split.as_str()), ("parquet", "train"));
    assert_eq!((record.shape, record.classes), ([5, 7, 3], 3));
    assert_eq!(record.class_names, ["a", "b", "c"]);
    assert_eq!(
        (record.hashes.as_slice(), record.labels.as_slice()),
        (dataset.image_hashes(), &[2, 0, 1, 0][..])
    );
}
