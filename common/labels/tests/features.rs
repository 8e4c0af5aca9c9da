//! Label sets with feature maps: what is written is what is read, hashed as documented, refused where it is damaged.

mod fixture;

use std::fs;
use std::path::Path;

use fixture::{
    CLASSES, FEATURES, FORMS, IMAGES, feature, features, forge_file, forge_manifest, logit, logits, mapped,
    sparse, spec, tree, write,
};
use labels::{Check, Dtype, Error, Form, Kind, LabelSet, Session, Spec, Stored, verify};

const TYPES: [(Dtype, Dtype); 3] =
    [(Dtype::F16, Dtype::F16), (Dtype::F32, Dtype::F16), (Dtype::F32, Dtype::F32)];

const SHARD: &str = "shards/train-00001-of-00003.safetensors";

fn both() -> Spec {
    mapped(spec(Form::FULLEST, Dtype::F16), Dtype::F16)
}

fn finished(spec: &Spec) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), spec);
    dir
}

fn refused(dir: &Path) -> Error {
    let Err(error) = LabelSet::open(dir, Check::Hashes) else { panic!("a damaged label set was opened") };
    assert!(error.to_string().contains("\nhint: "), "{error}");
    if let Ok(report) = verify(dir) {
        assert!(!report.is_sound(), "verify does not see: {error}");
    }
    error
}

#[test]
fn every_map_reads_back_in_every_form_and_dtype() {
    for &form in FORMS {
        for (logits, maps) in TYPES {
            let dir = finished(&mapped(spec(form, logits), maps));
            for check in [Check::Hashes, Check::Sizes] {
                let set = LabelSet::open(dir.path(), check).unwrap();
                let held = set.manifest().features.clone().unwrap();
                assert_eq!(held, features(maps));
                for (image, view) in (0..IMAGES).flat_map(|image| (0..18).map(move |view| (image, view))) {
                    let mut out = [0.0; CLASSES];
                    assert!(set.read(image, view, &mut out));
                    let wanted = [0, 1, 2].map(|class| logit(image, view, class).to_bits());
                    assert_eq!(out.map(f32::to_bits), wanted);
                    let found = set.features(image, view).unwrap();
                    assert_eq!(matches!(found, Stored::F16(_)), maps == Dtype::F16);
                    for (number, places) in [(0, 0..12), (1, 12..FEATURES)] {
                        let wanted: Vec<f32> =
                            places.clone().map(|place| feature(image, view, place)).collect();
                        assert_eq!(held.places(number), places);
                        assert_eq!(found.part(places).to_vec(), wanted, "{form} {logits} {maps}");
                    }
                }
                assert!(set.features(IMAGES, 0).is_none() && set.features(0, 18).is_none());
            }
            assert!(verify(dir.path()).unwrap().is_sound());
        }
    }
}

#[test]
fn a_set_without_maps_has_none_and_is_of_the_first_format() {
    let dir = finished(&spec(Form::FULLEST, Dtype::F16));
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    assert!(set.features(0, 0).is_none());
    for (name, bytes) in tree(dir.path()) {
        let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!has("features") && !has("labels-2") && !has("\"format_version\": 2"), "{name}");
    }
    let with = tree(finished(&both()).path());
    let has = |name: &str, text: &str| with[name].windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("manifest.json", "\"format_version\": 2") && has(SHARD, "\"labels-2\""));
    assert!(has("README.md", "| feature maps | layer2 2x3x2, layer1 1x2x2; f16, 16 values a row |"));
    assert!(has("README.md", "shard[\"features\"][a:b, 12:16].reshape(-1, 1, 2, 2)"));
}

/// Straight from the documentation, by other code than the crate's.
#[test]
fn the_content_hash_covers_maps_their_type_their_names_and_their_shapes_as_documented() {
    for (dtype, name) in [(Dtype::F16, "F16"), (Dtype::F32, "F32")] {
        let mut head = b"rslad-labels-2F32".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend(name.as_bytes());
        head.extend(2u32.to_le_bytes());
        for (module, shape) in [("layer2", [2u32, 3, 2]), ("layer1", [1, 2, 2])] {
            head.extend(6u32.to_le_bytes());
            head.extend(module.as_bytes());
            head.extend(shape.into_iter().flat_map(u32::to_le_bytes));
        }
        let mut content = Vec::new();
        for image in 0..IMAGES {
            for view in 0..18u16 {
                content.extend((image as u64).to_le_bytes());
                content.extend(view.to_le_bytes());
                content.extend(((image % 3) as i32).to_le_bytes());
                for class in 0..3 {
                    content.extend(logit(image, view, class).to_le_bytes());
                }
                for place in 0..FEATURES {
                    let value = feature(image, view, place);
                    match dtype {
                        Dtype::F16 => content.extend(half::f16::from_f32(value).to_le_bytes()),
                        _ => content.extend(value.to_le_bytes()),
                    }
                }
            }
        }
        for &form in FORMS {
            let dir = finished(&mapped(spec(form, Dtype::F32), dtype));
            let report = verify(dir.path()).unwrap();
            // Seven images are one range.
            let wanted = blake3::hash(&[&head, &blake3::hash(&content).as_bytes()[..]].concat()).to_hex();
            assert_eq!(report.manifest.content_hash.to_string(), wanted.as_str(), "{form} {dtype}");
            assert!(report.content.iter().all(|(_, hash)| *hash == report.manifest.content_hash));
        }
    }
}

#[test]
fn one_flipped_bit_in_a_map_is_noticed_and_one_under_forged_hashes_has_another_content_hash() {
    let dir = finished(&both());
    let whole = fs::read(dir.path().join(SHARD)).unwrap();
    // Behind the header, four offsets, three labels and 54 rows of three halves.
    let maps = 4096 + 4 * 8 + 3 * 4 + 54 * 6;
    for at in [maps, maps + 54 * 32 - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(dir.path().join(SHARD), &flipped).unwrap();
        assert!(matches!(refused(dir.path()), Error::FileHash { .. }));
        fs::write(dir.path().join(SHARD), &whole).unwrap();
        forge_file(dir.path(), SHARD, &flipped);
        let report = verify(dir.path()).unwrap();
        let wrong = |problem: &Error| matches!(problem, Error::ContentHash { rows: "the safetensors", .. });
        assert!(report.problems.iter().any(wrong), "{:?}", report.problems);
        forge_file(dir.path(), SHARD, &whole);
    }
    // Infinite, as binary16 has it: value 2 of the second map of image 3, view 1.
    let mut forged = whole.clone();
    forged[maps + 32 + 2 * 14..][..2].copy_from_slice(&[0, 0x7c]);
    forge_file(dir.path(), SHARD, &forged);
    let error = refused(dir.path());
    let is_named = matches!(&error, Error::MapNotFinite { image: 3, view: 1, module, place: 2, .. } if module == "layer1");
    assert!(is_named && error.kind() == Kind::Damage, "{error}");
}

#[test]
fn manifests_that_lie_about_maps_are_refused() {
    for (truth, lie) in [
        ("\"format_version\": 2", "\"format_version\": 1"),
        ("\"module\": \"layer1\"", "\"module\": \"layer2\""),
        ("\"module\": \"layer1\"", "\"module\": \"\\u001b[2J\""),
        ("\"module\": \"layer1\"", "\"module\": \"layer1\", \"stride\": 1"),
        ("\"features\": {\n    \"dtype\": \"f16\"", "\"features\": {\n    \"dtype\": \"f32\""),
        ("          3,\n", "          4,\n"),
        ("          3,\n", "          0,\n"),
        ("          3,\n", "          4294967295,\n"),
        ("          3,\n", "          4294967296,\n"),
    ] {
        let dir = finished(&both());
        forge_manifest(dir.path(), |text| {
            assert!(text.contains(truth), "{truth} in {text}");
            text.replacen(truth, lie, 1)
        });
        assert_eq!(refused(dir.path()).kind(), Kind::Damage, "{lie}");
    }
}

/// The content hash has the shapes, which say how the same numbers are to be read.
#[test]
fn other_shapes_of_as_many_values_are_another_content() {
    let dir = finished(&both());
    forge_manifest(dir.path(), |text| {
        text.replacen("        2,\n          3,\n          2\n", "        3,\n          2,\n          2\n", 1)
    });
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.manifest.features.as_ref().unwrap().maps[0].shape, [3, 2, 2]);
    assert!(report.problems.iter().any(|problem| matches!(problem, Error::ContentHash { .. })));
}

/// And their names, which say what the numbers are of.
#[test]
fn exchanged_names_of_maps_are_another_content() {
    let dir = finished(&both());
    forge_manifest(dir.path(), |text| {
        text.replace("\"layer2\"", "\"\"").replace("\"layer1\"", "\"layer2\"").replace("\"\"", "\"layer1\"")
    });
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.manifest.features.as_ref().unwrap().maps[0].module, "layer1");
    assert!(report.problems.iter().any(|problem| matches!(problem, Error::ContentHash { .. })));
}

#[test]
fn answers_with_maps_are_kept_over_a_kill_and_go_on_in_the_middle_of_a_shard() {
    let wanted = tree(finished(&both()).path());
    let dir = tempfile::tempdir().unwrap();
    for rows in [1, 5, 54] {
        let mut session = Session::open(dir.path(), both()).unwrap();
        let job = session.pending()[0].clone();
        let mut answers = session.answers(&job).unwrap();
        let all = logits(session.spec(), &job);
        let width = session.spec().coding().kept();
        assert_eq!(width, CLASSES + FEATURES);
        answers.add(&all[answers.rows() * width..rows * width]).unwrap();
        assert_eq!(answers.values(), &all[..rows * width]);
        if rows == 54 {
            session.write(&job, answers.values()).unwrap();
        }
    }
    write(dir.path(), &both());
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_folder_goes_on_with_its_own_maps_and_with_no_others() {
    let without = || spec(Form::FULLEST, Dtype::F16);
    let exact = || mapped(spec(Form::FULLEST, Dtype::F32), Dtype::F32);
    let renamed = || {
        let mut spec = both();
        spec.features.as_mut().unwrap().maps[1].module = "layer3".into();
        spec
    };
    let others: [(&str, Spec, Spec); 4] = [
        ("features is none there", without(), both()),
        ("this run has none", both(), without()),
        ("dtype is \"f16\" there", both(), exact()),
        ("features.maps[1].module is \"layer1\" there", both(), renamed()),
    ];
    for (words, there, here) in others {
        for shards in [1, usize::MAX] {
            let dir = tempfile::tempdir().unwrap();
            let mut session = Session::open(dir.path(), there.clone()).unwrap();
            fixture::write_some(&mut session, shards);
            if shards > 1 {
                session.finish().unwrap();
            } else {
                drop(session);
            }
            let error = Session::open(dir.path(), here.clone()).err().unwrap();
            let is_other = matches!(error, Error::OtherParameters { .. });
            assert!(is_other && error.to_string().contains(words), "{error}");
            Session::open(dir.path(), there.clone()).unwrap();
        }
    }
}

#[test]
fn a_map_that_cannot_be_stored_is_named_by_its_module() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), mapped(sparse(Form::FULLEST), Dtype::F16)).unwrap();
    let job = session.pending()[1].clone();
    let good = logits(session.spec(), &job);
    let mut answers = good.clone();
    // Of the shard's second row, value 3 of the second map.
    let place = (CLASSES + FEATURES) + CLASSES + 15;
    answers[place] = 65_520.0;
    let text = session.write(&job, &answers).unwrap_err().to_string();
    assert!(text.contains("map at module `layer1` of image 3") && text.contains("--tap-dtype f32"), "{text}");
    answers[place] = f32::NAN;
    let error = session.write(&job, &answers).unwrap_err();
    assert!(matches!(error, Error::TeacherMapNotFinite { image: 3, place: 3, .. }), "{error}");
    assert!(session.write(&job, &good[1..]).is_err());
    let mut spec = mapped(spec(Form::FULLEST, Dtype::F16), Dtype::F32);
    assert!(Session::open(dir.path(), spec.clone()).err().unwrap().to_string().contains("features.dtype"));
    spec.features = Some(labels::Features { dtype: Dtype::F16, maps: Vec::new() });
    assert!(Session::open(dir.path(), spec).is_err());
}

#[test]
fn shards_of_maps_have_about_64_mib_by_default() {
    let mut wide = both();
    wide.shard_images = None;
    // WRN-34-10's last block in halves: 640 maps of 8x8 make 81,920 bytes a row, of which an image here has 18.
    wide.features.as_mut().unwrap().maps =
        vec![labels::FeatureMap { module: "block3".into(), shape: [640, 8, 8] }];
    assert_eq!(wide.shard_images(), 67_108_864 / (18 * (81_920 + 6 + 2) + 28));
}
