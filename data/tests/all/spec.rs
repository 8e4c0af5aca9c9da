use data::{DATASETS, DataError, DatasetSpec, Place, Split, help, known};

fn refused(text: &str) -> String {
    text.parse::<DatasetSpec>().unwrap_err().to_string()
}

#[test]
fn every_row_of_the_table_parses_prints_and_appears_in_help() {
    for row in DATASETS {
        let text = match row.place {
            Place::BuiltIn => row.name.to_owned(),
            Place::Folder | Place::File => format!("{}:/some/where:else", row.name),
        };
        let spec: DatasetSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), text);
        assert_eq!(spec.row().name, row.name);
        assert!(row.augment.parse::<labels::Augment>().is_ok(), "{}", row.augment);
        assert!(help().contains(row.form) && known().contains(row.form));
    }
}

#[test]
fn augmentation_defaults_are_the_documented_ones() {
    let named: Vec<(&str, &str)> = DATASETS.iter().map(|row| (row.name, row.augment)).collect();
    let documented = [
        ("sample", "crop2"),
        ("cifar10", "crop4+flip"),
        ("cifar100", "crop4+flip"),
        ("mnist", "crop2"),
        ("imagefolder", "none"),
        ("parquet", "none"),
        ("npz", "none"),
        ("tiny-imagenet", "crop4+flip"),
        ("gtsrb", "none"),
        ("cifar10.1", "none"),
        ("cifar10-c", "none"),
    ];
    assert_eq!(named, documented);
}

#[test]
fn a_wrong_name_lists_the_known_ones_and_suggests_the_nearest() {
    let text = refused("cifra10:data");
    let known = "known: sample, cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER, imagefolder:DIR@N, parquet:FOLDER@N, npz:FILE, tiny-imagenet:FOLDER, gtsrb:FOLDER@N, cifar10.1:FOLDER, cifar10-c:FOLDER/fog@S";
    assert_eq!(text, format!("unknown dataset `cifra10`\nhint: did you mean `cifar10:FOLDER`? {known}"));
    assert!(refused("MNITS:x").ends_with(&format!("hint: did you mean `mnist:FOLDER`? {known}")));
    assert!(refused("paintings:x").ends_with(&format!("\nhint: {known}")));
}

#[test]
fn names_of_the_field_are_understood_and_what_is_not_here_is_answered_with_the_way() {
    for (text, own) in [("CIFAR-10:x", "cifar10:x"), ("Cifar_100:x", "cifar100:x"), ("MNIST:x", "mnist:x")] {
        assert_eq!(text.parse::<DatasetSpec>().unwrap().to_string(), own, "{text}");
    }
    assert!(refused("imagenet:x").contains("\nhint: it has no reader of its own: `imagefolder:DIR@N`"));
    assert!(refused("svhn:x").contains("\nhint: `parquet:FOLDER` reads the folder cropped_digits"));
    let path = refused("/data/cifar10");
    assert!(path.contains("a path alone") && path.contains("as in `cifar10:/data/cifar10`"), "{path}");
}

#[test]
fn a_place_is_wanted_where_there_is_one_and_only_there() {
    assert!(
        refused("cifar10:")
            .starts_with("dataset `cifar10:`: wanted `cifar10:FOLDER`, found no place after a colon")
    );
    // Those that are published have places of their own.
    assert!(refused("parquet").starts_with("dataset `parquet`: wanted `parquet:FOLDER@N`, found no place"));
    assert_eq!("cifar10".parse::<DatasetSpec>().unwrap().to_string(), "cifar10");
    assert!(refused("npz:").starts_with("dataset `npz:`: wanted `npz:FILE`, found no place after a colon"));
    assert!(
        refused("sample:x")
            .starts_with("dataset `sample:x`: wanted `sample`, found something after the name")
    );
}

#[test]
fn a_split_is_train_or_test() {
    assert_eq!("train".parse::<Split>().unwrap(), Split::Train);
    assert_eq!("test".parse::<Split>().unwrap().to_string(), "test");
    assert!(matches!("val".parse::<Split>(), Err(DataError::UnknownSplit(word)) if word == "val"));
}

#[test]
fn a_size_stands_behind_the_place_or_beside_it_and_is_written_behind_it() {
    let spec = |text: &str| text.parse::<DatasetSpec>().unwrap();
    for (text, beside, whole) in [
        ("imagefolder:a/b@32", None, "imagefolder:a/b@32"),
        ("imagefolder:a/b", Some(32), "imagefolder:a/b@32"),
        ("imagefolder:a/b@32", Some(32), "imagefolder:a/b@32"),
        ("parquet:a@b@1", None, "parquet:a@b@1"),
        ("gtsrb:user@host", None, "gtsrb:user@host"),
        // A folder of that name.
        ("imagefolder:photos@32/", Some(64), "imagefolder:photos@32/@64"),
        ("npz:a@32", None, "npz:a@32"),
    ] {
        let sized = spec(text).sized(beside).unwrap();
        assert_eq!(sized.to_string(), whole);
        assert_eq!(spec(whole).to_string(), whole);
        assert_eq!(sized.path(), spec(whole).path());
    }
    assert_eq!(spec("imagefolder:photos@32/@64").path(), std::path::Path::new("photos@32/"));
    for (text, beside, wanted) in [
        ("imagefolder:a@32", 64, "found another size beside it\nhint: give the size once"),
        ("cifar10:a", 32, "found a size beside it\nhint: its images are taken as they are"),
        ("cifar10-c:a/fog@3", 3, "found a size beside it"),
        ("parquet:a", 0, "a size is one whole number from 1 to 1024"),
        ("parquet:a", 1025, "a size is one whole number from 1 to 1024"),
    ] {
        let error = spec(text).sized(Some(beside)).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    for text in
        ["imagefolder:a@0", "imagefolder:a@32x32", "imagefolder:a@99999999999999999999", "parquet:a@1025"]
    {
        assert!(refused(text).contains("a size is one whole number from 1 to 1024"), "{text}");
    }
    for text in ["cifar10-c:a/fog@0", "cifar10-c:a/fog@6"] {
        assert!(refused(text).contains("severities are 1 to 5"), "{text}");
    }
}

#[test]
fn docs_data_has_a_row_for_every_form() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/data.md")).unwrap();
    for row in DATASETS {
        assert!(page.contains(&format!("\n| `{}` | ", row.form)), "{}", row.form);
    }
}
