//! A label set that is fetched: no label set before all of it is there, the same bytes after, and begun again after any
//! interruption.

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixture::{FORMS, spec, tree, write};
use labels::{Check, Dtype, Error, Form, Incoming, Kind, LabelSet, Manifest};

/// A file in pieces of five bytes.
fn pieces(bytes: &[u8]) -> impl FnMut() -> Result<Option<Vec<u8>>, Error> + use<> {
    let mut pieces: Vec<Vec<u8>> = bytes.chunks(5).map(<[u8]>::to_vec).rev().collect();
    move || Ok(pieces.pop())
}

fn begin(from: &Path, to: &Path) -> Result<Incoming, Error> {
    Incoming::begin(to, "there", &fs::read(from.join("manifest.json")).unwrap())
}

/// Fetches what is missing of a form, at most so many shards.
fn fetch(incoming: &Incoming, from: &Path, form: Form, most: usize) -> Vec<String> {
    let pending = incoming.pending(form).unwrap();
    for file in pending.iter().take(most) {
        incoming.arriving(file).unwrap().take(pieces(&fs::read(from.join(&file.path)).unwrap())).unwrap();
    }
    pending.into_iter().map(|file| file.path).collect()
}

fn put_beside(incoming: &Incoming, from: &Path) {
    for name in ["README.md", "SHA256SUMS"] {
        incoming.put_beside(name, &fs::read(from.join(name)).unwrap()).unwrap();
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    tree(dir).into_iter().filter(|(name, _)| !name.ends_with('/')).collect()
}

#[test]
fn what_arrived_in_three_goes_is_byte_for_byte_what_was_sent_and_no_label_set_before() {
    for &form in FORMS {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        write(&from, &spec(form, Dtype::F16));
        let shards = tree(&from).keys().filter(|name| name.contains("/train-")).count();
        let first = begin(&from, &to).unwrap();
        assert_eq!(fetch(&first, &from, form, 1).len(), shards);
        drop(first);
        assert!(matches!(LabelSet::open(&to, Check::Sizes).err(), Some(Error::Unfinished { .. })));
        let second = begin(&from, &to).unwrap();
        assert_eq!(fetch(&second, &from, form, usize::MAX).len(), shards - 1);
        drop(second);
        assert!(matches!(LabelSet::open(&to, Check::Sizes).err(), Some(Error::Unfinished { .. })));
        let third = begin(&from, &to).unwrap();
        assert!(third.pending(form).unwrap().is_empty());
        put_beside(&third, &from);
        third.finish().unwrap();
        assert!(tree(&to) == tree(&from));
        LabelSet::open(&to, Check::Hashes).unwrap();
    }
}

#[test]
fn no_byte_that_differs_and_no_length_that_differs_gets_a_name() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    write(&from, &spec(Form::Safetensors, Dtype::F16));
    let incoming = begin(&from, &to).unwrap();
    let file = incoming.pending(Form::Safetensors).unwrap().remove(0);
    let whole = fs::read(from.join(&file.path)).unwrap();
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 1;
    let longer = [&whole[..], b"x"].concat();
    for (bytes, what) in
        [(turned, "BLAKE3"), (whole[1..].to_vec(), "length"), (longer, "length"), (vec![], "length")]
    {
        let error = incoming.arriving(&file).unwrap().take(pieces(&bytes)).unwrap_err();
        assert_eq!(error.kind(), Kind::Damage);
        assert!(error.to_string().starts_with(&format!("there/{}: its {what} is ", file.path)), "{error}");
    }
    let names: Vec<String> = files(&to).into_keys().filter(|name| !name.starts_with(".work/")).collect();
    assert!(names.is_empty(), "{names:?}");
    assert!(incoming.finish().is_err());
}

#[test]
fn a_shard_that_broke_off_at_any_byte_goes_on_at_that_byte() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    write(&from, &spec(Form::Safetensors, Dtype::F16));
    let begun = begin(&from, &to).unwrap();
    let file = begun.pending(Form::Safetensors).unwrap().remove(0);
    let whole = fs::read(from.join(&file.path)).unwrap();
    drop(begun);
    for at in (0..=whole.len()).step_by(61).chain([1, whole.len() - 1, whole.len()]) {
        let incoming = begin(&from, &to).unwrap();
        let mut first = true;
        let piece = || {
            let is_first = std::mem::take(&mut first);
            if is_first { Ok(Some(whole[..at].to_vec())) } else { Err(Error::Locked { dir: "way".into() }) }
        };
        let broken = incoming.arriving(&file).unwrap().take(piece);
        assert!(matches!(broken, Err(Error::Locked { .. })));
        assert!(!to.join(&file.path).exists());
        drop(incoming);
        let incoming = begin(&from, &to).unwrap();
        let arriving = incoming.arriving(&file).unwrap();
        assert_eq!((arriving.there(), incoming.there(&file)), (at as u64, at as u64));
        arriving.take(pieces(&whole[at..])).unwrap();
        assert!(fs::read(to.join(&file.path)).unwrap() == whole, "broken off at {at}");
        assert_eq!(incoming.there(&file), 0);
        fs::remove_file(to.join(&file.path)).unwrap();
    }
}

#[test]
fn what_is_there_and_cannot_be_the_beginning_of_a_shard_is_not_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    write(&from, &spec(Form::Safetensors, Dtype::F16));
    let incoming = begin(&from, &to).unwrap();
    let file = incoming.pending(Form::Safetensors).unwrap().remove(0);
    let whole = fs::read(from.join(&file.path)).unwrap();
    let staged = to.join(".work").join(format!("arriving-{}", file.path.rsplit('/').next().unwrap()));
    let longer = [&whole[..], b"x"].concat();
    fs::write(&staged, longer).unwrap();
    assert_eq!(incoming.arriving(&file).unwrap().there(), 0);
    fs::remove_file(&staged).unwrap();
    let elsewhere = root.path().join("elsewhere");
    fs::write(&elsewhere, &whole[..9]).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &staged).unwrap();
    let arriving = incoming.arriving(&file).unwrap();
    assert_eq!(arriving.there(), 0);
    arriving.take(pieces(&whole)).unwrap();
    assert!(fs::read(&elsewhere).unwrap() == whole[..9]);
    assert!(fs::read(to.join(&file.path)).unwrap() == whole);
    // Other bytes of the right length: found at the end, and gone.
    fs::write(&staged, vec![7; 100]).unwrap();
    let arriving = incoming.arriving(&file).unwrap();
    assert_eq!(arriving.there(), 100);
    let error = arriving.take(pieces(&whole[100..])).unwrap_err();
    assert!(matches!(error, Error::Arrived { what: "BLAKE3", .. }), "{error}");
    assert!(!staged.exists());
}

#[test]
fn a_folder_with_something_else_in_it_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let (from, other, to) = (root.path().join("from"), root.path().join("other"), root.path().join("to"));
    write(&from, &spec(Form::Safetensors, Dtype::F16));
    write(&other, &spec(Form::Safetensors, Dtype::F32));
    fs::create_dir(&to).unwrap();
    fs::write(to.join("notes.txt"), "mine").unwrap();
    assert!(matches!(begin(&from, &to).err(), Some(Error::Occupied { .. })));
    assert_eq!(files(&to), BTreeMap::from([("notes.txt".into(), b"mine".to_vec())]));
    fs::remove_file(to.join("notes.txt")).unwrap();

    let begun = begin(&from, &to).unwrap();
    assert!(matches!(begin(&from, &to).err(), Some(Error::Locked { .. })), "two at once");
    fetch(&begun, &from, Form::Safetensors, 1);
    drop(begun);
    let before = files(&to);
    assert!(matches!(begin(&other, &to).err(), Some(Error::OtherSet { .. })));
    assert!(files(&to) == before);
    let before = files(&other);
    assert!(matches!(begin(&from, &other).err(), Some(Error::OtherSet { .. })), "a finished one");
    assert!(files(&other) == before);
    // `label run` that was interrupted.
    let session =
        labels::Session::open(&root.path().join("begun"), spec(Form::Safetensors, Dtype::F16)).unwrap();
    drop(session);
    assert!(matches!(begin(&from, &root.path().join("begun")).err(), Some(Error::BeingWritten { .. })));
    assert!(matches!(begin(&from, &from.join("inside")).err(), Some(Error::Inside { .. })));
}

#[test]
fn half_a_label_set_is_one_and_the_other_half_can_come_later() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    if !fixture::PARQUET {
        return;
    }
    write(&from, &spec(Form::FULLEST, Dtype::F16));
    let incoming = begin(&from, &to).unwrap();
    fetch(&incoming, &from, Form::Safetensors, usize::MAX);
    put_beside(&incoming, &from);
    incoming.finish().unwrap();
    LabelSet::open(&to, Check::Hashes).unwrap();
    assert!(!to.join("data").exists());
    // A bit of what is there turns, too.
    let shard = to.join("shards/train-00001-of-00003.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[4500] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let incoming = begin(&from, &to).unwrap();
    assert_eq!(fetch(&incoming, &from, Form::Both, usize::MAX).len(), 4);
    incoming.finish().unwrap();
    assert!(tree(&to) == tree(&from));
}

#[test]
fn a_manifest_from_elsewhere_is_believed_once_its_id_and_paths_hold() {
    let root = tempfile::tempdir().unwrap();
    let from = root.path().join("from");
    write(&from, &spec(Form::Safetensors, Dtype::F16));
    let bytes = fs::read(from.join("manifest.json")).unwrap();
    assert_eq!(Manifest::of_bytes("x", &bytes).unwrap(), Manifest::read(&from).unwrap());
    for place in (0..bytes.len()).step_by(7) {
        let mut turned = bytes.clone();
        turned[place] ^= 1;
        assert!(Incoming::begin(&root.path().join("to"), "there", &turned).is_err(), "byte {place}");
        assert!(!root.path().join("to").exists());
    }
}
