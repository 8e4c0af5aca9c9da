//! Under running statistics an image does not feel its neighbours, its place or the size of its batch.

use engine::Norm;
use engine::params::Precision;
use rslad_tests::reference;

use crate::small::{Small, bits_per_image, network};

/// Runs image 0 in many batches and compares bits with those it has alone.
fn is_alone_in_every_batch(small: &Small) {
    let name = small.network.architecture();
    let engine = reference(2);
    let watched = 0;
    let alone = small.run(&engine, &[watched], Norm::Running);
    let logits = bits_per_image(&alone.logits).remove(0);
    let gradient = bits_per_image(&alone.image).remove(0);
    assert!(logits.iter().any(|&bits| bits != logits[0]), "{name}: logits differ between classes");
    assert!(gradient.iter().any(|&bits| bits != 0), "{name}: there is a gradient");
    for (size, place) in [(1, 0), (7, 6), (16, 3), (17, 16), (40, 20)] {
        // Other neighbours in each batch.
        let mut ids: Vec<usize> = (0..size).map(|i| 1 + (7 * i + size) % 60).collect();
        ids[place] = watched;
        let run = small.run(&engine, &ids, Norm::Running);
        let what = format!("{name}: image at {place} of {size}");
        assert!(bits_per_image(&run.logits)[place] == logits, "{what} has other logits");
        assert!(bits_per_image(&run.image)[place] == gradient, "{what} has another gradient");
    }
}

macro_rules! each_network {
    ($($test:ident $name:literal $input:expr;)*) => {
        $(#[test]
        fn $test() {
            is_alone_in_every_batch(&network($name, $input, Precision::F32));
        })*
    };
}

each_network! {
    an_image_is_alone_in_small_cnn "small-cnn" [1, 28, 28];
    an_image_is_alone_in_resnet8 "resnet8" [3, 32, 32];
    an_image_is_alone_in_a_narrow_mobilenet "mobilenet-v2-x0.25" [3, 32, 32];
    an_image_is_alone_in_a_wide_resnet "wrn-10-1" [3, 32, 32];
    an_image_is_alone_in_resnet4b "resnet4b" [3, 32, 32];
}

#[test]
fn under_batch_statistics_neighbours_do_matter() {
    let small = network("resnet8", [3, 32, 32], Precision::F32);
    let engine = reference(1);
    let logits = |ids: &[usize]| bits_per_image(&small.run(&engine, ids, Norm::Batch).logits)[0].clone();
    assert_ne!(logits(&[0, 1, 2]), logits(&[0, 1, 3]));
}

#[test]
fn no_images_give_no_logits() {
    let small = network("tiny-cnn", [1, 28, 28], Precision::F32);
    let engine = reference(1);
    let run = small.run(&engine, &[], Norm::Running);
    assert_eq!((run.logits.dims(), run.image.dims()), ([0, 10].as_slice(), [0, 1, 28, 28].as_slice()));
    assert!((0..run.grads.values().len()).all(|i| run.grads.values().get(i) == 0.0));
}
