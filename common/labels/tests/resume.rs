//! However a writer dies, the same command afterwards gives the same folder, and nobody else's work is touched.

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fixture::{PARQUET, logits, sparse, spec, tree, write, write_some};
use labels::{Check, Dtype, Error, Form, Hex, Kind, LabelSet, Parent, Session, Spec, Views};

type Change = fn(&mut Spec);

fn both() -> Spec {
    spec(Form::FULLEST, Dtype::F16)
}

fn finished(spec: &Spec) -> (tempfile::TempDir, std::collections::BTreeMap<String, Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), spec);
    let tree = tree(dir.path());
    (dir, tree)
}

#[test]
fn a_writer_dropped_after_any_shard_is_resumed() {
    let (_reference, wanted) = finished(&both());
    for shards in 0..=3 {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::open(dir.path(), both()).unwrap();
        write_some(&mut session, shards);
        drop(session);
        assert!(matches!(LabelSet::open(dir.path(), Check::Hashes), Err(Error::Unfinished { .. })));
        let session = Session::open(dir.path(), both()).unwrap();
        assert_eq!(session.pending().len(), 3 - shards);
        drop(session);
        write(dir.path(), &both());
        assert_eq!(tree(dir.path()), wanted, "after {shards}");
    }
}

/// The usual size of a shard may be another in the next version, or for another number type.
#[test]
fn a_spec_that_leaves_the_size_of_shards_open_goes_on_in_those_that_were_begun() {
    let (_reference, wanted) = finished(&both());
    let open = || {
        let mut spec = both();
        spec.shard_images = None;
        spec
    };
    let dir = tempfile::tempdir().unwrap();
    write_some(&mut Session::open(dir.path(), both()).unwrap(), 1);
    let mut session = Session::open(dir.path(), open()).unwrap();
    assert_eq!((session.shards(), session.pending().len()), (3, 2));
    write_some(&mut session, 1);
    drop(session);
    write(dir.path(), &open());
    assert_eq!(tree(dir.path()), wanted);
    assert!(Session::open(dir.path(), open()).unwrap().is_finished(), "published in shards of that size");
}

#[test]
fn half_written_files_are_discarded() {
    let (reference, wanted) = finished(&both());
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), both()).unwrap();
    write_some(&mut session, 2);
    drop(session);
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    // Cut off while writing; moved into place without a record; a card and sums without a commit; a record cut off.
    put(".work/shards-train-00002-of-00003.safetensors.tmp", b"half");
    put(".work/.train-00002-of-00003.safetensorsa1B2c3.partial", b"half");
    put("shards/train-00002-of-00003.safetensors", b"half");
    put("README.md", b"half");
    put("SHA256SUMS", b"half");
    put(".work/shard-00000.json", b"{\"files\": [");
    // A record whose file changed.
    let twin = |shard: usize| {
        let (folder, ending) = if PARQUET { ("data", "parquet") } else { ("shards", "safetensors") };
        format!("{folder}/train-0000{shard}-of-00003.{ending}")
    };
    put(&twin(1), &fs::read(reference.path().join(twin(0))).unwrap());
    let session = Session::open(dir.path(), both()).unwrap();
    assert_eq!(session.pending().len(), 3);
    drop(session);
    write(dir.path(), &both());
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn an_interruption_around_the_commit_is_tidied_up() {
    let (dir, wanted) = finished(&both());
    fs::create_dir(dir.path().join(".work")).unwrap();
    for name in ["lock", "parameters.json", "shard-00000.json", "x.tmp"] {
        fs::write(dir.path().join(".work").join(name), "").unwrap();
    }
    LabelSet::open(dir.path(), Check::Hashes).unwrap();
    let session = Session::open(dir.path(), both()).unwrap();
    assert!(session.pending().is_empty());
    let manifest = session.finish().unwrap();
    assert_eq!(manifest, LabelSet::open(dir.path(), Check::Hashes).unwrap().manifest().clone());
    assert_eq!(tree(dir.path()), wanted);
    // And once more, on a folder that needs nothing.
    write(dir.path(), &both());
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_finished_folder_that_lost_a_file_is_not_taken_for_finished() {
    let (dir, _) = finished(&both());
    let file = "shards/train-00001-of-00003.safetensors";
    let file = if PARQUET { "data/train-00001-of-00003.parquet" } else { file };
    fs::remove_file(dir.path().join(file)).unwrap();
    assert!(matches!(Session::open(dir.path(), both()).err(), Some(Error::MissingFile { .. })));
}

#[test]
fn an_empty_work_folder_is_begun_afresh() {
    let (_reference, wanted) = finished(&both());
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".work")).unwrap();
    fs::write(dir.path().join(".work/.work-parameters.json.tmp"), "{").unwrap();
    write(dir.path(), &both());
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Session::open(dir.path(), both()).unwrap();
    let Err(error) = Session::open(dir.path(), both()) else {
        panic!("two writers at once");
    };
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(first);
    Session::open(dir.path(), both()).unwrap();
}

/// A label set that answers were taken over from.
fn parent() -> Parent {
    let (engine, device) = ("theirs".into(), "cpu".into());
    Parent { content_hash: Hex([7; 32]), images: 7, views: Views::All, engine, device }
}

#[test]
fn other_parameters_are_refused_with_both_values() {
    let other: [(Change, &str, &str, &str); 9] = [
        (|spec| spec.dtype = Dtype::F32, "dtype", "f16", "f32"),
        #[cfg(feature = "parquet")]
        (|spec| spec.form = Form::Parquet, "form", "both", "parquet"),
        #[cfg(not(feature = "parquet"))]
        (|spec| spec.license = "none".into(), "license", "CC-BY-4.0", "none"),
        (|spec| spec.shard_images = Some(2), "shard_images", "3", "2"),
        (|spec| spec.teacher.architecture = "b".into(), "teacher.architecture", "toy-net", "\"b\""),
        (|spec| spec.teacher.weights_blake3 = None, "teacher.weights_blake3", "", "run has none"),
        (
            |spec| spec.parents = vec![parent()],
            "parents[0] is none there",
            "",
            "engine theirs, images 7, views all",
        ),
        (|spec| spec.dataset.labels[0] = 2, "dataset.hash", "", ""),
        (|spec| spec.author = "me".into(), "author", "the tests", "me"),
        (
            |spec| {
                *spec = sparse(Form::FULLEST);
                spec.dtype = Dtype::F16;
            },
            "views",
            "all",
            "plan:4@9",
        ),
    ];
    let (done, wanted) = finished(&both());
    let begun = tempfile::tempdir().unwrap();
    let mut session = Session::open(begun.path(), both()).unwrap();
    write_some(&mut session, 1);
    drop(session);
    let before = tree(begun.path());
    for (change, parameter, there, here) in other {
        for dir in [begun.path(), done.path()] {
            let mut spec = both();
            change(&mut spec);
            let Err(error) = Session::open(dir, spec) else {
                panic!("{parameter} was not compared");
            };
            let text = error.to_string();
            assert!(matches!(error, Error::OtherParameters { .. }), "{text}");
            assert!(text.contains(parameter) && text.contains(there) && text.contains(here), "{text}");
        }
    }
    assert_eq!(tree(begun.path()), before);
    assert_eq!(tree(done.path()), wanted);

    // As many rows, but other views: the manifest cannot tell, the half-done folder can.
    let dir = tempfile::tempdir().unwrap();
    drop(Session::open(dir.path(), sparse(Form::FULLEST)).unwrap());
    let mut spec = sparse(Form::FULLEST);
    let as_many = |image| (0..spec.rows.views_of(image).len() as u16).collect::<Vec<u16>>();
    spec.rows = labels::RowTable::from_views((0..7).map(as_many), spec.augment).unwrap();
    let error = Session::open(dir.path(), spec).err().unwrap();
    assert!(error.to_string().contains("list_of_views"), "{error}");
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years").unwrap();
    let error = Session::open(dir.path(), both()).err().unwrap();
    assert!(matches!(error, Error::Occupied { .. }) && error.to_string().contains("thesis.tex"), "{error}");
    assert_eq!(tree(dir.path()).len(), 1);

    let dir = tempfile::tempdir().unwrap();
    drop(Session::open(dir.path(), both()).unwrap());
    fs::write(dir.path().join("shards/mine"), "").unwrap();
    let error = Session::open(dir.path(), both()).err().unwrap();
    assert!(error.to_string().contains("shards/mine"), "{error}");
}

#[test]
fn what_is_not_a_job_or_not_enough_logits_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), both()).unwrap();
    let job = session.pending()[1].clone();
    let mut rows = logits(session.spec(), &job);
    rows.pop();
    assert!(session.write(&job, &rows).is_err());
    let mut other = job.clone();
    other.index = 7;
    assert!(session.write(&other, &[]).is_err());
    rows.push(f32::INFINITY);
    assert!(matches!(
        session.write(&job, &rows),
        Err(Error::TeacherNotFinite { image: 5, view: 17, class: 2, .. })
    ));
    assert_eq!(session.pending().len(), 3);
    let error = session.finish().unwrap_err();
    assert!(matches!(error, Error::Pending { pending: 3, shards: 3, .. }), "{error}");
}

#[test]
fn specs_that_contradict_themselves_are_refused() {
    let changes: [Change; 7] = [
        |spec| spec.dataset.split = "../x".into(),
        |spec| spec.dataset.labels[3] = 3,
        |spec| spec.dataset.labels.truncate(3),
        |spec| spec.dataset = spec.dataset.prefix(0),
        |spec| spec.shard_images = Some(0),
        |spec| spec.rows = labels::RowTable::all(6, spec.augment),
        |spec| spec.views = labels::Views::Random { k: 2, seed: 0 },
    ];
    for change in changes {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = both();
        change(&mut spec);
        let error = Session::open(dir.path(), spec).err().unwrap();
        assert!(matches!(error, Error::Unusable { .. }), "{error}");
        assert!(tree(dir.path()).is_empty());
    }
}

#[test]
fn an_unwritable_folder_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Session::open(&file.join("set"), both()).err().unwrap();
    assert_eq!(error.kind(), Kind::Io);

    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), "").is_ok() {
        println!("skipped: this user may write anywhere");
        return;
    }
    let error = Session::open(&closed, both()).err().unwrap();
    assert!(error.to_string().contains("permission"), "{error}");
}

/// The body of the process that is killed below; on its own it does nothing.
#[test]
fn a_killed_writer_child() {
    let Ok(dir) = std::env::var("LABELS_TEST_CHILD_DIR") else {
        return;
    };
    let mut session = Session::open(Path::new(&dir), many()).unwrap();
    for job in session.pending() {
        let logits = logits(session.spec(), &job);
        session.write(&job, &logits).unwrap();
    }
    session.finish().unwrap();
}

/// One image per shard: many moments to die at.
fn many() -> Spec {
    let mut spec = both();
    spec.shard_images = Some(1);
    spec
}

#[test]
fn kill_9_at_any_moment_then_the_same_again_gives_the_same_folder() {
    let (_reference, wanted) = finished(&many());
    let child = |dir: &Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_writer_child"])
            .env("LABELS_TEST_CHILD_DIR", dir)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let started = std::time::Instant::now();
    let scratch = tempfile::tempdir().unwrap();
    assert!(child(scratch.path()).wait().unwrap().success());
    let whole = started.elapsed();
    let mut unfinished = 0;
    for round in 0..24u32 {
        let dir = tempfile::tempdir().unwrap();
        // Up to three kills of one folder, spread over the time that a whole run takes.
        for attempt in 1..=1 + round % 3 {
            let mut process = child(dir.path());
            std::thread::sleep(whole * (round + 1) / 24 / attempt + Duration::from_micros(200));
            process.kill().unwrap();
            process.wait().unwrap();
        }
        unfinished += u32::from(LabelSet::open(dir.path(), Check::Hashes).is_err());
        write(dir.path(), &many());
        assert_eq!(tree(dir.path()), wanted, "round {round}");
    }
    assert!(unfinished > 0, "no kill came in time to interrupt anything");
}
