//! What `verify` finds is the same on any number of threads, wherever shards end; and it ends when it is asked to.

mod fixture;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fixture::{spec, tree, write};
use labels::{
    Augment, Dataset, Dtype, Form, Incoming, Outgoing, Report, RowTable, Spec, Watch, image_hash,
    verify_watched,
};

/// Stops after so many bytes.
struct Until {
    most: u64,
    total: AtomicU64,
    hashed: AtomicU64,
}

impl Until {
    fn new(most: u64) -> Until {
        Until { most, total: 0.into(), hashed: 0.into() }
    }
}

impl Watch for Until {
    fn begin(&self, total: u64) {
        self.total.store(total, Ordering::SeqCst);
    }

    fn hashed(&self, bytes: u64) {
        self.hashed.fetch_add(bytes, Ordering::SeqCst);
    }

    fn stop(&self) -> bool {
        self.hashed.load(Ordering::SeqCst) >= self.most
    }
}

fn verified(dir: &Path, threads: usize) -> Report {
    let until = Until::new(u64::MAX);
    let report = verify_watched(dir, threads, &until).unwrap().expect("nobody stops it");
    if report.is_sound() {
        assert_eq!(until.hashed.load(Ordering::SeqCst), until.total.load(Ordering::SeqCst));
    }
    report
}

/// All that is said of a label set.
fn said(report: &Report) -> String {
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    let notes: Vec<String> = report.notes.iter().map(ToString::to_string).collect();
    format!("{} {} {:?} {problems:#?} {notes:#?}", report.files, report.bytes, report.content)
}

/// 2,500 images, so that the ranges of 1,024 that are hashed together end within shards and go on in others.
fn many(shard_images: usize) -> Spec {
    const IMAGES: usize = 2500;
    let augment: Augment = "flip".parse().unwrap();
    let mut spec = spec(Form::FULLEST, Dtype::F16);
    spec.dataset = Dataset {
        hashes: (0..IMAGES).map(|image| image_hash(2, 2, 1, &(image as u32).to_le_bytes())).collect(),
        labels: (0..IMAGES).map(|image| (image % 3) as i32).collect(),
        ..spec.dataset
    };
    spec.rows = RowTable::all(IMAGES, augment);
    spec.augment = augment;
    spec.shard_images = Some(shard_images);
    spec
}

#[test]
fn the_content_hash_depends_on_neither_threads_nor_shards() {
    let mut hashes = Vec::new();
    for shard_images in [100, 700, 1024, 2500] {
        let dir = tempfile::tempdir().unwrap();
        hashes.push(write(dir.path(), &many(shard_images)).content_hash);
        let alone = said(&verified(dir.path(), 1));
        assert!(verified(dir.path(), 1).is_sound(), "{alone}");
        for threads in [2, 3, 8, 100] {
            assert_eq!(said(&verified(dir.path(), threads)), alone, "{threads} threads");
        }
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn several_damages_are_found_in_one_order_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &many(300));
    // Of each form three shards: one flipped, one cut short, one gone.
    let damaged = |name: &String| ["1-of", "4-of", "7-of"].iter().any(|place| name.contains(place));
    let names: Vec<String> = tree(dir.path()).into_keys().filter(damaged).collect();
    for (name, damage) in names.iter().zip([0, 1, 2].into_iter().cycle()) {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        match damage {
            0 => bytes[middle] ^= 1,
            1 => bytes.truncate(middle),
            _ => {
                fs::remove_file(path).unwrap();
                continue;
            }
        }
        fs::write(path, bytes).unwrap();
    }
    let alone = verified(dir.path(), 1);
    assert_eq!((alone.problems.len(), alone.content.len()), (names.len(), 0), "{}", said(&alone));
    for threads in [2, 3, 8] {
        assert_eq!(said(&verified(dir.path(), threads)), said(&alone), "{threads} threads");
    }
}

/// What is said of a label set's forms: their rows' hashes and all that is wrong.
#[cfg(feature = "parquet")]
fn of_forms(dir: &Path, threads: usize) -> (Vec<String>, Vec<String>) {
    let report = verified(dir, threads);
    let content = report.content.iter().map(|(form, hash)| format!("{form:?} {hash}")).collect();
    let folder = format!("{}/", dir.display());
    let said = |problem: &labels::Error| {
        problem.to_string().replace(&folder, "").replace(folder.trim_end_matches('/'), "")
    };
    (content, report.problems.iter().map(said).collect())
}

#[cfg(feature = "parquet")]
#[test]
fn of_two_forms_together_it_finds_what_it_finds_of_each_alone() {
    // Another set has other logits in one image, or another label, or another image.
    let mut others = vec![many(300), many(300)];
    others[0].dataset.labels[1000] += 1;
    others[0].dataset.labels[1000] %= 3;
    others[1].dataset.hashes[1000] = [7; 16];
    let mut other_shards = Vec::new();
    for other in &others {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), other);
        other_shards.extend(tree(dir.path()).into_iter().filter(|(name, _)| name.contains("00003-of")));
    }
    assert_eq!(other_shards.len(), 4, "a shard of each form of each set");
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), &many(300));
    let whole = tree(whole.path());
    let put = |only: &str, forged: &[&(String, Vec<u8>)]| {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &whole {
            let path = dir.path().join(name);
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        for (name, bytes) in forged {
            fixture::forge_file(dir.path(), name, bytes);
        }
        for name in whole.keys().filter(|name| name.contains("-of-") && !name.ends_with(only)) {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        dir
    };
    for number in 0..1 << other_shards.len() {
        let forged: Vec<_> = (0..other_shards.len())
            .filter(|bit| number >> bit & 1 == 1)
            .map(|bit| &other_shards[bit])
            .collect();
        let [parquet, safetensors] =
            [".parquet", ".safetensors"].map(|only| of_forms(put(only, &forged).path(), 2));
        let together = put("", &forged);
        let wanted = ([parquet.0, safetensors.0].concat(), [parquet.1, safetensors.1].concat());
        assert_eq!(wanted.1.is_empty(), forged.is_empty(), "{wanted:?}");
        for threads in [1, 2, 5] {
            assert_eq!(of_forms(together.path(), threads), wanted, "{number:b}, {threads} threads");
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn nothing_is_compared_with_a_form_that_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &many(300));
    let lengths = |end: &str| -> Vec<u64> {
        let files = tree(dir.path()).into_iter().filter(|(name, _)| name.ends_with(end));
        files.map(|(_, bytes)| bytes.len() as u64).collect()
    };
    let (parquet, safetensors) = (lengths(".parquet"), lengths(".safetensors"));
    let first = tree(dir.path()).into_keys().find(|name| name.ends_with(".safetensors")).unwrap();
    fs::write(dir.path().join(first), b"short").unwrap();
    let until = Until::new(u64::MAX);
    assert_eq!(verify_watched(dir.path(), 1, &until).unwrap().unwrap().problems.len(), 1);
    // The other form once, by itself, and of this one all files that have their length.
    let wanted = parquet.iter().sum::<u64>() + safetensors[1..].iter().sum::<u64>();
    assert_eq!(until.hashed.into_inner(), wanted);
}

#[test]
fn it_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &many(100));
    let largest = tree(dir.path()).into_values().map(|bytes| bytes.len() as u64).max().unwrap();
    for threads in [1, 2, 5] {
        for most in [0, 1, 50_000, 100_000] {
            let until = Until::new(most);
            assert!(verify_watched(dir.path(), threads, &until).unwrap().is_none(), "{threads} {most}");
            // Each thread may be at a file when it is asked.
            let bound = most + threads as u64 * largest;
            let (hashed, total) = (until.hashed.into_inner(), until.total.into_inner());
            assert!(bound < total, "{bound} of {total} bytes: this case tells nothing");
            assert!(hashed <= bound, "{hashed} bytes on {threads} threads, asked to end after {most}");
        }
    }
}

#[test]
fn what_is_verified_to_be_sent_and_what_is_hashed_to_be_fetched_stops_when_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    write(&from, &spec(Form::FULLEST, Dtype::F16));
    assert!(Outgoing::of_watched(&from, 2, &Until::new(0)).unwrap().is_none());
    let sent = Outgoing::of_watched(&from, 2, &Until::new(u64::MAX)).unwrap().expect("nobody stopped it");
    assert_eq!(sent.files, Outgoing::of(&from).unwrap().files);

    let incoming = Incoming::begin(&to, "there", &sent.manifest_bytes).unwrap();
    let shards = incoming.pending(Form::FULLEST).unwrap().len();
    let asked = AtomicU64::new(0);
    let third = || asked.fetch_add(1, Ordering::SeqCst) == 2;
    assert!(incoming.pending_until(Form::FULLEST, third).unwrap().is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 3, "of {shards}: asked before each");
}
