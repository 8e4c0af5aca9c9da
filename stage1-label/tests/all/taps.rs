//! `label run --taps`: feature maps beside the logits.

use std::fs;
use std::path::Path;
use std::process::Command;

use engine::params::Precision;
use labels::{Check, LabelSet};
use method::init::initialise;

use crate::fixture::{DIGITS, Place, inspect, label, save_teacher, tree};
use crate::interrupt::{kept, wait_for};

/// Maps of 32x7x7 and 16x7x7 of the fixture's teacher.
const TAPS: [&str; 2] = ["--taps", "bn3.relu,bn2.relu"];
/// Values of both.
const VALUES: usize = (32 + 16) * 7 * 7;

/// Bytes after which a run is long enough to be caught: an answer is 10 logits and the maps in f32, and 20 bytes before them.
const ANSWER: u64 = 20 + 4 * (10 + VALUES as u64);

#[test]
fn a_set_with_maps_is_sound_names_them_and_has_the_logits_of_one_without() {
    let place = Place::new();
    let (plain, mapped) = (place.path("plain"), place.path("mapped"));
    place.run(&plain, 20).succeeds();
    let said = place.run(&mapped, 20).args(TAPS).ends();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let maps = "with feature maps of bn3.relu 32x7x7, bn2.relu 16x7x7 in f16";
    assert!(said.stderr.contains(maps), "{}", said.stderr);
    let [without, with] = [&plain, &mapped].map(|dir| LabelSet::open(dir, Check::Hashes).unwrap());
    for row in without.rows() {
        assert_eq!(with.logits(row.image, row.view).unwrap(), row.logits);
        assert_eq!(with.features(row.image, row.view).unwrap().len(), VALUES);
    }
    label().arg("verify").arg(&mapped).succeeds();
    let json = inspect(&mapped);
    assert_eq!(json["features"]["dtype"], "f16");
    assert_eq!(json["features"]["maps"][1]["module"], "bn2.relu");
    assert_eq!(json["features"]["maps"][1]["shape"], serde_json::json!([16, 7, 7]));
    assert_eq!(inspect(&plain).get("features"), None);
    let text = label().arg("inspect").arg(&mapped).succeeds();
    assert!(text.contains("bn3.relu 32x7x7, bn2.relu 16x7x7; f16, 4.7 kB a row"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn batches_and_threads_change_no_byte_of_a_map() {
    let place = Place::new();
    let first = place.path("first");
    let run = |out: &Path| place.run(out, 20).args(TAPS).args(["--dtype", "f32", "--tap-dtype", "f32"]);
    run(&first).args(["--batch", "128", "--threads", "2"]).succeeds();
    for (batch, threads) in [("1", "1"), ("7", "3"), ("100000", "2")] {
        let out = place.path(batch);
        run(&out).args(["--batch", batch, "--threads", threads]).succeeds();
        assert!(tree(&out) == tree(&first), "--batch {batch} --threads {threads}");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_shard_costs_an_answer_and_the_rest_is_the_same_folder() {
    let place = Place::new();
    let run = |out: &Path| place.run_in_shards(out, 40, 40).args(TAPS).args(["--threads", "1"]);
    let whole = place.path("whole");
    run(&whole).succeeds();
    let out = place.path("killed");
    let mut child = run(&out).args(["--batch", "1"]).start();
    assert!(wait_for(&mut child, || kept(&out) >= 30 * ANSWER), "caught alive");
    child.kill().unwrap();
    child.wait().unwrap();
    let answers = kept(&out) / ANSWER;
    assert!(!out.join("manifest.json").exists());
    run(&out).args(["--taps", "bn3.relu"]).fails(2, &["cannot be used multiple times"]);
    let other = place.run_in_shards(&out, 40, 40).args(["--taps", "bn3.relu"]);
    other.fails(2, &["features.maps[1] is", "this run has"]);
    place.run_in_shards(&out, 40, 40).fails(2, &["features is", "this run has none"]);
    let rest = run(&out).ends();
    assert_eq!(rest.code, Some(0), "{}", rest.stderr);
    // A kill may tear an answer between two pages of its file; the others count.
    assert!(rest.stderr.contains(&format!("resuming after {answers} ")), "{answers}: {}", rest.stderr);
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn a_teacher_that_gives_other_maps_is_found_by_recomputing_and_a_flipped_bit_by_verifying() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).args(TAPS).succeeds();
    let verify = || {
        let command = label().arg("verify").arg(&out).args(["--recompute", "40", "--data", "sample"]);
        command.arg("--teacher").arg(place.teacher())
    };
    let said = verify().succeeds();
    assert!(said.contains("40 rows: 40 with equal bits") && said.contains("of feature maps up to"), "{said}");

    // Maps of another teacher under the manifest of this one, as a forger or a faulty writer would leave them.
    let other = Place::new();
    save_teacher(&other.teacher(), DIGITS, 2, |value| value);
    let theirs = other.path("labels");
    other.run(&theirs, 9).args(TAPS).succeeds();
    let shard = "shards/train-00000-of-00002.safetensors";
    let (ours, theirs) = (fs::read(out.join(shard)).unwrap(), fs::read(theirs.join(shard)).unwrap());
    // Behind the header, nine offsets, eight labels and 200 rows of ten halves.
    let maps = 4096 + 9 * 8 + 8 * 4 + 200 * 20;
    let maps = maps..maps + 200 * 2 * VALUES;
    let mut forged = ours.clone();
    forged[maps.clone()].copy_from_slice(&theirs[maps.clone()]);
    fs::write(out.join(shard), &forged).unwrap();
    label().arg("verify").arg(&out).fails(1, &[shard, "BLAKE3"]);
    let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
    let blake3 = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let reseal = |text: String| {
        let start = text.find("\"id\": \"").unwrap() + 7;
        let id = blake3(format!("{}{}{}", &text[..start], "0".repeat(64), &text[start + 64..]).as_bytes());
        fs::write(out.join("manifest.json"), format!("{}{id}{}", &text[..start], &text[start + 64..]))
            .unwrap();
    };
    reseal(manifest.replace(&blake3(&ours), &blake3(&forged)));
    label().arg("verify").arg(&out).fails(1, &["safetensors rows hash to content_hash"]);

    let mut flipped = ours.clone();
    flipped[maps.start + 777] ^= 16;
    fs::write(out.join(shard), &flipped).unwrap();
    fs::write(out.join("manifest.json"), &manifest).unwrap();
    label().arg("verify").arg(&out).fails(1, &[shard, "BLAKE3"]);
}

#[test]
fn more_maps_than_a_disk_is_meant_to_hold_are_refused_before_anything_is_made() {
    let place = Place::new();
    let out = place.path("labels");
    let run = |more: &[&str]| {
        let run = label().args(["run", "--data", "sample", "--augment", "crop14+flip", "--teacher"]);
        let run = run.arg(place.teacher()).arg("--out").arg(&out).args(["--views", "all", "--dtype", "f32"]);
        run.args(more)
    };
    let heavy = ["--taps", "bn1.relu", "--tap-dtype", "f32"];
    let words = ["feature maps of bn1.relu 8x14x14 in f32: 6.3 kB a row of", "17.2 GB", "--yes", "--format"];
    run(&heavy).fails(2, &words);
    run(&["--yes"]).fails(2, &["--taps"]);
    run(&["--tap-dtype", "f32"]).fails(2, &["--taps"]);
    run(&["--taps", "bn1.relu,bn1.relu"]).fails(2, &["`bn1.relu` is named twice"]);
    for list in ["", "bn1.relu,", "bn1.relu,,bn2.relu"] {
        run(&["--taps", list]).fails(2, &[&format!("taps: `{list}` has an empty name"), "\nhint: one comma"]);
    }
    run(&["--taps", "layer3"]).fails(2, &["tiny-cnn has no module `layer3`", "hint:"]);
    run(&["--taps", "linear"]).fails(2, &["10 features and no map"]);
    let wider = label().args(["run", "--data", "sample", "--views", "random:1@0", "--teacher"]);
    let wider = wider.arg(place.teacher()).arg("--out").arg(&out).args(heavy);
    wider.fails(2, &["stored no finer than logits, and these are f16", "add --dtype f32"]);
    assert!(!out.exists());
}

/// The maps of PyTorch's own `forward_hook`s at these modules, on the views that the package cuts, where `RSLAD_PYTHON`
/// names a Python with torch.
#[test]
fn maps_are_those_that_pytorch_gives_at_the_modules_of_these_names() {
    const SCRIPT: &str = "
import sys, numpy as np, torch
sys.path.insert(0, sys.argv[1])
from rslad import LabelSet
from rslad.zoo import build
from safetensors.torch import load_file
labels, images = LabelSet(sys.argv[2]), np.load(sys.argv[4])
net = build('resnet8', 1, 28, 10).eval()
print(net.load_state_dict(load_file(sys.argv[3]), strict=False).unexpected_keys)
seen = {}
for name, module in net.named_modules():
    if name in labels.maps:
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.numpy()))
image, view = labels.image, labels.view
with torch.no_grad():
    logits = net(torch.from_numpy(labels.augmentation.cut(images[image], view))).numpy()
for name, found in {**labels.features(image, view), 'logits': labels.logits}.items():
    wanted = logits if name == 'logits' else seen[name]
    assert found.shape == wanted.shape, (name, found.shape, wanted.shape)
    print(name, found.shape, 'apart', np.abs(found - wanted).max() / np.abs(wanted).max())
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
";
    let Some(python) = std::env::var_os("RSLAD_PYTHON") else {
        eprintln!("skipped: RSLAD_PYTHON names no Python with torch");
        return;
    };
    let place = Place::new();
    let (row, network) = zoo::build("resnet8", DIGITS).unwrap();
    zoo::save(&place.teacher(), &network, &initialise(&network, row.init, 5, Precision::F32)).unwrap();
    let out = place.path("labels");
    let taps = ["--taps", "layer3,layer1", "--dtype", "f32", "--tap-dtype", "f32"];
    place.run(&out, 6).args(taps).succeeds();
    let plan = label().args(["plan", "--data", "sample", "--limit", "6", "--views", "all", "--out"]);
    let images = place.path("images.npy");
    plan.arg(place.path("rows.parquet")).arg("--images").arg(&images).succeeds();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    let mut run = Command::new(python);
    run.args(["-c", SCRIPT]).arg(package).arg(&out).arg(place.teacher()).arg(images);
    let ended = run.env("OMP_NUM_THREADS", "1").output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    println!("{}", String::from_utf8_lossy(&ended.stdout));
}
