//! Nothing that is damaged, missing, added or lied about is opened. What identifies a label set is its manifest and its
//! shards; card and SHA256SUMS may differ, and that is noted.

mod fixture;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use fixture::{FORMS, PARQUET, forge_file, forge_manifest, spec, tree, write};
use labels::{Check, Dtype, Error, Form, Kind, LabelSet, Note, verify};

fn set(form: Form) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &spec(form, Dtype::F16));
    LabelSet::open(dir.path(), Check::Hashes).unwrap();
    dir
}

/// Refused when opened, and by `verify`, which reads shards in another way, in the same words, with a hint.
fn refused(dir: &Path) -> Error {
    let Err(error) = LabelSet::open(dir, Check::Hashes) else {
        panic!("a damaged label set was opened");
    };
    assert!(error.to_string().contains("\nhint: "), "{error}");
    if let Ok(report) = verify(dir) {
        let found: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        assert!(found.contains(&error.to_string()), "verify does not see: {error}\nbut: {found:?}");
    }
    error
}

/// Opened, and sound, with notes that all name this file.
fn noted(dir: &Path, file: &str) -> Vec<Note> {
    // A digit of another file's digest shows only where that file is hashed.
    LabelSet::open(dir, Check::Sizes).unwrap_or_else(|error| panic!("{error}"));
    let notes = LabelSet::open(dir, Check::Hashes).unwrap_or_else(|error| panic!("{error}")).notes().to_vec();
    let named = notes.iter().filter(|note| note.to_string().contains(file)).count();
    assert!(named > 0 && named == notes.len(), "{notes:?}");
    if PARQUET {
        let report = verify(dir).unwrap();
        assert!(report.is_sound() && !report.notes.is_empty(), "{:?}", report.problems);
    }
    notes
}

/// Files that are written with a label set and identify nothing.
const BESIDE: [&str; 2] = ["README.md", "SHA256SUMS"];

const SHARD: &str = "shards/train-00001-of-00003.safetensors";
const TWIN: &str = "data/train-00001-of-00003.parquet";

/// Whether this build writes it: all, or all but what lies in `data`.
fn written(name: &str) -> bool {
    PARQUET || !name.starts_with("data")
}

/// With `LABELS_EVERY` set, a bit of every single byte: `LABELS_EVERY=1 cargo test -p rslad-labels --test damage one_flipped --
/// --nocapture` prints how many were tried.
#[test]
fn one_flipped_bit_in_any_file_is_refused_and_named() {
    let every = std::env::var_os("LABELS_EVERY").is_some();
    let (mut tried, mut beside) = (0, 0);
    for &form in FORMS {
        let dir = set(form);
        for (name, bytes) in tree(dir.path()) {
            // Every third byte of the small files; of the shards every 41st and those around the header's end.
            let step = if every {
                1
            } else if name.contains('/') {
                41
            } else {
                3
            };
            for at in (0..bytes.len()).filter(|at| at % step == 0 || (4090..4104).contains(at)) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at * 3 % 8);
                fs::write(dir.path().join(&name), &flipped).unwrap();
                tried += 1;
                if BESIDE.contains(&name.as_str()) {
                    beside += 1;
                    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
                    let notes = set.notes().iter().map(ToString::to_string).collect::<Vec<_>>();
                    assert!(notes.len() == 1 && notes[0].contains(&name), "{name} byte {at}: {notes:?}");
                    continue;
                }
                let Err(error) = LabelSet::open(dir.path(), Check::Hashes) else {
                    panic!("bit flip at byte {at} of {name} was not seen");
                };
                let file = name.rsplit('/').next().unwrap();
                // A changed manifest also disagrees with SHA256SUMS, but it is found first.
                assert!(error.to_string().contains(file), "{name} byte {at}: {error}");
            }
            fs::write(dir.path().join(&name), &bytes).unwrap_or_else(|_| assert!(name.ends_with('/')));
        }
        LabelSet::open(dir.path(), Check::Hashes).unwrap();
    }
    eprintln!(
        "{tried} flipped bits: {} refused with the file's name, {beside} noted of card and sums",
        tried - beside
    );
}

/// Whoever trains hashes the rows he reads, and no second form of them.
#[test]
fn a_flipped_bit_is_refused_in_the_form_that_is_used_and_passed_by_in_the_other() {
    let flip = |dir: &Path, name: &str| {
        let mut bytes = fs::read(dir.join(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(dir.join(name), bytes).unwrap();
    };
    for &form in FORMS {
        let dir = set(form);
        LabelSet::open(dir.path(), Check::Used).unwrap();
        if form == Form::Both {
            flip(dir.path(), TWIN);
            LabelSet::open(dir.path(), Check::Used).unwrap();
            assert!(matches!(refused(dir.path()), Error::FileHash { .. }));
        }
        flip(dir.path(), if form == Form::Parquet { TWIN } else { SHARD });
        assert!(matches!(LabelSet::open(dir.path(), Check::Used), Err(Error::FileHash { .. })), "{form}");
    }
}

/// Whoever fetched a set hashed it. What it holds is looked at all the same, and SHA256SUMS is compared with the manifest.
#[test]
fn what_was_fetched_is_not_hashed_again_and_who_trains_takes_one_hash() {
    let dir = set(Form::FULLEST);
    let damage = |name: &str, at: usize, change: fn(u8) -> u8| {
        let mut bytes = fs::read(dir.path().join(name)).unwrap();
        bytes[at] = change(bytes[at]);
        fs::write(dir.path().join(name), bytes).unwrap();
    };
    // A digit of the first shard's line: another digit, lest the line be none.
    let sums = fs::read_to_string(dir.path().join("SHA256SUMS")).unwrap();
    let line = sums.find(SHARD).unwrap() - 66;
    damage("SHA256SUMS", line, |digit| if digit == b'0' { b'1' } else { b'0' });
    let notes = |check| LabelSet::open(dir.path(), check).unwrap().notes().len();
    assert_eq!([Check::Hashes, Check::Used, Check::Fetched, Check::Sizes].map(notes), [1; 4]);
    // The lowest bit of the first logit; then its exponent, all ones.
    let logits = 4096 + 8 * 4 + 4 * 3;
    damage(SHARD, logits, |low| low ^ 1);
    assert_eq!(notes(Check::Fetched), 1);
    assert!(matches!(LabelSet::open(dir.path(), Check::Used), Err(Error::FileHash { .. })));
    damage(SHARD, logits + 1, |_| 0x7c);
    let refused = LabelSet::open(dir.path(), Check::Fetched);
    assert!(matches!(refused, Err(Error::NotFinite { class: 0, .. })), "{:?}", refused.err());
}

#[test]
fn verify_sees_a_flipped_bit_in_every_file_and_lists_them_all() {
    let dir = set(Form::FULLEST);
    let before = tree(dir.path());
    for (name, bytes) in before.iter().filter(|(name, _)| !name.ends_with('/') && *name != "manifest.json") {
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 16;
        fs::write(dir.path().join(name), &flipped).unwrap();
        let report = verify(dir.path()).unwrap();
        let said = if BESIDE.contains(&name.as_str()) {
            report.notes.iter().any(|note| note.to_string().contains(name))
        } else {
            report.problems.iter().any(|problem| problem.to_string().contains(name))
        };
        assert!(said, "{name}");
    }
    // The card, SHA256SUMS, and three shards of each form are damaged by now.
    let report = verify(dir.path()).unwrap();
    assert!(report.notes.len() >= 2 && report.problems.len() >= if PARQUET { 6 } else { 3 });
}

#[test]
fn files_cut_short_or_added_to_are_refused_under_every_check() {
    let dir = set(Form::FULLEST);
    for (name, bytes) in tree(dir.path()).into_iter().filter(|(name, _)| !name.ends_with('/')) {
        let path = dir.path().join(&name);
        for length in [0, 7, 8, 100, 4095, 4096, bytes.len() - 1, bytes.len() + 1] {
            if length == bytes.len() {
                continue;
            }
            let mut changed = bytes.clone();
            changed.resize(length, 0);
            fs::write(&path, &changed).unwrap();
            if BESIDE.contains(&name.as_str()) {
                noted(dir.path(), &name);
                continue;
            }
            for check in [Check::Hashes, Check::Sizes] {
                assert!(LabelSet::open(dir.path(), check).is_err(), "{name} with {length} bytes, {check:?}");
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    fs::write(dir.path().join(SHARD), "short").unwrap();
    let found = refused(dir.path());
    assert!(matches!(found, Error::FileSize { found: 5, .. }), "{found}");
}

#[test]
fn missing_extra_and_swapped_files_are_refused() {
    for name in [SHARD, TWIN].into_iter().filter(|name| written(name)) {
        let dir = set(Form::FULLEST);
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = refused(dir.path());
        assert!(matches!(&error, Error::MissingFile { path, .. } if path.ends_with(name)), "{error}");
    }
    for &form in FORMS {
        let dir = set(form);
        for folder in ["shards", "data"] {
            let _ = fs::remove_dir_all(dir.path().join(folder));
        }
        assert!(matches!(refused(dir.path()), Error::MissingFile { .. }));
    }
    let extra = ["notes.txt", "shards/train-00003-of-00003.safetensors", "data/hidden", "shards/README.md"];
    for name in extra.into_iter().filter(|name| written(name)) {
        let dir = set(Form::FULLEST);
        fs::write(dir.path().join(name), "").unwrap();
        let error = refused(dir.path());
        assert!(matches!(&error, Error::ExtraFile { path } if path.ends_with(name)), "{error}");
    }
    let dir = set(Form::FULLEST);
    let other = dir.path().join("shards/train-00000-of-00003.safetensors");
    let (a, b) = (fs::read(dir.path().join(SHARD)).unwrap(), fs::read(&other).unwrap());
    fs::write(dir.path().join(SHARD), b).unwrap();
    fs::write(other, a).unwrap();
    assert!(matches!(refused(dir.path()), Error::FileHash { .. }));
}

#[test]
fn a_swap_that_the_manifest_agrees_with_changes_the_dataset() {
    let dir = set(Form::Safetensors);
    let other = "shards/train-00000-of-00003.safetensors";
    let (a, b) = (fs::read(dir.path().join(SHARD)).unwrap(), fs::read(dir.path().join(other)).unwrap());
    let (hash_a, hash_b) = (blake3::hash(&a).to_hex().to_string(), blake3::hash(&b).to_hex().to_string());
    fs::write(dir.path().join(SHARD), &b).unwrap();
    fs::write(dir.path().join(other), &a).unwrap();
    forge_manifest(dir.path(), |text| {
        text.replace(&hash_a, "<a>").replace(&hash_b, &hash_a).replace("<a>", &hash_b)
    });
    let error = refused(dir.path());
    assert!(matches!(&error, Error::ManifestField { field, .. } if field == "dataset.hash"), "{error}");
}

/// Two files that are together longer than 64 bits count, and all of them longer than any disk.
#[test]
fn lengths_whose_sum_no_disk_holds_are_refused() {
    for bytes in [u64::MAX, 1 << 63, 1 << 59] {
        let dir = set(Form::FULLEST);
        forge_manifest(dir.path(), |text| {
            let pieces = text.split("\"bytes\": ").enumerate().map(|(number, piece)| match number {
                0 => piece.to_owned(),
                _ => format!("{bytes}{}", piece.trim_start_matches(|digit: char| digit.is_ascii_digit())),
            });
            pieces.collect::<Vec<_>>().join("\"bytes\": ")
        });
        let error = refused(dir.path());
        assert!(
            matches!(&error, Error::ManifestField { field, .. } if field == "bytes of all files"),
            "{error}"
        );
    }
}

#[test]
fn a_link_is_what_it_points_to() {
    let all = ["manifest.json", "README.md", "SHA256SUMS", SHARD, TWIN, "shards", "data"];
    for name in all.into_iter().filter(|name| written(name)) {
        let dir = set(Form::FULLEST);
        let outside = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join(name), outside.path().join("target"));
        fs::rename(&path, &target).unwrap();
        symlink(&target, &path).unwrap();
        for check in [Check::Hashes, Check::Sizes] {
            assert_eq!(LabelSet::open(dir.path(), check).unwrap().notes(), [], "{name}");
        }
        if target.is_dir() || BESIDE.contains(&name) {
            continue;
        }
        let mut bytes = fs::read(&target).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 8;
        fs::write(&target, &bytes).unwrap();
        assert!(refused(dir.path()).to_string().contains(name.rsplit('/').next().unwrap()));
        fs::remove_file(&target).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, Error::BrokenLink { .. }) && error.to_string().contains("target"), "{error}");
    }
}

#[test]
fn folders_pipes_and_devices_in_place_of_files_are_refused_linked_or_not() {
    for name in ["manifest.json", "README.md", "SHA256SUMS", SHARD] {
        let dir = set(Form::FULLEST);
        let path = dir.path().join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(refused(dir.path()), Error::NotPlain { found: "a folder", .. }), "{name}");
        fs::remove_dir(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert!(matches!(refused(dir.path()), Error::NotPlain { found: "a device or pipe", .. }), "{name}");
    }
    let dir = set(Form::FULLEST);
    fs::remove_dir_all(dir.path().join("shards")).unwrap();
    fs::write(dir.path().join("shards"), "").unwrap();
    assert!(matches!(refused(dir.path()), Error::NotPlain { wanted: "a folder", .. }));
    let dir = set(Form::FULLEST);
    fs::remove_file(dir.path().join(SHARD)).unwrap();
    let made = std::process::Command::new("mkfifo").arg(dir.path().join(SHARD)).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(matches!(refused(dir.path()), Error::NotPlain { .. }));
    }
}

#[test]
fn folders_without_a_manifest_are_not_label_sets() {
    let dir = set(Form::FULLEST);
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    assert!(matches!(refused(dir.path()), Error::WithoutWork { .. }));
    for folder in ["shards", "data"].map(|name| dir.path().join(name)).iter().filter(|folder| folder.exists())
    {
        fs::rename(folder, folder.with_extension("old")).unwrap();
    }
    assert!(matches!(refused(dir.path()), Error::NotALabelSet { .. }));
    fs::create_dir(dir.path().join(".work")).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(refused(&dir.path().join("nowhere")).kind(), Kind::Io);
}

#[test]
fn forged_manifests_are_refused() {
    let lies: [(&str, &str); 22] = [
        ("\"format_version\": 1", "\"format_version\": 3"),
        ("\"dtype\": \"f16\"", "\"dtype\": \"u8\""),
        ("\"dtype\": \"f16\"", "\"dtype\": \"f16\",\n  \"top_k\": 2"),
        ("\"dtype\": \"f16\"", "\"dtype\": \"f16\",\n  \"top_k\": 0"),
        (
            "\"license\"",
            "\"lost\": {\"nanonats\": 0, \"largest_nanonats\": 0, \"turned\": 0},\n  \"license\"",
        ),
        ("\"format_version\": 1", "\"format_version\": 4"),
        ("\"format_version\": 1", "\"format_version\": 2"),
        ("\"format\": \"rslad-labels\"", "\"format\": \"webdataset\""),
        ("\"rows\": 126,", "\"rows\": 127,"),
        ("\"rows\": 126,", "\"rows\": 126.0,"),
        ("\"rows\": 126,", "\"rows\": 126, \"created\": 5,"),
        ("shards/train-00001-of", "../rds/train-00001-of"),
        ("shards/train-00001-of", "/hards/train-00001-of"),
        ("shards/train-00001-of", "shards\\\\train-00001-of"),
        ("shards/train-00001-of", "shards/train-00002-of"),
        ("\"split\": \"train\"", "\"split\": \"../..\""),
        ("\"shard_images\": 3", "\"shard_images\": 0"),
        ("\"shard_images\": 3", "\"shard_images\": 1"),
        ("\"images\": 7,", "\"images\": 18446744073709551615,"),
        ("\"classes\": 3", "\"classes\": 4"),
        ("\"augment\": \"crop1+flip\"", "\"augment\": \"crop1\""),
        ("\"views\": \"all\"", "\"views\": \"random:3@0\""),
    ];
    for (truth, lie) in lies {
        let dir = set(Form::FULLEST);
        forge_manifest(dir.path(), |text| {
            assert!(text.contains(truth), "{truth}");
            text.replacen(truth, lie, 1)
        });
        let error = refused(dir.path());
        assert!(
            error.to_string().contains("manifest") || error.to_string().contains("views"),
            "{lie}: {error}"
        );
        match lie {
            _ if lie.contains("version\": 4") => assert!(matches!(error, Error::UnknownVersion { .. })),
            _ if lie.starts_with("..") || lie.starts_with("/h") || lie.contains('\\') => {
                assert!(matches!(error, Error::UnsafePath { .. }), "{error}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_manifest_without_its_own_id_is_refused() {
    let dir = set(Form::FULLEST);
    let path = dir.path().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("the tests", "the pests")).unwrap();
    assert!(matches!(refused(dir.path()), Error::ManifestId { .. }));
    for text in ["", "{", "[]", "null", "{\"format\": 3}", &"[".repeat(100_000)] {
        fs::write(&path, text).unwrap();
        assert!(matches!(refused(dir.path()), Error::ManifestSyntax { .. }), "{text:.9}");
    }
}

#[test]
fn promises_of_rows_that_cannot_be_there_allocate_nothing() {
    for &form in FORMS {
        let dir = set(form);
        let most: u64 = 1 << 40;
        forge_manifest(dir.path(), |text| {
            text.replace("\"augment\": \"crop1+flip\"", "\"augment\": \"crop90+flip\"")
                .replace("\"images\": 7,", &format!("\"images\": {most},"))
                .replace("\"shard_images\": 3", &format!("\"shard_images\": {most}"))
        });
        assert_eq!(refused(dir.path()).kind(), Kind::Damage);

        // The same with a list of files that fits: one shard of 2^40 images.
        let dir = tempfile::tempdir().unwrap();
        let mut one = spec(form, Dtype::F16);
        one.shard_images = Some(7);
        write(dir.path(), &one);
        forge_manifest(dir.path(), |text| {
            text.replace("\"images\": 7,", &format!("\"images\": {most},"))
                .replace("\"shard_images\": 7", &format!("\"shard_images\": {most}"))
                .replace("        7\n", &format!("        {most}\n"))
                .replace("\"rows\": 126,", &format!("\"rows\": {most},"))
                .replacen("\"rows\": 54,", &format!("\"rows\": {},", most - 72), 1)
        });
        let error = refused(dir.path());
        assert!(matches!(error, Error::Structure { .. }), "{error}");
    }
}

#[test]
fn forged_shards_are_refused() {
    let dir = set(Form::Safetensors);
    let good = fs::read(dir.path().join(SHARD)).unwrap();
    let logits = 4096 + 4 * 8 + 3 * 4;
    // The header promises nonsense, or the tensors hold it.
    let forgeries: [(usize, &[u8]); 7] = [
        (7, &[0x80]),
        (0, &[0xff; 8]),
        (8, b"[[[["),
        (4096 + 8, &[0xff; 8]),
        (4096 + 32, &[0xff; 4]),
        (logits, &[0x00, 0x7c]),
        (logits + 54 * 6, &[0xff, 0xff]),
    ];
    for (at, bytes) in forgeries {
        let mut forged = good.clone();
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        forge_file(dir.path(), SHARD, &forged);
        let error = refused(dir.path());
        let wanted = matches!(
            error,
            Error::Structure { .. }
                | Error::Decode { .. }
                | Error::NotFinite { image: 3, view: 0, class: 0, .. }
        );
        assert!(wanted, "{at}: {error}");
        forge_file(dir.path(), SHARD, &good);
        LabelSet::open(dir.path(), Check::Hashes).unwrap();
    }
}

#[test]
fn other_logits_under_forged_hashes_have_another_content_hash() {
    let dir = set(Form::FULLEST);
    let mut forged = fs::read(dir.path().join(SHARD)).unwrap();
    forged[4096 + 4 * 8 + 3 * 4] ^= 1;
    forge_file(dir.path(), SHARD, &forged);
    let report = verify(dir.path()).unwrap();
    let wrong = |problem: &Error| matches!(problem, Error::ContentHash { rows: "the safetensors", .. });
    assert!(report.problems.iter().any(wrong), "{:?}", report.problems);
    // Opening believes the files' hashes; a pin is compared with what the rows say, not with what the manifest does.
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    let other = set.content_hash();
    assert_ne!(other, set.manifest().content_hash);
    drop(set);
    let original = self::set(Form::FULLEST);
    let original = LabelSet::open(original.path(), Check::Hashes).unwrap();
    assert_eq!(original.content_hash(), original.manifest().content_hash);
}

#[cfg(feature = "parquet")]
#[test]
fn a_damaged_parquet_file_under_a_forged_hash_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &fixture::sparse(Form::Parquet));
    let good = fs::read(dir.path().join(TWIN)).unwrap();
    let mut refusals = 0;
    let mut tried = 0;
    for at in (0..good.len()).step_by(3) {
        tried += 1;
        let mut forged = good.clone();
        forged[at] ^= 1 << (at % 8);
        forge_file(dir.path(), TWIN, &forged);
        // A decoder's panic is caught; its message on stderr is the hook's.
        refusals += usize::from(LabelSet::open(dir.path(), Check::Hashes).is_err());
        forge_file(dir.path(), TWIN, &good);
    }
    assert!(refusals > tried / 3, "{refusals} of {tried}");
}
