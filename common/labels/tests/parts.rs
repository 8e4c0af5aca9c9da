//! Several writers at one label set: whoever dies, comes twice or comes late, its bytes are those of one writer.

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use fixture::{At, forge_manifest, spec, tree, write, write_some};
use labels::{Check, Dtype, Error, Form, Kind, LabelSet, Part, Session, Spec, finalize, finalize_watched};

fn both() -> Spec {
    spec(Form::FULLEST, Dtype::F16)
}

fn part(index: usize, of: usize) -> Part {
    Part { index, of }
}

fn open(dir: &Path, index: usize, of: usize) -> Result<Session, Error> {
    Session::open_part(dir, both(), part(index, of))
}

fn write_part(dir: &Path, index: usize, of: usize) {
    write_some(&mut open(dir, index, of).unwrap(), usize::MAX);
}

/// What one writer leaves.
fn whole() -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &both());
    tree(dir.path())
}

#[test]
fn parts_in_any_order_and_number_are_finalized_to_the_bytes_of_one_writer() {
    let wanted = whole();
    for order in [vec![0], vec![1, 0], vec![0, 1, 2], vec![2, 0, 1], vec![4, 3, 2, 1, 0]] {
        let dir = tempfile::tempdir().unwrap();
        for &index in &order {
            write_part(dir.path(), index, order.len());
            // A retry of a finished part finds nothing to do.
            assert!(open(dir.path(), index, order.len()).unwrap().pending().is_empty());
        }
        let manifest = finalize(dir.path()).unwrap();
        assert_eq!(tree(dir.path()), wanted, "{order:?}");
        assert_eq!(LabelSet::open(dir.path(), Check::Hashes).unwrap().manifest(), &manifest);
        // Every later attempt, of a part or of all, finds it published.
        assert_eq!(finalize(dir.path()).unwrap(), manifest);
        assert!(open(dir.path(), 0, 9).unwrap().is_finished());
        assert!(Session::open(dir.path(), both()).unwrap().is_finished());
        assert_eq!(tree(dir.path()), wanted);
    }
}

#[test]
fn parts_that_begin_and_write_at_the_same_moment_do_not_disturb_each_other() {
    let wanted = whole();
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for index in 0..3 {
                let dir = dir.path();
                scope.spawn(move || write_part(dir, index, 3));
            }
        });
        finalize(dir.path()).unwrap();
        assert_eq!(tree(dir.path()), wanted);
    }
}

#[test]
fn a_part_that_died_anywhere_is_written_by_its_retry_while_the_others_go_on() {
    let wanted = whole();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    // Alive all the while, in the midst of its first shard.
    let mut other = open(dir.path(), 0, 2).unwrap();
    let job = other.pending()[0].clone();
    let mut answers = other.answers(&job).unwrap();
    let all = fixture::logits(other.spec(), &job);
    answers.add(&all[..30]).unwrap();
    put(".work/part-0-of-2/.alive123456.partial", b"half");

    drop(open(dir.path(), 1, 2).unwrap());
    put(".work/part-1-of-2/.train-00001-of-00003.safetensorsa1B2c3.partial", b"half");
    put("shards/train-00001-of-00003.safetensors", b"half");
    put(".work/shard-00002.json", b"{\"files\": [");
    let mut retry = open(dir.path(), 1, 2).unwrap();
    assert_eq!((retry.ours(), retry.pending().len(), retry.missing()), (1..3, 2, 3));
    assert!(!dir.path().join(".work/part-1-of-2/.train-00001-of-00003.safetensorsa1B2c3.partial").exists());
    assert!(dir.path().join(".work/part-0-of-2/.alive123456.partial").exists());
    write_some(&mut retry, 2);
    assert_eq!(retry.missing(), 1);
    drop(retry);

    answers.add(&all[30..]).unwrap();
    other.write(&job, answers.values()).unwrap();
    drop(other);
    finalize(dir.path()).unwrap();
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn two_attempts_at_one_part_and_a_writer_of_all_beside_a_part_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), 1, 3).unwrap();
    let beside = open(dir.path(), 0, 3).unwrap();
    let error = open(dir.path(), 1, 3).err().unwrap();
    assert!(matches!(error, Error::PartLocked { .. }) && error.to_string().contains("part 1/3"), "{error}");
    let error = Session::open(dir.path(), both()).err();
    assert!(matches!(error, Some(Error::Locked { .. })), "{error:?}");
    // Nobody is locked out for the sake of what is not there yet.
    assert!(matches!(finalize(dir.path()), Err(Error::Pending { pending: 3, .. })));
    drop((first, beside));
    for index in 0..3 {
        write_part(dir.path(), index, 3);
    }
    let late = open(dir.path(), 1, 3).unwrap();
    assert!(matches!(finalize(dir.path()), Err(Error::Locked { .. })), "somebody may be at work");
    drop(late);
    let all = Session::open(dir.path(), both()).unwrap();
    assert!(matches!(open(dir.path(), 1, 3), Err(Error::Locked { .. })));
    drop(all);
    open(dir.path(), 1, 3).unwrap();
}

#[test]
fn parts_agree_on_how_many_they_are_and_on_what_they_write() {
    let wanted = whole();
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), 0, 3);
    let error = open(dir.path(), 1, 2).err().unwrap();
    assert!(matches!(error, Error::OtherParts { found: 3, .. }) && error.kind() == Kind::Input, "{error}");
    let mut other = both();
    other.dtype = Dtype::F32;
    let error = Session::open_part(dir.path(), other, part(1, 3)).err().unwrap();
    assert!(matches!(error, Error::OtherParameters { .. }), "{error}");
    // One writer without parts goes on with what is there, and parts may then be others.
    let mut session = Session::open(dir.path(), both()).unwrap();
    assert_eq!(session.pending().len(), 2);
    write_some(&mut session, 1);
    drop(session);
    write_part(dir.path(), 1, 2);
    finalize(dir.path()).unwrap();
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn what_is_not_whole_is_not_finalized_and_a_part_publishes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(finalize(dir.path()), Err(Error::NotALabelSet { .. })));
    let mut session = open(dir.path(), 0, 3).unwrap();
    write_some(&mut session, 1);
    assert!(matches!(session.finish(), Err(Error::Unusable { .. })));
    let error = finalize(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Pending { pending: 2, shards: 3, first: 1, .. }), "{error}");
    write_part(dir.path(), 1, 3);
    // A shard that changed since is none.
    let shard = dir.path().join("shards/train-00000-of-00003.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, bytes).unwrap();
    write_part(dir.path(), 2, 3);
    let before = tree(dir.path());
    let error = finalize(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Pending { pending: 1, first: 0, .. }), "{error}");
    assert_eq!(error.kind(), Kind::Busy);
    assert_eq!(tree(dir.path()), before, "what is wrong is for the writer to mend; nothing is removed");
    write_part(dir.path(), 0, 3);
    // Asked to end before each shard is hashed, and before each is read back.
    let whole_part = tree(dir.path());
    for asked in 0..6 {
        assert!(finalize_watched(dir.path(), 2, &At::time(asked)).unwrap().is_none(), "{asked}");
        assert_eq!(tree(dir.path()), whole_part, "{asked}");
    }
    // Cut off between card and manifest.
    fs::write(dir.path().join("README.md"), "half").unwrap();
    fs::write(dir.path().join("SHA256SUMS"), "half").unwrap();
    finalize(dir.path()).unwrap();
    assert_eq!(tree(dir.path()), whole());
    assert!(finalize_watched(dir.path(), 2, &At::time(0)).unwrap().is_none());
    // A finished one is looked at before it is called so.
    forge_manifest(dir.path(), |text| text.replacen("\"right\": ", "\"right\": 1", 1));
    assert_eq!(finalize(dir.path()).unwrap_err().kind(), Kind::Damage);
}

/// `.work` travels with a folder, and what it says may be anybody's.
#[test]
fn parameters_that_nobody_can_have_begun_with_are_refused_before_a_path_is_made_of_them() {
    for (truth, lie) in [
        ("\"split\":\"train\"", "\"split\":\"../../victim/v\""),
        ("\"shard_images\":3", "\"shard_images\":0"),
        ("\"images\":7", "\"images\":0"),
        ("\"images\":7", "\"images\":281474976710656"),
        ("\"classes\":3", "\"classes\":0"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write_part(dir.path(), 0, 1);
        let path = dir.path().join(".work/parameters.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(truth), "{text}");
        fs::write(&path, text.replacen(truth, lie, 1)).unwrap();
        let before = tree(dir.path());
        let error = finalize(dir.path()).unwrap_err();
        assert!(matches!(error.kind(), Kind::Damage | Kind::Busy), "{lie}: {error}");
        assert_eq!(tree(dir.path()), before, "{lie}");
    }
}

#[test]
fn records_name_their_own_files_or_none() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), 0, 1);
    let path = dir.path().join(".work/shard-00001.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("train-00001", "train-00000")).unwrap();
    assert!(matches!(finalize(dir.path()), Err(Error::Pending { first: 1, .. })));
}

#[test]
fn shards_that_an_earlier_version_recorded_are_gone_on_with() {
    let wanted = whole();
    let dir = tempfile::tempdir().unwrap();
    write_some(&mut Session::open(dir.path(), both()).unwrap(), 2);
    for index in 0..2 {
        let path = dir.path().join(format!(".work/shard-0000{index}.json"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"rows\":54,"), "{text}");
        fs::write(&path, text.replace("\"rows\":54,", "")).unwrap();
    }
    let mut session = Session::open(dir.path(), both()).unwrap();
    assert_eq!(session.pending().len(), 1);
    write_some(&mut session, 1);
    session.finish().unwrap();
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_set_is_not_written_into_a_published_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &both());
    let error = Session::open(&dir.path().join("sub/set"), both()).err().unwrap();
    assert!(matches!(error, Error::Inside { .. }), "{error}");
    assert_eq!(tree(dir.path()), whole());
}

#[test]
fn a_strangers_file_stops_a_part_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..3 {
        write_part(dir.path(), index, 3);
    }
    fs::write(dir.path().join("shards/notes.txt"), "").unwrap();
    for error in [open(dir.path(), 1, 3).err(), finalize(dir.path()).err()] {
        assert!(matches!(error, Some(Error::Occupied { .. })), "{error:?}");
    }
}
