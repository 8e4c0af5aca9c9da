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
        ("parquet", "none"),
        ("npz", "none"),
    ];
    assert_eq!(named, documented);
}

#[test]
fn a_wrong_name_lists_the_known_ones_and_suggests_the_nearest() {
    let text = refused("cifra10:data");
    let known = "known: sample, cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER, parquet:FOLDER, npz:FILE";
    assert_eq!(text, format!("unknown dataset `cifra10`\nhint: did you mean `cifar10:FOLDER`? {known}"));
    assert!(refused("MNITS:x").ends_with(&format!("hint: did you mean `mnist:FOLDER`? {known}")));
    assert!(refused("paintings:x").ends_with(&format!("\nhint: {known}")));
}

#[test]
fn names_of_the_field_are_understood_and_what_is_not_here_is_answered_with_the_way() {
    for (text, own) in [("CIFAR-10:x", "cifar10:x"), ("Cifar_100:x", "cifar100:x"), ("MNIST:x", "mnist:x")] {
        assert_eq!(text.parse::<DatasetSpec>().unwrap().to_string(), own, "{text}");
    }
    assert!(refused("imagenet:x").contains("\nhint: it has no reader of its own: `parquet:FOLDER`"));
    let path = refused("/data/cifar10");
    assert!(path.contains("a path alone") && path.contains("as in `cifar10:/data/cifar10`"), "{path}");
}

#[test]
fn a_place_is_wanted_where_there_is_one_and_only_there() {
    assert!(
        refused("cifar10")
            .starts_with("dataset `cifar10`: wanted `cifar10:FOLDER`, found no place after a colon")
    );
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
