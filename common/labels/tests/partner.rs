//! A label set refuses a run that it does not fit, and says what differs.

mod fixture;

use fixture::{IMAGES, dataset, sparse, spec, write};
use labels::{Augment, Check, Dataset, Dtype, Error, Form, Kind, LabelSet, Wanted, image_hash};

fn set() -> (tempfile::TempDir, LabelSet) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &spec(Form::FULLEST, Dtype::F16));
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    (dir, set)
}

fn refusal(set: &LabelSet, dataset: &Dataset) -> Error {
    let wanted = Wanted { dataset, augment: None, plan: None };
    let error = set.check_against(&wanted).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("\nhint: "), "{error}");
    error
}

#[test]
fn the_labelled_images_and_their_beginnings_fit() {
    let (_dir, set) = set();
    for images in 1..=IMAGES {
        let wanted = Wanted {
            dataset: &dataset().prefix(images),
            augment: Some("crop1+flip".parse().unwrap()),
            plan: Some((300, 1)),
        };
        set.check_against(&wanted).unwrap();
    }
}

#[test]
fn another_dataset_is_refused_with_both_hashes() {
    let (_dir, set) = set();
    let mut other = dataset();
    other.name = "other".into();
    other.hashes = (0..IMAGES).map(|image| image_hash(2, 2, 1, &[image as u8, 9, 9, 9])).collect();
    let error = refusal(&set, &other);
    assert!(matches!(error, Error::WrongDataset { image: 0, .. }), "{error}");
    let hex = |hash: [u8; 16]| format!("{:032x}", u128::from_be_bytes(hash));
    assert!(
        error.to_string().contains(&hex(other.hashes[0]))
            && error.to_string().contains(&hex(dataset().hashes[0]))
    );
    other.split = "test".into();
    assert!(matches!(refusal(&set, &other), Error::WrongSplit { .. }));
}

#[test]
fn another_order_is_refused_with_both_places() {
    let (_dir, set) = set();
    let mut other = dataset();
    other.hashes.swap(2, 5);
    other.labels.swap(2, 5);
    assert!(matches!(refusal(&set, &other), Error::WrongOrder { wanted: 2, found: 5, .. }));
}

#[test]
fn one_changed_image_or_label_is_refused() {
    let (_dir, set) = set();
    let mut other = dataset();
    other.hashes[IMAGES - 1][15] ^= 1;
    assert!(matches!(refusal(&set, &other), Error::WrongDataset { image: 6, .. }));
    let mut other = dataset();
    other.labels[4] = 2;
    assert!(matches!(refusal(&set, &other), Error::WrongLabel { image: 4, wanted: 2, found: 1, .. }));
}

#[test]
fn more_images_other_classes_and_other_augmentations_are_refused() {
    let (_dir, set) = set();
    let mut other = dataset();
    other.hashes.push([0; 16]);
    other.labels.push(0);
    assert!(matches!(refusal(&set, &other), Error::TooFewImages { wanted: 8, found: 7, .. }));
    let mut other = dataset();
    other.classes = 10;
    assert!(matches!(refusal(&set, &other), Error::WrongClasses { wanted: 10, found: 3, .. }));
    let wanted = Wanted { dataset: &dataset(), augment: Some(Augment::NONE), plan: None };
    let error = set.check_against(&wanted).unwrap_err().to_string();
    assert!(error.contains("crop1+flip") && error.contains("none"), "{error}");
}

#[test]
fn a_plan_serves_no_other_seed_and_no_longer_run() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &sparse(Form::FULLEST));
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    let data = dataset();
    let check = |plan| set.check_against(&Wanted { dataset: &data, augment: None, plan: Some(plan) });
    check((4, 9)).unwrap();
    check((2, 9)).unwrap();
    for plan in [(5, 9), (4, 8)] {
        let error = check(plan).unwrap_err().to_string();
        assert!(
            error.contains("plan:4@9") && error.contains(&format!("plan:{}@{}", plan.0, plan.1)),
            "{error}"
        );
    }
}
