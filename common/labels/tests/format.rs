//! A label set of each format that was written once and is kept: whatever becomes of the writer, it is read as it was.

mod fixture;

use std::path::{Path, PathBuf};

use fixture::{CLASSES, FEATURES, IMAGES, feature, logit, mapped, sparse, tree, write};
use labels::{Check, Dtype, Form, LabelSet, Spec, verify};

/// Sparse sets as the first version of each format had them: `sparse(Form::Both)`, and the same with feature maps. Their
/// views are those that their plan draws, so that the code of docs/label-set.md can be run over them:
/// `python tests/interop/read_label_set.py common/labels/tests/format-1`.
///
/// A set is made once, for its version, by `LABELS_KEEP=VERSION cargo test -p rslad-labels --test format kept_bytes`.
fn kept(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/format-{version}"))
}

/// What the kept set of a version was written from.
fn of_version(version: u32, form: Form) -> Spec {
    let spec = sparse(form);
    if version == 1 { spec } else { mapped(spec, Dtype::F16) }
}

const VERSIONS: [u32; 2] = [1, 2];

#[test]
fn a_kept_label_set_is_read_as_it_was_written() {
    // As the code of docs/label-set.md computes them.
    let hashes = [
        "88419618bb4acb9dbd6badb6f0d852a235a05abc3313dabd91704f3a7e6b1d75",
        "41ad67b602a8cc37d219f0560c95f7d37a4d0a67acc79ed5d7b7017863a8d0c6",
    ];
    for (version, hash) in VERSIONS.into_iter().zip(hashes) {
        let set = LabelSet::open(&kept(version), Check::Hashes).unwrap();
        let spec = of_version(version, Form::Both);
        let mut out = [0.0; CLASSES];
        for image in 0..IMAGES {
            assert_eq!(set.views_of(image), spec.rows.views_of(image));
            assert_eq!(set.label(image), (image % CLASSES) as i32);
            for &view in set.views_of(image) {
                assert!(set.read(image, view, &mut out));
                let wanted = [0, 1, 2].map(|class| logit(image, view, class).to_bits());
                assert_eq!(out.map(f32::to_bits), wanted, "{image} {view}");
                let maps = set.features(image, view).map(|maps| maps.to_vec());
                let wanted = (0..FEATURES).map(|place| feature(image, view, place)).collect();
                assert_eq!(maps, (version == 2).then_some(wanted), "{image} {view}");
            }
        }
        let manifest = set.manifest();
        assert_eq!((manifest.format_version, manifest.content_hash.to_string()), (version, hash.into()));
    }
}

#[test]
fn the_writer_still_gives_the_kept_bytes_of_the_safetensors_form() {
    for version in VERSIONS {
        if std::env::var("LABELS_KEEP").is_ok_and(|wanted| wanted == version.to_string()) {
            let _ = std::fs::remove_dir_all(kept(version));
            write(&kept(version), &of_version(version, Form::Both));
        }
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &of_version(version, Form::Safetensors));
        let kept = tree(&kept(version));
        for (name, bytes) in tree(dir.path()).into_iter().filter(|(name, _)| name.ends_with(".safetensors")) {
            assert!(kept[&name] == bytes, "{version}: {name}");
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn both_forms_of_a_kept_label_set_hold_the_same_rows() {
    for version in VERSIONS {
        let report = verify(&kept(version)).unwrap();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!(report.content.len(), 2);
    }
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
    let refused = text(verify(&kept(1)).unwrap_err());
    assert!(refused.contains("verifying every row") && refused.contains("compiled out"), "{refused}");

    // The safetensors form gone, and a manifest that says so.
    let kept = tree(&kept(1));
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
