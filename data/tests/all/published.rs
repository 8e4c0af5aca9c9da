//! Whether images are those that the dataset's name promises.

use std::fs;

use data::Split;

use crate::{golden, load, published};

#[test]
fn the_published_images_are_recognised_and_nothing_is_said() {
    for name in ["cifar10", "mnist"] {
        let Some(folder) = published(name) else { return };
        for split in [Split::Train, Split::Test] {
            assert_eq!(load(name, &folder, split).unwrap().notes(), [""; 0], "{name} {split}");
        }
    }
}

/// The counts are those of <https://www.cs.toronto.edu/~kriz/cifar.html> and <http://yann.lecun.com/exdb/mnist/>.
#[test]
fn a_part_of_a_published_dataset_is_read_and_its_count_is_said() {
    let cases = [
        ("cifar10", "binary", Split::Train, "5 images in the train part, CIFAR-10 has 50000"),
        ("cifar100", "python", Split::Test, "3 images in the test part, CIFAR-100 has 10000"),
        ("mnist", "plain", Split::Train, "3 images in the train part, MNIST has 60000"),
    ];
    for (name, form, split, wanted) in cases {
        let notes = load(name, &golden(name).join(form), split).unwrap().notes().join("\n");
        assert!(notes.contains(wanted), "{notes}");
    }
}

/// Fashion-MNIST, KMNIST and EMNIST's MNIST part come under MNIST's file names, with MNIST's counts and sizes.
#[test]
fn images_that_are_not_mnists_are_said_not_to_be() {
    let home = tempfile::tempdir().unwrap();
    let idx = |sizes: &[u32], body: Vec<u8>| {
        let head =
            [0, 0, 8, sizes.len() as u8].into_iter().chain(sizes.iter().flat_map(|size| size.to_be_bytes()));
        head.chain(body).collect::<Vec<u8>>()
    };
    let pixels = (0..10_000 * 784_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let labels = (0..10_000).map(|image| (image % 10) as u8).collect();
    fs::write(home.path().join("t10k-images-idx3-ubyte"), idx(&[10_000, 28, 28], pixels)).unwrap();
    fs::write(home.path().join("t10k-labels-idx1-ubyte"), idx(&[10_000], labels)).unwrap();
    let notes = load("mnist", home.path(), Split::Test).unwrap().notes().join("\n");
    assert!(notes.contains("10000 images as MNIST has, but not MNIST's pixels"), "{notes}");
}
