use std::fs;

use data::{DataError, ImageShape, Split};

use crate::{counts, golden, load, pixel, published, refusal, sha256};

/// From pyarrow and Pillow, which decode independently. The positions are far from symmetric, so that swapped axes,
/// swapped channels and planes read as pixels all show.
#[test]
fn published_cifar10_has_the_pixels_and_labels_that_pillow_decodes() {
    let Some(folder) = published("cifar10") else { return };
    let train = load("cifar10", &folder, Split::Train).unwrap();
    assert_eq!((train.len(), train.shape()), (50_000, ImageShape::new(32, 32, 3)));
    assert_eq!(counts(&train), [5_000; 10]);
    assert_eq!(train.labels()[..12], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7]);
    assert_eq!(pixel(&train, 0, 2, 29), [118, 84, 50]);
    assert_eq!(pixel(&train, 0, 29, 2), [198, 161, 26]);
    assert_eq!(pixel(&train, 7, 17, 5), [212, 240, 159]);
    assert_eq!(pixel(&train, 49_999, 5, 17), [223, 220, 227]);
    assert_eq!(sha256(train.images()), "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a");

    let test = load("cifar10", &folder, Split::Test).unwrap();
    assert_eq!(counts(&test), [1_000; 10]);
    assert_eq!(test.labels()[..12], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1, 0, 9]);
    assert_eq!(pixel(&test, 0, 29, 2), [31, 88, 137]);
    assert_eq!(pixel(&test, 9_999, 2, 29), [74, 81, 70]);
    assert_eq!(sha256(test.images()), "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04");
    assert_eq!(test.class_names()[3], "cat");
    assert_eq!(test.class_names()[8], "ship");
}

#[test]
fn every_form_of_cifar10_holds_the_same_dataset() {
    let pixels = fs::read(golden("cifar.u8")).unwrap();
    for form in ["binary", "python", "python4", "parquet"] {
        let folder = golden("cifar10").join(form);
        let train = load("cifar10", &folder, Split::Train).unwrap();
        let test = load("cifar10", &folder, Split::Test).unwrap();
        assert_eq!(train.images(), &pixels[..5 * 3072], "{form}");
        assert_eq!(train.labels(), [6, 9, 0, 4, 1], "{form}");
        assert_eq!(test.images(), &pixels[5 * 3072..], "{form}");
        assert_eq!(test.labels(), [3], "{form}");
        assert_eq!(train.class_names()[9], "truck", "{form}");
        assert_eq!((train.classes(), train.name(), train.split()), (10, "cifar10", Split::Train));
    }
}

#[test]
fn every_form_of_cifar100_holds_the_same_fine_labels() {
    let pixels = fs::read(golden("cifar.u8")).unwrap();
    for form in ["binary", "python", "python0", "python4", "python5", "column", "parquet"] {
        let folder = golden("cifar100").join(form);
        let train = load("cifar100", &folder, Split::Train).unwrap();
        let test = load("cifar100", &folder, Split::Test).unwrap();
        assert_eq!([train.images(), test.images()].concat(), pixels, "{form}");
        assert_eq!((train.labels(), test.labels()), (&[19, 29, 0][..], &[99, 1, 3][..]), "{form}");
        assert_eq!(train.classes(), 100);
        // Classes 0, 19, 29 and 99 of the published list of names.
        let names = [0, 19, 29, 99].map(|class: usize| train.class_names()[class].as_str());
        assert_eq!(names, ["apple", "cattle", "dinosaur", "worm"]);
    }
}

#[test]
fn batches_are_found_in_the_folders_of_the_published_archives() {
    let home = tempfile::tempdir().unwrap();
    let inside = home.path().join("cifar-10-batches-bin");
    fs::create_dir(&inside).unwrap();
    fs::copy(golden("cifar10/binary/test_batch.bin"), inside.join("test_batch.bin")).unwrap();
    assert_eq!(load("cifar10", home.path(), Split::Test).unwrap().labels(), [3]);
}

#[test]
fn a_missing_batch_is_named() {
    let home = tempfile::tempdir().unwrap();
    for number in [1, 2, 4, 5] {
        let name = format!("data_batch_{number}.bin");
        fs::copy(golden("cifar10/binary").join(&name), home.path().join(&name)).unwrap();
    }
    let text = refusal("cifar10", home.path(), Split::Train);
    assert!(text.contains("data_batch_3.bin is missing, though data_batch_1.bin is there"), "{text}");
}

#[test]
fn a_folder_without_cifar_says_what_was_looked_for_and_what_is_there() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("cifar-10-python.tar.gz"), "").unwrap();
    let text = refusal("cifar10", home.path(), Split::Test);
    for part in ["test_batch.bin (binary)", "test_batch (python)", "test-*.parquet", "cifar-10-batches-py"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.ends_with("the folder holds cifar-10-python.tar.gz"), "{text}");
    assert!(
        refusal("cifar10", &home.path().join("gone"), Split::Test).contains("wanted a folder, found nothing")
    );
    let file = home.path().join("cifar-10-python.tar.gz");
    assert!(refusal("cifar10", &file, Split::Test).contains("wanted a folder, found a file"));
}

#[test]
fn a_truncated_binary_batch_is_named() {
    let home = tempfile::tempdir().unwrap();
    let whole = fs::read(golden("cifar10/binary/test_batch.bin")).unwrap();
    for length in [0, 1, 3072] {
        fs::write(home.path().join("test_batch.bin"), &whole[..length]).unwrap();
        let text = refusal("cifar10", home.path(), Split::Test);
        let wanted = format!("test_batch.bin: wanted a multiple of 3073 bytes, found {length}");
        assert!(text.contains(&wanted), "{text}");
    }
}

#[test]
fn a_label_beyond_the_classes_names_file_row_and_label() {
    let home = tempfile::tempdir().unwrap();
    let mut rows = fs::read(golden("cifar10/binary/test_batch.bin")).unwrap().repeat(2);
    rows[3073] = 10;
    fs::write(home.path().join("test_batch.bin"), rows).unwrap();
    let error = load("cifar10", home.path(), Split::Test).unwrap_err();
    assert!(matches!(error, DataError::WrongLabel { row: 1, label: 10, classes: 10, .. }), "{error}");
    let text = refusal("cifar10", home.path(), Split::Test);
    assert!(text.contains("test_batch.bin: row 1: wanted a label in 0..10, found 10"), "{text}");
}

#[test]
fn cifar100_named_cifar10_is_refused_and_the_reverse() {
    let text = refusal("cifar10", &golden("cifar100/parquet"), Split::Test);
    assert!(text.contains("row 0: wanted a label in 0..10, found 99"), "{text}");
    let text = refusal("cifar100", &golden("cifar10/parquet"), Split::Test);
    assert!(text.contains("wanted the 100 classes of cifar100, found 10"), "{text}");
    let home = tempfile::tempdir().unwrap();
    fs::copy(golden("cifar100/python/test"), home.path().join("test_batch")).unwrap();
    let text = refusal("cifar10", home.path(), Split::Test);
    assert!(text.contains("test_batch: wanted a list of integers `labels`"), "{text}");
}

#[test]
fn a_damaged_python_batch_is_refused_wherever_it_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let whole = fs::read(golden("cifar10/python/test_batch")).unwrap();
    let cuts = (0..400.min(whole.len())).chain(whole.len() - 60..whole.len());
    for cut in cuts {
        fs::write(home.path().join("test_batch"), &whole[..cut]).unwrap();
        let text = refusal("cifar10", home.path(), Split::Test);
        assert!(text.contains("test_batch: not readable as pickle"), "{cut}: {text}");
    }
}

#[test]
fn a_pickle_that_would_run_code_runs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let witness = home.path().join("ran");
    // What Python would run: os.system("touch ...").
    let command = format!("touch {}", witness.display());
    let mut bytes = b"\x80\x02cos\nsystem\nX".to_vec();
    bytes.extend((command.len() as u32).to_le_bytes());
    bytes.extend(command.as_bytes());
    bytes.extend(b"\x85R.");
    fs::write(home.path().join("test_batch"), bytes).unwrap();
    let text = refusal("cifar10", home.path(), Split::Test);
    assert!(text.contains("wanted an array `data` of u8 with 3072 columns, found no `data`"), "{text}");
    assert!(!witness.exists());
}
