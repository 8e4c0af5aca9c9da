//! CIFAR-10.1 and CIFAR-10-C: arrays of `golden/make_folders.py`, as NumPy saves them.

use data::{DatasetSpec, Split};

use crate::{golden, load, refusal};

fn corrupted(text: &str) -> data::Dataset {
    let place = golden("folders/arrays");
    format!("cifar10-c:{}/{text}", place.display()).parse::<DatasetSpec>().unwrap().load(Split::Test).unwrap()
}

#[test]
fn cifar10_1_is_version_six_by_its_folder_and_another_by_its_file() {
    let six = load("cifar10.1", &golden("folders/arrays"), Split::Test).unwrap();
    assert_eq!((six.labels(), six.classes(), &*six.class_names()[8]), (&[7, 8][..], 10, "ship"));
    let four = load("cifar10.1", &golden("folders/arrays/cifar10.1_v4_data.npy"), Split::Test).unwrap();
    assert_eq!(four.labels(), [7, 8, 9]);
    let text = refusal("cifar10.1", &golden("folders/arrays"), Split::Train);
    assert!(
        text.contains("no train part of cifar10.1; looked for cifar10.1_v6_data.npy, which is a test part"),
        "{text}"
    );
}

/// The images of one severity lie together: `(5 * 10,000, 32, 32, 3)` in the order of severities, arXiv:1903.12261's
/// README. Each image here has its number in all its pixels.
#[test]
fn a_corruption_is_read_at_one_severity_or_at_all() {
    let numbers =
        |dataset: &data::Dataset| (0..dataset.len()).map(|at| dataset.pixels(at)[5]).collect::<Vec<_>>();
    for (text, first) in [("fog@1", 0), ("fog@3", 4), ("fog.npy@5", 8)] {
        let dataset = corrupted(text);
        assert_eq!((numbers(&dataset), dataset.labels()), (vec![first, first + 1], &[3, 8][..]), "{text}");
    }
    let all = corrupted("fog");
    assert_eq!((numbers(&all), all.labels()[..4].to_vec()), ((0..10).collect(), vec![3, 8, 3, 8]));
    assert_eq!(corrupted("fog@3").name(), "cifar10-c@3");
    let text = refusal("cifar10-c", &golden("folders/arrays/snow"), Split::Test);
    assert!(text.contains("snow.npy, which is a test part") && text.contains("fog.npy"), "{text}");
    refusal("cifar10-c", &golden("folders/arrays/fog"), Split::Train);
    refusal("cifar10-c", &golden("folders/arrays"), Split::Test);
}

#[test]
fn a_matlab_file_is_answered_with_the_line_that_makes_arrays_of_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("train_32x32.mat");
    std::fs::write(&file, b"MATLAB 5.0 MAT-file Platform: posix").unwrap();
    let text = refusal("npz", &file, Split::Train);
    assert!(text.contains("found a MATLAB file (.mat)") && text.contains("scipy.io.loadmat"), "{text}");
}
