//! `label repair` on damaged label sets.

use std::fs;

use crate::fixture::{DIGITS, Place, label, save_teacher, tree};

#[test]
fn shards_come_back_from_their_other_form_or_from_the_teacher() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 20).succeeds();
    let whole = tree(&out);
    let said = label().arg("repair").arg(&out).ends();
    assert!(
        said.code == Some(0) && said.stderr.contains("every shard is as it was published"),
        "{}",
        said.stderr
    );
    fs::remove_file(out.join("data/train-00000-of-00003.parquet")).unwrap();
    let path = out.join("shards/train-00001-of-00003.safetensors");
    fs::write(&path, "damaged").unwrap();
    let said = label().arg("repair").arg(&out).ends();
    assert!(said.code == Some(0) && said.stderr.contains("shard 1 is whole again"), "{}", said.stderr);
    assert!(tree(&out) == whole);

    fs::write(&path, "damaged").unwrap();
    fs::remove_file(out.join("data/train-00001-of-00003.parquet")).unwrap();
    label()
        .arg("repair")
        .arg(&out)
        .fails(2, &["no form has shards 1 whole", "hint: pass --teacher and --data"]);
    let ask =
        || label().arg("repair").arg(&out).arg("--teacher").arg(place.teacher()).args(["--data", "sample"]);
    ask().succeeds();
    assert!(tree(&out) == whole);

    fs::remove_file(&path).unwrap();
    fs::remove_file(out.join("data/train-00001-of-00003.parquet")).unwrap();
    save_teacher(&place.teacher(), DIGITS, 2, |value| value);
    ask().fails(2, &["the label set's teacher has"]);
    label().arg("repair").arg(place.path("nowhere")).fails(2, &["nowhere: No such file"]);
}
