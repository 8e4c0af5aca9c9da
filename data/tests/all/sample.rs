use std::collections::HashSet;

use data::{DatasetSpec, ImageShape, Split};

use crate::{counts, pixel, sha256};

/// Counts of the package's files in the order of SHA-256 of "DIGIT/INDEX", counted apart from the script that wrote them.
#[test]
fn the_sample_has_its_counts_and_balance() {
    let train = DatasetSpec::sample().load(Split::Train).unwrap();
    let test = DatasetSpec::sample().load(Split::Test).unwrap();
    assert_eq!((train.len(), test.len(), train.shape()), (9_000, 1_000, ImageShape::new(28, 28, 1)));
    assert_eq!(counts(&train), [885, 1020, 907, 921, 883, 769, 912, 963, 859, 881]);
    assert_eq!(counts(&test), [116, 107, 84, 111, 97, 94, 102, 107, 85, 97]);
    assert_eq!(train.class_names(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

/// Values as they stand in the package's JSON, x / 255 to three decimals: digit 4 number 496, 2 number 923, 6 number 952,
/// 7 number 810. Their transposed pixels are other values.
#[test]
fn pixels_are_those_of_the_package() {
    let train = DatasetSpec::sample().load(Split::Train).unwrap();
    let test = DatasetSpec::sample().load(Split::Test).unwrap();
    let pins = [
        (&train, 0, 4, [(5, 16, 0.416), (14, 16, 0.008), (16, 14, 0.573), (23, 21, 0.827)]),
        (&train, 8_999, 2, [(4, 11, 0.741), (16, 21, 0.502), (21, 16, 0.0), (23, 8, 0.941)]),
        (&test, 0, 6, [(3, 12, 0.008), (15, 24, 0.278), (24, 15, 0.0), (21, 12, 0.812)]),
        (&test, 999, 7, [(8, 12, 0.039), (12, 8, 0.365), (12, 17, 0.184), (23, 13, 0.027)]),
    ];
    for (dataset, image, label, pixels) in pins {
        assert_eq!(dataset.labels()[image], label);
        for (y, x, value) in pixels {
            let found = f64::from(pixel(dataset, image, y, x)[0]) / 255.0;
            assert!(
                (found - value).abs() < 1e-3,
                "image {image} at {y}, {x}: {found}, the package has {value}"
            );
        }
    }
}

/// SHA-256 over the package's digits, each its label and then its 784 bytes, in sorted order.
#[test]
fn train_and_test_part_the_ten_thousand_digits_of_the_package() {
    let splits = [Split::Train, Split::Test].map(|split| DatasetSpec::sample().load(split).unwrap());
    let mut digits = Vec::new();
    for dataset in &splits {
        for (image, &label) in dataset.labels().iter().enumerate() {
            digits.push([&[label as u8], dataset.pixels(image)].concat());
        }
    }
    digits.sort();
    assert_eq!(sha256(&digits.concat()), "5aecc8dd8c0f5da1c0db0575b0c903ed7454c70c9a3c837046f1246516e0d5fe");
    let hashes: HashSet<_> = splits.iter().flat_map(|dataset| dataset.image_hashes().to_vec()).collect();
    assert_eq!(hashes.len(), 10_000);
}
