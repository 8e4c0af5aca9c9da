//! Lost and damaged shards come back to the bytes that were published, or not at all.
#![cfg(feature = "parquet")]

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixture::{logits, mapped, spec, tree, write};
use labels::{Dtype, Error, Form, Repair, Session, Spec, verify};

const SAFETENSORS: &str = "shards/train-00001-of-00003.safetensors";
const PARQUET: &str = "data/train-00001-of-00003.parquet";

fn published(spec: &Spec) -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), spec);
    let tree = tree(dir.path());
    (dir, tree)
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_form_that_is_lost_cut_or_changed_comes_back_from_the_other() {
    for spec in [spec(Form::Both, Dtype::F16), mapped(spec(Form::Both, Dtype::F32), Dtype::F16)] {
        let (dir, wanted) = published(&spec);
        for file in [SAFETENSORS, PARQUET] {
            let path = dir.path().join(file);
            let whole = fs::read(&path).unwrap();
            let damages: [&dyn Fn(); 4] = [
                &|| fs::remove_file(&path).unwrap(),
                &|| flip(&path),
                &|| fs::write(&path, &whole[..whole.len() - 1]).unwrap(),
                &|| fs::write(&path, [&whole[..], &[0]].concat()).unwrap(),
            ];
            for damage in damages {
                damage();
                assert!(!verify(dir.path()).unwrap().is_sound());
                let mut repair = Repair::open(dir.path(), false).unwrap();
                assert_eq!(repair.broken(), [1]);
                assert!(repair.from_other_form(1).unwrap());
                assert!(repair.broken().is_empty());
                drop(repair);
                assert_eq!(tree(dir.path()), wanted, "{file}");
            }
        }
    }
}

#[test]
fn a_shard_that_no_form_has_comes_back_from_the_same_answers_alone() {
    let spec = spec(Form::Both, Dtype::F16);
    let (dir, wanted) = published(&spec);
    fs::remove_file(dir.path().join(SAFETENSORS)).unwrap();
    flip(&dir.path().join(PARQUET));
    let mut repair = Repair::open(dir.path(), false).unwrap();
    assert!(!repair.from_other_form(1).unwrap());
    let job = repair.job(1, &spec);
    assert_eq!((job.images.clone(), job.rows.clone()), (3..6, 54..108));
    let mut answers = logits(&spec, &job);
    answers[7] += 0.25;
    let error = repair.from_answers(&spec, &job, &answers).unwrap_err();
    assert!(matches!(error, Error::NotTheSame { .. }), "{error}");
    assert!(!dir.path().join(SAFETENSORS).exists(), "nothing else is put in its place");
    answers[7] -= 0.25;
    repair.from_answers(&spec, &job, &answers).unwrap();
    drop(repair);
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_repair_that_was_killed_or_refused_is_begun_again_and_leaves_nothing() {
    let (dir, wanted) = published(&spec(Form::Both, Dtype::F16));
    for file in [SAFETENSORS, PARQUET, "shards/train-00002-of-00003.safetensors"] {
        if file != PARQUET {
            flip(&dir.path().join(file));
        }
    }
    // What one leaves that dies between two of its steps.
    fs::create_dir(dir.path().join(".work")).unwrap();
    fs::write(dir.path().join(".work/lock"), "").unwrap();
    fs::write(dir.path().join("shards/.train-00001-of-00003.safetensorsa1B2c3.partial"), "half").unwrap();
    let mut repair = Repair::open(dir.path(), false).unwrap();
    assert_eq!(repair.broken(), [1, 2]);
    assert!(repair.from_other_form(1).unwrap());
    drop(repair);
    assert!(!dir.path().join(".work").exists());
    let mut repair = Repair::open(dir.path(), false).unwrap();
    assert_eq!(repair.broken(), [2]);
    assert!(repair.from_other_form(2).unwrap());
    drop(repair);
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_sound_set_and_one_of_a_single_form_need_nothing_and_two_repairs_do_not_meet() {
    let (dir, wanted) = published(&spec(Form::Both, Dtype::F16));
    let repair = Repair::open(dir.path(), false).unwrap();
    assert!(repair.broken().is_empty());
    assert!(matches!(Repair::open(dir.path(), false), Err(Error::Locked { .. })));
    drop(repair);
    assert_eq!(tree(dir.path()), wanted);
    // The form that did not travel is no damage.
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    let repair = Repair::open(dir.path(), false).unwrap();
    assert!(repair.broken().is_empty() && repair.absent() == Some(Form::Parquet));
    drop(repair);
    // Unless it is missed.
    let mut repair = Repair::open(dir.path(), true).unwrap();
    for shard in repair.broken() {
        assert!(repair.from_other_form(shard).unwrap());
    }
    drop(repair);
    assert_eq!(tree(dir.path()), wanted);
    // A begun set is not published, and has its own way to go on.
    let begun = tempfile::tempdir().unwrap();
    drop(Session::open(begun.path(), spec(Form::Both, Dtype::F16)).unwrap());
    assert!(matches!(Repair::open(begun.path(), false), Err(Error::Unfinished { .. })));
}
