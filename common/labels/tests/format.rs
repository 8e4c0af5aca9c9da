//! A label set of each format that was written once and is kept: whatever becomes of the writer, it is read as it was.

mod fixture;

use std::path::{Path, PathBuf};

use std::num::NonZeroU32;

use fixture::{CLASSES, FEATURES, IMAGES, feature, logit, mapped, sparse, tree, write};
use labels::{Check, Dtype, Form, LabelSet, Spec, verify};

/// Sparse sets as the first version of each format had them: `sparse(Form::Both)`, the same with feature maps, with these and the
/// two largest logits alone, and with codes. Their views are those that their plan draws, so that the code of docs/label-set.md
/// can be run over them: `python tests/interop/read_label_set.py common/labels/tests/format-1`.
///
/// A set is made once, for its version, by `LABELS_KEEP=format-1 cargo test -p rslad-labels --test format kept_bytes`.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// What a kept set was written from.
fn spec_of(name: &str, form: Form) -> Spec {
    let mut spec = sparse(form);
    if name == "format-1" {
        return spec;
    }
    if name == "format-3-u8" {
        spec.dtype = Dtype::U8;
        return spec;
    }
    spec.top_k = NonZeroU32::new(2).filter(|_| name == "format-3");
    mapped(spec, Dtype::F16)
}

const KEPT: [(&str, u32); 4] = [("format-1", 1), ("format-2", 2), ("format-3", 3), ("format-3-u8", 3)];

#[test]
fn a_kept_label_set_is_read_as_it_was_written() {
    // As the code of docs/label-set.md computes them.
    let hashes = [
        "88419618bb4acb9dbd6badb6f0d852a235a05abc3313dabd91704f3a7e6b1d75",
        "41ad67b602a8cc37d219f0560c95f7d37a4d0a67acc79ed5d7b7017863a8d0c6",
        "38a864c0f8d41c13f65d2b859ff2aea2acbf563bd31de91dbd6cb7a573368b52",
        "e852e257e25a5e98f083bb840e9ec233b37ac9fa929010497c3314b3b6dbb5f7",
    ];
    for ((name, version), hash) in KEPT.into_iter().zip(hashes) {
        let set = LabelSet::open(&kept(name), Check::Hashes).unwrap();
        let spec = spec_of(name, Form::Both);
        let mut out = [0.0; CLASSES];
        for image in 0..IMAGES {
            assert_eq!(set.views_of(image), spec.rows.views_of(image));
            assert_eq!(set.label(image), (image % CLASSES) as i32);
            for &view in set.views_of(image) {
                assert!(set.read(image, view, &mut out));
                let wanted = [0, 1, 2].map(|class| logit(image, view, class));
                if spec.dtype == Dtype::U8 {
                    // Half a step, or one where another class must not come first.
                    let range = wanted.into_iter().fold(f32::MIN, f32::max)
                        - wanted.into_iter().fold(f32::MAX, f32::min);
                    for (out, wanted) in out.into_iter().zip(wanted) {
                        assert!((out - wanted).abs() <= range / 254.0, "{out} {wanted}");
                    }
                } else {
                    // Of three, the one that is not among the two largest is known as well.
                    assert_eq!(out.map(f32::to_bits), wanted.map(f32::to_bits), "{image} {view}");
                }
                let maps = set.features(image, view).map(|maps| maps.to_vec());
                let wanted = (0..FEATURES).map(|place| feature(image, view, place)).collect();
                assert_eq!(maps, spec.features.is_some().then_some(wanted), "{image} {view}");
            }
        }
        let manifest = set.manifest();
        assert_eq!((manifest.format_version, manifest.content_hash.to_string()), (version, hash.into()));
    }
}

#[test]
fn the_writer_still_gives_the_kept_bytes_of_the_safetensors_form() {
    for (set, _) in KEPT {
        if std::env::var("LABELS_KEEP").is_ok_and(|wanted| wanted == set) {
            let _ = std::fs::remove_dir_all(kept(set));
            write(&kept(set), &spec_of(set, Form::Both));
        }
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &spec_of(set, Form::Safetensors));
        let kept = tree(&kept(set));
        for (name, bytes) in tree(dir.path()).into_iter().filter(|(name, _)| name.ends_with(".safetensors")) {
            assert!(kept[&name] == bytes, "{set}: {name}");
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn both_forms_of_a_kept_label_set_hold_the_same_rows() {
    for (name, _) in KEPT {
        let report = verify(&kept(name)).unwrap();
        assert!(report.is_sound() && report.notes.is_empty(), "{:?} {:?}", report.problems, report.notes);
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
    let refused = text(verify(&kept("format-1")).unwrap_err());
    assert!(refused.contains("verifying every row") && refused.contains("compiled out"), "{refused}");

    // The safetensors form gone, and a manifest that says so.
    let kept = tree(&kept("format-1"));
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
