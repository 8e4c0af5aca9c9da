//! Answers are kept as they come, a published label set is looked at before it is believed, and writers that meet
//! in one folder get out of each other's way.

mod fixture;

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fixture::{CLASSES, logits, spec, tree, write};
use labels::{Check, Dtype, Error, Form, LabelSet, Session, Spec, verify};

fn both() -> Spec {
    spec(Form::FULLEST, Dtype::F16)
}

fn finished() -> (tempfile::TempDir, std::collections::BTreeMap<String, Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &both());
    let tree = tree(dir.path());
    (dir, tree)
}

/// Answers what is pending, so many rows at a time, and publishes; as a teacher does.
fn answer(dir: &Path, rows_at_once: usize, mut between: impl FnMut()) {
    let mut session = Session::open(dir, both()).unwrap();
    for job in session.pending() {
        let all = logits(session.spec(), &job);
        let mut answers = session.answers(&job).unwrap();
        assert_eq!(answers.values(), &all[..answers.rows() * CLASSES]);
        while answers.rows() < job.rows.len() {
            let rest = &all[answers.rows() * CLASSES..];
            answers.add(&rest[..rest.len().min(rows_at_once * CLASSES)]).unwrap();
            between();
        }
        session.write(&job, answers.values()).unwrap();
    }
    session.finish().unwrap();
}

/// The body of the process that is killed below; on its own it does nothing.
#[test]
fn a_killed_teacher_child() {
    if let Ok(dir) = std::env::var("LABELS_TEST_TEACHER_DIR") {
        answer(Path::new(&dir), 1, || std::thread::sleep(Duration::from_micros(500)));
    }
}

#[test]
fn kill_9_costs_the_answer_that_was_being_given_and_nothing_before_it() {
    let (_reference, wanted) = finished();
    let mut kept = 0;
    for round in 0..12u32 {
        let dir = tempfile::tempdir().unwrap();
        let mut before = 0;
        for _ in 0..3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "a_killed_teacher_child"])
                .env("LABELS_TEST_TEACHER_DIR", dir.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            // Caught while it answers, however long it takes to start.
            let shard = |index: u32| dir.path().join(format!(".work/answers-0000{index}"));
            while !(0..3).any(|index| shard(index).exists()) && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(Duration::from_millis(u64::from(round) * 2));
            child.kill().unwrap();
            child.wait().unwrap();
            let Ok(session) = Session::open(dir.path(), both()) else { panic!("the folder was spoilt") };
            let missing: usize = session.pending().iter().map(|job| job.rows.len()).sum();
            let answered: usize =
                session.pending().iter().map(|job| session.answers(job).unwrap().rows()).sum();
            let done = session.spec().rows.len() - missing + answered;
            assert!(done >= before, "{done} rows after {before}");
            kept += answered;
            before = done;
        }
        answer(dir.path(), 7, || {});
        assert_eq!(tree(dir.path()), wanted, "round {round}");
    }
    assert!(kept > 0, "no kill came while a shard was being answered");
}

#[test]
fn answers_that_are_kept_need_no_teacher_again_whatever_the_number_of_rows_at_once() {
    let (_reference, wanted) = finished();
    for first in [1, 5, 53] {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::open(dir.path(), both()).unwrap();
        let job = session.pending()[1].clone();
        session.answers(&job).unwrap().add(&logits(session.spec(), &job)[..first * CLASSES]).unwrap();
        drop(session);
        let mut session = Session::open(dir.path(), both()).unwrap();
        assert_eq!(session.pending().len(), 3);
        let mut answers = session.answers(&job).unwrap();
        assert_eq!(answers.rows(), first);
        // A shard whose answers were left behind by a kill after its record.
        let left = fs::read(dir.path().join(".work/answers-00001")).unwrap();
        answers.add(&logits(session.spec(), &job)[first * CLASSES..]).unwrap();
        session.write(&job, answers.values()).unwrap();
        assert!(!dir.path().join(".work/answers-00001").exists());
        fs::write(dir.path().join(".work/answers-00001"), left).unwrap();
        drop(session);
        answer(dir.path(), first, || {});
        assert_eq!(tree(dir.path()), wanted);
    }
}

#[test]
fn a_published_folder_is_verified_before_it_is_called_finished() {
    let (dir, wanted) = finished();
    for name in ["shards/train-00001-of-00003.safetensors", "manifest.json"] {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = Session::open(dir.path(), both()).err().unwrap().to_string();
        assert!(error.contains(name.rsplit('/').next().unwrap()), "{error}");
        fs::write(&path, &wanted[name]).unwrap();
    }
    // Rows under forged hashes: only counting them again can tell.
    let shard = "shards/train-00001-of-00003.safetensors";
    let mut bytes = wanted[shard].clone();
    bytes[4096 + 4 * 8 + 3 * 4] ^= 1;
    fixture::forge_file(dir.path(), shard, &bytes);
    assert!(LabelSet::open(dir.path(), Check::Hashes).is_ok());
    assert!(matches!(Session::open(dir.path(), both()).err(), Some(Error::ContentHash { .. })));
}

#[test]
fn a_published_folder_with_an_edited_card_is_finished_and_says_so() {
    let (dir, _) = finished();
    fs::write(dir.path().join("README.md"), "# Mine\n").unwrap();
    let session = Session::open(dir.path(), both()).unwrap();
    assert!(session.is_finished() && session.notes().len() == 1, "{:?}", session.notes());
}

#[test]
fn a_work_folder_that_cannot_be_removed_does_not_fail_the_commit() {
    let (_reference, wanted) = finished();
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A link is no folder to `rmdir`, as little as one that holds a file of NFS.
    symlink(elsewhere.path(), dir.path().join(".work")).unwrap();
    write(dir.path(), &both());
    assert!(dir.path().join(".work").is_dir(), "it was removed, and nothing is tested");
    LabelSet::open(dir.path(), Check::Hashes).unwrap();
    assert!(Session::open(dir.path(), both()).unwrap().is_finished());
    fs::remove_file(dir.path().join(".work")).unwrap();
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn whoever_comes_while_another_finishes_waits_or_finds_it_finished() {
    let (mut finished, mut locked) = (0, 0);
    for _ in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(dir.path(), &both()));
            while !dir.path().join("README.md").exists() && !writer.is_finished() {
                std::hint::spin_loop();
            }
            loop {
                match Session::open(dir.path(), both()) {
                    Err(Error::Locked { .. }) => locked += 1,
                    Err(error) => panic!("{error}"),
                    Ok(session) => {
                        assert!(session.is_finished(), "a published label set is begun again");
                        finished += 1;
                        break;
                    }
                }
            }
        });
        if fixture::PARQUET {
            assert!(verify(dir.path()).unwrap().is_sound());
        }
        assert!(!dir.path().join(".work").exists());
    }
    assert!(finished == 60 && locked > 0, "{finished} finished, {locked} locked: nobody met");
}

#[test]
fn what_was_published_while_one_reached_for_the_lock_is_taken_for_finished() {
    let (reference, wanted) = finished();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".work")).unwrap();
    // Opening a pipe to write waits for a reader: that is where the second writer stands meanwhile.
    let lock = dir.path().join(".work/lock");
    if !Command::new("mkfifo").arg(&lock).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no mkfifo");
        return;
    }
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Session::open(dir.path(), both()).map(|session| session.is_finished()));
        std::thread::sleep(Duration::from_millis(300));
        for name in wanted.keys().rev() {
            if name.ends_with('/') {
                continue;
            }
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::copy(reference.path().join(name), dir.path().join(name)).unwrap();
        }
        let at_once = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let _reader = fs::OpenOptions::new().read(true).custom_flags(at_once).open(&lock).unwrap();
        assert!(second.join().unwrap().unwrap(), "a published label set is begun again");
    });
    assert!(!dir.path().join(".work").exists());
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn hidden_files_of_other_programs_are_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    fs::write(dir.path().join(".DS_Store"), "").unwrap();
    let mut session = Session::open(dir.path(), both()).unwrap();
    fixture::write_some(&mut session, 1);
    drop(session);
    fs::write(dir.path().join("shards/.DS_Store"), "").unwrap();
    write(dir.path(), &both());
    LabelSet::open(dir.path(), Check::Hashes).unwrap();
}
