//! A label set of format 1 that was written once and is kept: whatever becomes of the writer, it is read as it was.

mod fixture;

use std::path::{Path, PathBuf};

use fixture::{CLASSES, IMAGES, logit, sparse, tree, write};
use labels::{Check, Form, LabelSet, verify};

/// `sparse(Form::Both)` as the first version of the format had it. Its views are those that its plan draws, so that the
/// code of docs/label-set.md can be run over it: `python tests/interop/read_label_set.py common/labels/tests/format-1`.
///
/// A set is made once, for its version, by `LABELS_KEEP=1 cargo test -p rslad-labels --test format kept_bytes`.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-1")
}

#[test]
fn a_kept_label_set_is_read_as_it_was_written() {
    let set = LabelSet::open(&kept(), Check::Hashes).unwrap();
    let spec = sparse(Form::Both);
    let mut out = [0.0; CLASSES];
    for image in 0..IMAGES {
        assert_eq!(set.views_of(image), spec.rows.views_of(image));
        assert_eq!(set.label(image), (image % CLASSES) as i32);
        for &view in set.views_of(image) {
            assert!(set.read(image, view, &mut out));
            let wanted = [0, 1, 2].map(|class| logit(image, view, class).to_bits());
            assert_eq!(out.map(f32::to_bits), wanted, "{image} {view}");
        }
    }
    // As the code of docs/label-set.md computes it.
    let manifest = set.manifest();
    assert_eq!(
        manifest.content_hash.to_string(),
        "0fb970e058be4a26f656f138bb0c7ff0ee6f1aae4f029b30a2a23e185dc071df"
    );
}

#[test]
fn the_writer_still_gives_the_kept_bytes_of_the_safetensors_form() {
    if std::env::var_os("LABELS_KEEP").is_some() {
        std::fs::remove_dir_all(kept()).unwrap();
        write(&kept(), &sparse(Form::Both));
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &sparse(Form::Safetensors));
    let kept = tree(&kept());
    for (name, bytes) in tree(dir.path()).into_iter().filter(|(name, _)| name.ends_with(".safetensors")) {
        assert!(kept[&name] == bytes, "{name}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn both_forms_of_a_kept_label_set_hold_the_same_rows() {
    let report = verify(&kept()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!(report.content.len(), 2);
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_nothing_of_parquet_is_written_decoded_or_verified() {
    let text = |error: labels::Error| {
        assert_eq!(error.kind(), labels::Kind::Input);
        error.to_string()
    };
    let dir = tempfile::tempdir().unwrap();
    for form in [Form::Both, Form::Parquet] {
        let refused = labels::Session::open(dir.path(), sparse(form)).err().map(text).unwrap();
        assert!(refused.starts_with(&format!("format `{form}`: it takes Parquet, which was compiled out")));
        assert!(refused.contains("\nhint: "));
    }
    assert!(tree(dir.path()).is_empty());
    let refused = text(verify(&kept()).unwrap_err());
    assert!(refused.contains("verifying every row") && refused.contains("compiled out"), "{refused}");

    // The safetensors form gone, and a manifest that says so.
    let kept = tree(&kept());
    for (name, bytes) in kept.iter().filter(|(name, _)| !name.starts_with("shards")) {
        if name.ends_with('/') {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        } else {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
    }
    fixture::forge_manifest(dir.path(), |text| {
        let files = text.find("    {\n      \"path\": \"shards").unwrap();
        let text = format!("{}\n  ]\n}}\n", text[..files].trim_end().trim_end_matches(','));
        text.replace("\"form\": \"both\"", "\"form\": \"parquet\"")
    });
    let refused = text(LabelSet::open(dir.path(), Check::Hashes).err().unwrap());
    assert!(refused.contains("train-00000-of-00003.parquet: it takes Parquet"), "{refused}");
}
