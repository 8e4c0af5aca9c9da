//! `label verify`: damage is found and named, and a teacher's answers are compared.

use std::fs;

use crate::fixture::{DIGITS, Place, label, save_teacher, tree};

#[test]
fn a_changed_byte_in_any_file_is_named_with_both_values() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    for (file, bytes) in tree(&out) {
        let path = out.join(&file);
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let name = file.file_name().unwrap().to_str().unwrap();
            if ["README.md", "SHA256SUMS"].contains(&name) {
                // People edit cards: that is said, and the rows are what they were.
                for command in ["verify", "inspect"] {
                    let ended = label().arg(command).arg(&out).ends();
                    let said = ended.stderr.contains(&format!("note: {}", path.display()));
                    assert!(ended.code == Some(0) && said, "{name} at {at}: {}", ended.stderr);
                }
                continue;
            }
            let ended = label().arg("verify").arg(&out).ends();
            // A manifest whose format or version was touched speaks of another program's files.
            let codes: &[i32] = if name == "manifest.json" { &[1, 2] } else { &[1] };
            assert!(codes.contains(&ended.code.unwrap()), "{name} at {at}: {}", ended.stderr);
            assert!(
                ended.stderr.contains(name) && ended.stderr.contains("hint:"),
                "{name} at {at}: {}",
                ended.stderr
            );
            label().arg("inspect").arg(&out).fails(ended.code.unwrap(), &[name]);
        }
        fs::write(&path, &bytes).unwrap();
    }
    label().arg("verify").arg(&out).succeeds();

    let shard = out.join("shards/train-00000-of-00002.safetensors");
    let whole = fs::read(&shard).unwrap();
    let mut changed = whole.clone();
    changed[5000] ^= 1;
    fs::write(&shard, &changed).unwrap();
    let wanted = blake3::hash(&whole).to_hex().to_string();
    let found = blake3::hash(&changed).to_hex().to_string();
    label().arg("verify").arg(&out).fails(1, &[&wanted, &found, "problem(s) found"]);
}

#[test]
fn a_file_that_cannot_be_read_is_the_disks_fault_and_no_damage() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let shard = out.join("shards/train-00001-of-00002.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::remove_file(&shard).unwrap();
    // A link to itself is what even a superuser cannot read.
    std::os::unix::fs::symlink(&shard, &shard).unwrap();
    let ended = label().arg("verify").arg(&out).fails(74, &["train-00001-of-00002.safetensors", "hint:"]);
    assert!(!ended.stderr.contains("do not train"), "{}", ended.stderr);
    label().arg("inspect").arg(&out).fails(74, &["train-00001-of-00002.safetensors"]);
    // Damage elsewhere is damage all the same.
    let other = out.join("data/train-00000-of-00002.parquet");
    let whole = fs::read(&other).unwrap();
    fs::write(&other, &whole[..whole.len() - 1]).unwrap();
    label().arg("verify").arg(&out).fails(1, &["2 problem(s)", "do not train on it"]);
    fs::write(&other, whole).unwrap();
    fs::remove_file(&shard).unwrap();
    fs::write(&shard, bytes).unwrap();
    label().arg("verify").arg(&out).succeeds();
}

#[test]
fn what_was_not_read_is_not_quoted() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let quotes = |text: &str, what: &str| text.lines().any(|line| line.starts_with(what));
    let whole = label().arg("verify").arg(&out).succeeds();
    assert!(quotes(&whole, "right answers") && quotes(&whole, "content_hash"), "{whole}");
    let [shard, table] = ["shards/train-00001-of-00002.safetensors", "data/train-00000-of-00002.parquet"];
    // One form is enough for the rows; without any, the manifest's figures are hearsay.
    for (file, is_read) in [(shard, true), (table, false)] {
        let path = out.join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        let said = label().arg("verify").arg(&out).fails(1, &[file]).stdout;
        for what in ["right answers", "content_hash"] {
            assert_eq!(quotes(&said, what), is_read, "{said}");
        }
        assert_eq!(said.contains("content_hash were not checked"), !is_read, "{said}");
    }
}

#[test]
fn a_damaged_label_set_is_not_called_complete() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let shard = out.join("shards/train-00001-of-00002.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, bytes).unwrap();
    let ended = place.run(&out, 9).fails(2, &["train-00001-of-00002.safetensors", "BLAKE3", "hint:"]);
    assert!(!ended.stderr.contains("complete"), "{}", ended.stderr);
}

#[test]
fn missing_short_and_extra_files_are_named() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let shard = out.join("data/train-00001-of-00002.parquet");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    let (wanted, found) = (format!("wanted {} bytes", bytes.len()), format!("found {}", bytes.len() - 1));
    label().arg("verify").arg(&out).fails(1, &["train-00001-of-00002.parquet", &wanted, &found]);
    fs::remove_file(&shard).unwrap();
    label().arg("verify").arg(&out).fails(1, &["train-00001-of-00002.parquet", "found no file"]);
    fs::write(&shard, &bytes).unwrap();
    fs::write(out.join("shards/extra"), "x").unwrap();
    label().arg("verify").arg(&out).fails(1, &["shards/extra", "the manifest does not list it"]);
}

#[test]
fn the_same_teacher_answers_with_the_same_bits() {
    let place = Place::new();
    for (dtype, form) in [("f16", "both"), ("f32", "parquet")] {
        let out = place.path(dtype);
        place.run(&out, 9).args(["--dtype", dtype, "--format", form]).succeeds();
        let verify =
            label().arg("verify").arg(&out).args(["--recompute", "50", "--data", "sample", "--teacher"]);
        let checked = verify.arg(place.teacher()).args(["--threads", "1"]).succeeds();
        assert!(
            checked.contains("50 rows: 50 with equal bits, 0 within the tolerance, 0 beyond"),
            "{checked}"
        );
        let verify =
            label().arg("verify").arg(&out).args(["--recompute", "9999", "--data", "sample", "--teacher"]);
        let checked = verify.arg(place.teacher()).succeeds();
        assert!(checked.contains("225 rows: 225 with equal bits"), "there are no more: {checked}");
    }
}

#[test]
fn another_teacher_is_refused_with_both_digests() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let other = place.path("other.safetensors");
    save_teacher(&other, DIGITS, 2, |value| value);
    let digest = |path| blake3::hash(&fs::read(path).unwrap()).to_hex().to_string();
    let verify = label().arg("verify").arg(&out).args(["--recompute", "5", "--data", "sample", "--teacher"]);
    verify.arg(&other).fails(2, &[&digest(&other), &digest(&place.teacher()), "hint:"]);
}

#[test]
fn recompute_refuses_other_images() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/test.parquet");
    fs::create_dir(place.path("other")).unwrap();
    fs::copy(samples, place.path("other/train.parquet")).unwrap();
    let data = format!("parquet:{}", place.path("other").display());
    let verify = label().arg("verify").arg(&out).args(["--recompute", "5", "--data", &data, "--teacher"]);
    verify.arg(place.teacher()).fails(2, &["wrong dataset: image 0 hashes to"]);
}

#[test]
fn recompute_needs_teacher_and_data() {
    let place = Place::new();
    label().arg("verify").arg(place.path("x")).args(["--recompute", "5"]).fails(2, &["--teacher", "--data"]);
}
