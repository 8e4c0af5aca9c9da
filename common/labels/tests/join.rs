//! Parts that were written into folders of their own, joined: the label set of one writer.

mod fixture;

use std::fs;
use std::path::{Path, PathBuf};

use fixture::{At, FORMS, features, logits, mapped, spec, tree, write, write_some};
use labels::{Dtype, Error, Form, Joined, Kind, Manifest, Part, Session, Spec, join};

fn both() -> Spec {
    spec(Form::FULLEST, Dtype::F16)
}

/// Folders of so many parts of these label sets.
fn parts(dir: &Path, specs: &[Spec]) -> Vec<PathBuf> {
    let of = specs.len();
    let write_part = |(index, spec): (usize, &Spec)| {
        let folder = dir.join(format!("part {index}"));
        write_some(&mut Session::open_part(&folder, spec.clone(), Part { index, of }).unwrap(), usize::MAX);
        folder
    };
    specs.iter().enumerate().map(write_part).collect()
}

fn joined(parts: &[PathBuf], out: &Path) -> Result<Manifest, Error> {
    match join(parts, out, 2, &At::time(usize::MAX))? {
        Joined::Set(manifest) => Ok(*manifest),
        Joined::Stopped { .. } => panic!("nobody asked to stop"),
    }
}

#[test]
fn parts_from_elsewhere_in_any_order_and_form_give_the_bytes_of_one_writer() {
    for &form in FORMS {
        for spec in [spec(form, Dtype::F16), mapped(spec(form, Dtype::F32), Dtype::F16)] {
            let dir = tempfile::tempdir().unwrap();
            let (whole, out) = (dir.path().join("whole"), dir.path().join("out"));
            let manifest = write(&whole, &spec);
            let mut parts = parts(dir.path(), &[spec.clone(), spec.clone(), spec.clone()]);
            let before: Vec<_> = parts.iter().map(|part| tree(part)).collect();
            // A shard that two have is taken once.
            parts.push(dir.path().join("again"));
            write_some(&mut Session::open(&parts[3], spec.clone()).unwrap(), 2);
            parts.reverse();
            assert_eq!(joined(&parts, &out).unwrap(), manifest);
            assert_eq!(tree(&out), tree(&whole));
            parts.reverse();
            assert_eq!(
                parts[..3].iter().map(|part| tree(part)).collect::<Vec<_>>(),
                before,
                "nothing is changed"
            );
            // Once more finds it done.
            assert_eq!(joined(&parts, &out).unwrap(), manifest);
        }
    }
    assert_eq!(features(Dtype::F16).maps.len(), 2);
}

#[test]
fn a_join_that_was_stopped_anywhere_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    write(&whole, &both());
    let parts = parts(dir.path(), &[both(), both(), both()]);
    // Asked before each of three shards is brought, and is read back: 3, 3 and 1 images of 18 views.
    for (asked, wanted) in [0, 54, 108, 126, 126, 126].into_iter().enumerate() {
        let out = dir.path().join(format!("out {asked}"));
        let Joined::Stopped { done, rows } = join(&parts, &out, 2, &At::time(asked)).unwrap() else {
            panic!("not stopped")
        };
        assert_eq!((done, rows), (wanted, 126));
        assert!(!out.join("manifest.json").exists());
        if asked < 3 {
            // What a kill may leave of the next shard.
            fs::write(out.join(format!("shards/train-0000{asked}-of-00003.safetensors")), b"half").unwrap();
        }
        joined(&parts, &out).unwrap();
        assert_eq!(tree(&out), tree(&whole));
    }
    let out = dir.path().join("out 0");
    let Joined::Stopped { done: 126, rows: 126 } = join(&parts, &out, 2, &At::time(0)).unwrap() else {
        panic!("the verification of a published one was not stopped")
    };
}

#[test]
fn parts_of_several_engines_say_which_rows_are_whose() {
    let by = |engine: &str| {
        let mut spec = both();
        spec.teacher.engine = engine.into();
        (spec.any_engine, spec.build) = (true, Some("1".into()));
        spec
    };
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[by("a"), by("b"), by("a")]);
    let orders: [[usize; 3]; 3] = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
    let whole: Vec<_> = orders
        .iter()
        .enumerate()
        .map(|(number, order)| {
            let out = dir.path().join(format!("out {number}"));
            joined(&order.map(|part| parts[part].clone()), &out).unwrap();
            tree(&out)
        })
        .collect();
    assert!(whole.iter().all(|one| *one == whole[0]), "the order does not matter");
    let manifest = Manifest::read(&dir.path().join("out 1")).unwrap();
    let whose: Vec<_> = manifest.answered.iter().map(|one| (one.rows, one.by.engine.as_str())).collect();
    assert_eq!(whose, [([0, 54], "a"), ([54, 108], "b"), ([108, 126], "a")]);
}

#[test]
fn missing_shards_other_sets_and_rows_that_contradict_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let parts = parts(dir.path(), &[both(), both(), both()]);
    let error = joined(&parts[..2], &out).unwrap_err();
    assert!(matches!(error, Error::Pending { pending: 1, first: 2, .. }), "{error}");
    assert!(!out.exists(), "nothing is begun for nothing");

    let mut other = both();
    other.author = "somebody else".into();
    let begun = dir.path().join("other");
    write_some(&mut Session::open(&begun, other).unwrap(), 1);
    let error = joined(&[parts[0].clone(), begun], &out).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("author is \"somebody else\" there, and \"the tests\" in"), "{said}");
    assert_eq!(error.kind(), Kind::Input);

    // Image 4 is the second of its shard; one of its logits is another there.
    let differs = dir.path().join("differs");
    let mut session = Session::open(&differs, both()).unwrap();
    for job in session.pending() {
        let mut answers = logits(session.spec(), &job);
        if job.index == 1 {
            answers[(18 + 5) * 3 + 2] += 0.5;
        }
        session.write(&job, &answers).unwrap();
    }
    drop(session);
    let error = joined(&[parts.clone(), vec![differs]].concat(), &out).unwrap_err();
    assert!(
        matches!(error, Error::Contradiction { image: 4, view: 5, place: 2, one, other, .. } if (other - one).to_bits() == 0.5f32.to_bits()),
        "{error}"
    );
    // What was copied of the shards before stays, and is mended by a call that has no such part.
    joined(&parts, &out).unwrap();
    let error = joined(&[parts[0].clone(), out], &dir.path().join("more")).unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "a published one is no part: {error}");
}

#[test]
fn a_part_whose_file_was_damaged_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both(), both()]);
    let file = parts[1].join("shards/train-00001-of-00003.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let out = dir.path().join("out");
    let error = joined(&parts, &out).unwrap_err();
    assert!(matches!(&error, Error::FileHash { path, .. } if *path == file), "{error}");
    assert_eq!(error.kind(), Kind::Damage);
    fs::remove_file(&file).unwrap();
    let error = joined(&parts, &out).unwrap_err();
    assert!(matches!(&error, Error::MissingFile { path, .. } if *path == file), "{error}");
}

#[test]
fn what_lies_in_the_new_folder_is_no_answer_of_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both()]);
    let out = dir.path().join("out");
    let mut session = Session::open(&out, both()).unwrap();
    let job = session.pending().remove(0);
    let mut answers = logits(session.spec(), &job);
    answers[4] -= 0.5;
    session.write(&job, &answers).unwrap();
    drop(session);
    let error = joined(&parts, &out).unwrap_err();
    assert!(matches!(error, Error::Contradiction { image: 0, view: 1, place: 1, .. }), "{error}");
    assert!(!out.join("manifest.json").exists());
}

#[test]
fn parts_are_neither_written_to_nor_written_into() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both()]);
    let before: Vec<_> = parts.iter().map(|part| tree(part)).collect();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&parts[1], &link).unwrap();
    let places =
        [parts[0].clone(), parts[1].join("."), parts[1].join("x"), parts[0].join(".work/x"), link.join("x")];
    for out in places {
        let error = joined(&parts, &out).unwrap_err();
        assert!(matches!(error, Error::Inside { .. }), "{}: {error}", out.display());
    }
    // A step upwards out of one is beside it.
    joined(&parts, &parts[0].join("../beside")).unwrap();
    assert_eq!(parts.iter().map(|part| tree(part)).collect::<Vec<_>>(), before);
}

#[test]
fn a_record_that_names_rows_it_does_not_have_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both(), both()]);
    let record = parts[1].join(".work/shard-00001.json");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    for (place, rows) in [[0, u64::MAX], [0, 10], [5, 54], [5, 1], [0, 0]].into_iter().enumerate() {
        let mut forged = written.clone();
        forged["answered"] = serde_json::json!([{ "rows": rows, "by": { "engine": "x", "device": "cpu" } }]);
        fs::write(&record, forged.to_string()).unwrap();
        let error = joined(&parts, &dir.path().join(format!("out {place}"))).unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{rows:?}: {error}");
    }
}

#[test]
fn room_is_looked_at_before_the_first_part_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both(), both()]);
    let record = parts[2].join(".work/shard-00002.json");
    let text = fs::read_to_string(&record).unwrap();
    let bytes = text.find("\"bytes\":").unwrap() + 8;
    let end = bytes + text[bytes..].find(',').unwrap();
    fs::write(&record, format!("{}{}{}", &text[..bytes], 1u64 << 60, &text[end..])).unwrap();
    let out = dir.path().join("out");
    let error = joined(&parts, &out).unwrap_err();
    assert!(matches!(error, Error::NoRoom { wanted, .. } if wanted > 1 << 60), "{error}");
    assert!(!tree(&out).keys().any(|name| name.contains("-of-")), "nothing is copied");
}

/// Files of a terabyte that hold nothing: whoever read them whole would not come back.
#[test]
fn records_longer_than_any_is_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both(), both()]);
    let longer = |name: &str| {
        let file = fs::OpenOptions::new().write(true).open(parts[1].join(".work").join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    longer("shard-00001.json");
    let error = joined(&parts, &dir.path().join("out")).unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error}");
    longer("parameters.json");
    let error = joined(&parts, &dir.path().join("out")).unwrap_err();
    assert!(matches!(error, Error::ManifestSyntax { .. }), "{error}");
}

#[test]
fn a_part_that_was_copied_without_what_is_hidden_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path(), &[both(), both()]);
    fs::remove_dir_all(parts[1].join(".work")).unwrap();
    let error = joined(&parts, &dir.path().join("out")).unwrap_err();
    assert!(matches!(&error, Error::WithoutWork { dir } if *dir == parts[1]), "{error}");
    assert_eq!(error.kind(), Kind::Input);
}
