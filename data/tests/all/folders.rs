//! Folders of images: files of `golden/make_folders.py`, values of Pillow, orders of torchvision.

use std::fs;
use std::path::PathBuf;

use data::{DataError, Dataset, DatasetSpec, ImageShape, Split};

use crate::{golden, load, refusal};

fn folder(path: &str) -> PathBuf {
    golden("folders").join(path)
}

fn values(name: &str) -> Vec<u8> {
    fs::read(folder(name)).unwrap()
}

/// Of a place and a number behind it.
fn sized(dataset: &str, place: &str, side: u32, split: Split) -> Result<Dataset, DataError> {
    format!("{dataset}:{}", folder(place).display()).parse::<DatasetSpec>()?.sized(Some(side))?.load(split)
}

/// Copies a folder of files and folders.
fn copied(from: &str) -> tempfile::TempDir {
    fn copy(from: &std::path::Path, to: &std::path::Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
    let home = tempfile::tempdir().unwrap();
    copy(&folder(from), home.path());
    home
}

fn same(found: &[u8], wanted: &[u8], what: &str) {
    let differs = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    assert!(
        found.len() == wanted.len() && differs.is_none(),
        "{what}: value {differs:?}, {} of {}",
        found.len(),
        wanted.len()
    );
}

/// Larger and smaller, on one axis and on both, grey and in colour: `Image.resize((N, N), BILINEAR)` of Pillow.
#[test]
fn images_of_any_size_become_squares_bit_for_bit_as_pillow_makes_them() {
    for side in [8, 3, 17] {
        let dataset = sized("imagefolder", "mixed", side, Split::Train).unwrap();
        assert_eq!(dataset.shape(), ImageShape::new(side as usize, side as usize, 3));
        same(dataset.images(), &values(&format!("mixed{side}.u8")), &side.to_string());
        assert_eq!(dataset.record().name, format!("imagefolder@{side}"));
    }
    let grey = sized("imagefolder", "flat", 5, Split::Test).unwrap();
    assert_eq!(grey.shape(), ImageShape::new(5, 5, 1));
    same(grey.images(), &values("flat5.u8"), "grey");
}

#[test]
fn classes_and_images_have_torchvisions_order() {
    let dataset = sized("imagefolder", "mixed", 8, Split::Train).unwrap();
    let order = fs::read_to_string(folder("mixed.txt")).unwrap();
    let labels: Vec<i32> =
        order.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
    // The order of the files is in the pixels above.
    assert_eq!(dataset.labels(), labels);
    assert_eq!(dataset.class_names(), ["a", "b", "c"]);
    let said = ["2 of 11 images are grey among colour", "passed over 1 file that is no image, such as"];
    for said in said {
        assert!(dataset.notes().iter().any(|note| note.contains(said)), "{:?}", dataset.notes());
    }
}

/// torchvision would call `c` class 1 here, since val/ has no `b`.
#[test]
fn a_test_part_that_lacks_a_class_has_the_training_parts_numbers() {
    let dataset = sized("imagefolder", "mixed", 8, Split::Test).unwrap();
    assert_eq!((dataset.labels(), dataset.classes()), (&[0, 2][..], 3));
    assert!(dataset.notes()[0].contains("no images in 1 of 3 classes, such as b"), "{:?}", dataset.notes());
    let home = copied("mixed");
    fs::rename(home.path().join("val/c"), home.path().join("val/d")).unwrap();
    let text = refusal("imagefolder", home.path(), Split::Test);
    assert!(text.contains("val/d: wanted a class of ") && text.contains("name them alike"), "{text}");
}

#[test]
fn images_of_several_sizes_without_one_are_refused_with_the_way_to_name_it() {
    let text = refusal("imagefolder", &folder("mixed"), Split::Train);
    assert!(
        text.contains("a/y.ppm: wanted an image of 7x5x3 (height x width x channels), found 8x8x3"),
        "{text}"
    );
    assert!(text.contains("as in `imagefolder:DIR@32` or --size 32"), "{text}");
}

#[test]
fn folders_that_are_classes_are_the_part_that_is_asked_for_and_that_is_said() {
    for split in [Split::Train, Split::Test] {
        let dataset = load("imagefolder", &folder("flat"), split).unwrap();
        assert_eq!((dataset.shape(), dataset.labels()), (ImageShape::new(4, 6, 1), &[0, 1][..]));
        assert_eq!(dataset.images(), values("flat.u8"));
        let said = format!("its folders are the classes of the {split} part, which was asked for");
        assert!(dataset.notes()[0].ends_with(&said), "{:?}", dataset.notes());
    }
    // A class of CIFAR-100 is called `train`.
    let home = copied("flat");
    fs::rename(home.path().join("0"), home.path().join("train")).unwrap();
    assert_eq!(load("imagefolder", home.path(), Split::Train).unwrap().class_names(), ["1", "train"]);
}

#[test]
fn a_second_folder_for_a_part_and_hidden_entries_are_said_and_a_missing_part_is_refused() {
    let home = copied("mixed");
    let place = home.path();
    fs::create_dir_all(place.join("test/a/.ipynb_checkpoints")).unwrap();
    fs::create_dir_all(place.join("train/.cache")).unwrap();
    fs::copy(place.join("val/a/s.png"), place.join("test/stray.png")).unwrap();
    fs::copy(place.join("val/a/s.png"), place.join("test/a/s.png")).unwrap();
    let dataset = load("imagefolder", place, Split::Test).unwrap();
    assert_eq!((dataset.labels(), dataset.classes()), (&[0][..], 3));
    let notes = dataset.notes().join("\n");
    assert!(notes.contains("/val") && notes.contains("; not read: "), "{notes}");
    assert!(
        notes.contains("passed over 1 hidden entry and 1 image outside of the classes, such as"),
        "{notes}"
    );
    fs::remove_dir_all(place.join("train")).unwrap();
    let text = refusal("imagefolder", place, Split::Train);
    assert!(text.contains("no train part of imagefolder; looked for train/CLASS/*.png"), "{text}");
}

#[test]
fn tiny_imagenet_is_read_as_its_archive_unpacks() {
    let train = load("tiny-imagenet", &folder("tiny"), Split::Train).unwrap();
    assert_eq!(train.images(), values("tiny_train.u8"));
    assert_eq!((train.labels(), train.shape()), (&[0, 0, 1, 1, 2, 2][..], ImageShape::new(4, 4, 3)));
    // Sorted, as torchvision numbers them; not the order of wnids.txt.
    assert_eq!(train.class_names(), ["n01", "n02", "n10"]);
    let val = load("tiny-imagenet", &folder("tiny/tiny-imagenet-200"), Split::Test).unwrap();
    assert_eq!((val.images(), val.labels()), (&values("tiny_val.u8")[..], &[2, 0, 1][..]));
    assert!(
        val.notes()[0].contains("3 images in the test part, Tiny-ImageNet has 10000"),
        "{:?}",
        val.notes()
    );
    assert_eq!(sized("tiny-imagenet", "tiny", 2, Split::Test).unwrap().shape().input(), [3, 2, 2]);
}

#[test]
fn a_validation_part_that_was_sorted_into_classes_is_read_too() {
    let home = copied("tiny/tiny-imagenet-200");
    let val = home.path().join("val");
    fs::create_dir(val.join("n10")).unwrap();
    fs::rename(val.join("images/val_0.png"), val.join("n10/val_0.png")).unwrap();
    fs::remove_file(val.join("val_annotations.txt")).unwrap();
    fs::remove_dir_all(val.join("images")).unwrap();
    let dataset = load("tiny-imagenet", home.path(), Split::Test).unwrap();
    assert_eq!((dataset.labels(), dataset.images()), (&[2][..], &values("tiny_val.u8")[..48]));
}

/// Order and labels of the test part: `torchvision.datasets.GTSRB`.
#[test]
fn traffic_signs_are_read_as_torchvision_lays_them_out() {
    for place in ["signs", "signs/gtsrb", "signs/gtsrb/GTSRB"] {
        let test = sized("gtsrb", place, 4, Split::Test).unwrap();
        assert_eq!((test.labels(), test.classes()), (&[14, 2][..], 43), "{place}");
        same(test.images(), &values("signs_test.u8"), place);
        let train = sized("gtsrb", place, 4, Split::Train).unwrap();
        assert_eq!(train.labels(), [0, 0, 42]);
        same(train.images(), &values("signs_train.u8"), place);
        assert_eq!((&*train.class_names()[14], train.notes()), ("stop", &[][..]));
    }
    let text = refusal("gtsrb", &folder("signs"), Split::Train);
    assert!(text.contains("or --size 32"), "{text}");
}

/// The list in the archive of the test images has no classes; that of torchvision has.
#[test]
fn a_list_without_classes_and_folders_that_are_no_signs_are_refused() {
    let home = copied("signs/gtsrb");
    fs::write(home.path().join("GT-final_test.csv"), "Filename;Width;Height\n00000.ppm;1;1\n").unwrap();
    let text = refusal("gtsrb", home.path(), Split::Test);
    assert!(text.contains("wanted columns Filename and ClassId, found `Filename;Width;Height`"), "{text}");
    fs::create_dir(home.path().join("GTSRB/Training/00043")).unwrap();
    let text = refusal("gtsrb", home.path(), Split::Train);
    assert!(text.contains("00043: wanted folders 00000 to 00042"), "{text}");
}
