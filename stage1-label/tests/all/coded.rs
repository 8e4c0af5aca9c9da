//! Label sets of a thousand classes that do not store every logit as a float: asked for, made smaller, taken over, merged.

use std::fs;
use std::path::{Path, PathBuf};

use zoo::Task;

use crate::fixture::{Label, label, save_teacher, tree};

/// A thousand classes, one grey image of 8x8 each, and an untrained teacher that answers to them.
struct Thousand(tempfile::TempDir);

impl Thousand {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for class in 0..1000u32 {
            let folder = place.path(&format!("images/train/{class:04}"));
            fs::create_dir_all(&folder).unwrap();
            let pixels = (0..64u32).map(|at| (class * 31 + at * 7) as u8);
            fs::write(
                folder.join("0.pgm"),
                b"P5 8 8 255\n".iter().copied().chain(pixels).collect::<Vec<_>>(),
            )
            .unwrap();
        }
        save_teacher(
            &place.path("teacher.safetensors"),
            Task { input: [1, 8, 8], classes: 1000 },
            1,
            |value| 2.0 * value,
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `label run`, or `label append FROM`, of the first twelve images.
    fn command(&self, from: Option<&Path>, views: &str, out: &Path) -> Label {
        let command = match from {
            Some(from) => label().arg("append").arg(from),
            None => label().arg("run"),
        };
        let data = format!("imagefolder:{}@8", self.path("images").display());
        let command = command.args(["--data", &data, "--limit", "12", "--augment", "flip", "--views", views]);
        let command = command.args(["--shard-images", "5", "--arch", "tiny-cnn"]);
        command.arg("--teacher").arg(self.path("teacher.safetensors")).arg("--out").arg(out)
    }
}

fn manifest(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// The shards: card and manifest name the parents.
fn rows(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    tree(dir).into_iter().filter(|(path, _)| path.starts_with("data") || path.starts_with("shards")).collect()
}

#[test]
fn what_is_lost_is_said_and_parts_append_and_merge_give_the_rows_of_a_set_made_at_once() {
    let place = Thousand::new();
    for (number, flags) in [&["--top-k", "64"][..], &["--dtype", "u8"], &["--dtype", "f32", "--top-k", "20"]]
        .into_iter()
        .enumerate()
    {
        let dir = |name: &str| place.path(&format!("{name}-{number}"));
        let [all, begun, grown, other, merged, parts, some] =
            ["all", "begun", "grown", "other", "merged", "parts", "some"].map(dir);
        let ended = place.command(None, "all", &all).args(flags).ends();
        let lost = manifest(&all)["lost"].clone();
        let mean = lost["nanonats"].as_u64().unwrap() / 24;
        let said = format!("KL {}.{:09} nats a row", mean / 1_000_000_000, mean % 1_000_000_000);
        assert!(
            ended.stderr.contains("lost by storing ") && ended.stderr.contains(&said),
            "{}",
            ended.stderr
        );
        assert!(mean > 0, "{lost}");
        assert!(label().arg("inspect").arg(&all).succeeds().contains(&said));
        label().arg("verify").arg(&all).succeeds();
        let ended =
            label().args(["verify", "--recompute", "24", "--teacher"]).arg(place.path("teacher.safetensors"));
        let data = format!("imagefolder:{}@8", place.path("images").display());
        ended.args(["--arch", "tiny-cnn", "--data", &data]).arg(&all).succeeds();

        place.command(None, "random:1@0", &begun).args(flags).succeeds();
        place.command(Some(&begun), "all", &grown).args(flags).succeeds();
        assert!(rows(&grown) == rows(&all), "{flags:?}");
        assert_eq!(manifest(&grown)["lost"], lost);

        for part in ["1/2", "0/2"] {
            place.command(None, "all", &parts).args(flags).args(["--part", part]).succeeds();
        }
        let ended = label().arg("finalize").arg(&parts).ends();
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        assert_eq!(tree(&parts), tree(&all));

        // Lost in both forms: the teacher is asked again, and coded again.
        for lost in ["data/train-00001-of-00003.parquet", "shards/train-00001-of-00003.safetensors"] {
            fs::remove_file(parts.join(lost)).unwrap();
        }
        let repair =
            label().arg("repair").arg(&parts).args(["--arch", "tiny-cnn", "--data", &data, "--teacher"]);
        repair.arg(place.path("teacher.safetensors")).succeeds();
        assert_eq!(tree(&parts), tree(&all));

        // The rows as they are, in fewer: what was lost in them is known.
        label()
            .arg("subset")
            .arg(&all)
            .args(["--views", "random:1@0", "--shard-images", "5", "--out"])
            .arg(&some)
            .succeeds();
        assert!(rows(&some) == rows(&begun));
        assert_eq!(manifest(&some)["lost"], manifest(&begun)["lost"]);
        place.command(None, "random:2@0", &other).args(flags).succeeds();
        let both =
            label().arg("merge").args([&begun, &other]).args(["--views", "all", "--shard-images", "5"]);
        both.arg("--out").arg(&merged).succeeds();
        assert!(rows(&merged) == rows(&all));
    }
}

#[test]
fn forms_are_not_mixed_and_floats_may_be_made_smaller() {
    let place = Thousand::new();
    let [floats, halves, largest, codes, out] =
        ["f32", "f16", "top", "u8", "out"].map(|name| place.path(name));
    place.command(None, "random:1@0", &floats).args(["--dtype", "f32"]).succeeds();
    place.command(None, "random:1@0", &halves).succeeds();
    place.command(None, "random:1@0", &largest).args(["--top-k", "64"]).succeeds();
    place.command(None, "random:1@0", &codes).args(["--dtype", "u8"]).succeeds();

    for (from, flags, words) in [
        (
            &largest,
            &["--dtype", "u8"][..],
            "stored form is f16, the 64 largest of 1000 there, this run has u8",
        ),
        (&largest, &[], "stored form is f16, the 64 largest of 1000 there, this run has f16"),
        (&largest, &["--top-k", "32"], "this run has f16, the 32 largest of 1000"),
        (&codes, &["--dtype", "f32"], "stored form is u8 there, this run has f32"),
        (&halves, &["--top-k", "64"], "its answers are rounded, and those that are asked for would not be"),
        (&halves, &["--dtype", "u8"], "`label subset` stores it in that form"),
    ] {
        place.command(Some(from), "all", &out).args(flags).fails(2, &[words, "\nhint: "]);
    }
    let merge = |other: &Path| label().arg("merge").arg(&largest).arg(other).arg("--out").arg(&out);
    merge(&halves)
        .fails(2, &["is stored as f16, the 64 largest of 1000, ", "is stored as f16\n", "label subset"]);
    merge(&codes).fails(2, &["is stored as u8"]);
    for (dir, flags) in
        [(&largest, &["--dtype", "f32"][..]), (&largest, &["--top-k", "20"]), (&codes, &["--dtype", "f16"])]
    {
        label().arg("subset").arg(dir).args(flags).arg("--out").arg(&out).fails(2, &["stored form is "]);
    }
    assert!(!out.exists());

    // What the teacher said itself, stored later, is as if it had been at once.
    for (wanted, flags) in
        [(&largest, &["--top-k", "64", "--dtype", "f16"][..]), (&codes, &["--dtype", "u8"])]
    {
        let made = place.path(&format!("made {}", flags.join(" ")));
        label()
            .arg("subset")
            .arg(&floats)
            .args(flags)
            .args(["--shard-images", "5", "--out"])
            .arg(&made)
            .succeeds();
        assert!(rows(&made) == rows(wanted), "{flags:?}");
        let ended =
            place.command(Some(&floats), "random:1@0", &place.path(&format!("more {}", flags.join(" "))));
        ended.args(flags).succeeds();
        let coarse = place.path(&format!("coarse {}", flags.join(" ")));
        label().arg("subset").arg(&halves).args(flags).arg("--out").arg(&coarse).succeeds();
        label().arg("verify").arg(&coarse).succeeds();
    }
}

#[test]
fn the_largest_alone_are_for_many_classes() {
    let place = crate::fixture::Place::new();
    let out = place.path("out");
    place
        .run(&out, 9)
        .args(["--top-k", "4"])
        .fails(2, &["--top-k 4: the data has 10 classes, wanted at least 1000"]);
    place
        .run(&out, 9)
        .args(["--dtype", "u8"])
        .fails(2, &["of 10 classes it takes 23 bytes a row, and all logits in f16 take 20"]);
    assert!(!out.exists());
    place
        .run(&out, 9)
        .args(["--taps", "conv1", "--tap-dtype", "u8"])
        .fails(2, &["feature maps are stored as f16 or f32"]);
    let thousand = Thousand::new();
    let mapped = ["--dtype", "u8", "--taps", "conv1", "--tap-dtype", "f32"];
    thousand.command(None, "all", &thousand.path("mapped")).args(mapped).succeeds();
    label().arg("verify").arg(thousand.path("mapped")).succeeds();
    for top in ["1000", "600"] {
        thousand
            .command(None, "all", &out)
            .args(["--top-k", top])
            .fails(2, &["of 1000 classes it takes", "keep fewer"]);
    }
    let estimate = |flags: &[&str]| {
        let data = format!("imagefolder:{}@8", thousand.path("images").display());
        let command = label().args([
            "estimate",
            "--teacher-arch",
            "tiny-cnn",
            "--student",
            "tiny-cnn",
            "--data",
            &data,
        ]);
        command.args(["--views", "random:1@0", "--epochs", "3"]).args(flags)
    };
    let text = estimate(&["--top-k", "64"]).succeeds();
    assert!(text.contains("size in u8") && text.contains("size in f16, 64 largest"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&estimate(&["--top-k", "64", "--json"]).succeeds()).unwrap();
    // 64 halves and 64 classes of two bytes, the rest, the loss, and a flag; 1,000 codes, two floats, the loss and the flag.
    assert_eq!(json["bytes"]["top_k"]["bytes_per_row"], 265);
    let safetensors = |what: &str| json["bytes"][what]["safetensors"].as_u64().unwrap();
    assert_eq!(safetensors("f16") - safetensors("u8"), 1000 * (2000 - 1013));
    estimate(&["--top-k", "600"]).fails(2, &["keep fewer"]);
}
