//! What is written is what is read, in every form, and its hashes are the documented ones.

mod fixture;

use fixture::{CLASSES, FORMS, IMAGES, PARQUET, dataset, logit, logits, sha256, sparse, spec, tree, write};
use labels::{Check, Dtype, Form, LabelSet, Logits, RowTable, Session, Stored, image_hash, verify};
use std::fs;
use std::process::Command;

#[test]
fn every_row_reads_back_in_every_form_and_dtype() {
    for &form in FORMS {
        for dtype in [Dtype::F16, Dtype::F32] {
            for check in [Check::Hashes, Check::Sizes] {
                let dir = tempfile::tempdir().unwrap();
                let spec = spec(form, dtype);
                write(dir.path(), &spec);
                let set = LabelSet::open(dir.path(), check).unwrap();
                let mut out = [0.0; CLASSES];
                for image in 0..IMAGES {
                    assert_eq!(set.label(image), (image % CLASSES) as i32);
                    assert_eq!(set.image_hash(image), dataset().hashes[image]);
                    for view in 0..18 {
                        assert!(set.read(image, view, &mut out));
                        assert_eq!(
                            out.map(f32::to_bits),
                            [0, 1, 2].map(|class| logit(image, view, class).to_bits()),
                            "{form} {dtype} {image} {view}"
                        );
                        assert_eq!(
                            matches!(set.logits(image, view), Some(Logits::Plain(Stored::F16(_)))),
                            dtype == Dtype::F16
                        );
                    }
                    assert!(set.logits(image, 18).is_none());
                }
                assert!(set.logits(IMAGES, 0).is_none());
                assert_eq!(set.rows().count(), IMAGES * 18);
                assert!(verify(dir.path()).unwrap().is_sound());
            }
        }
    }
}

#[test]
fn a_sparse_set_holds_its_views_and_no_others() {
    for &form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let spec = sparse(form);
        write(dir.path(), &spec);
        let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
        for image in 0..IMAGES {
            let views = spec.rows.views_of(image);
            assert_eq!(set.views_of(image), views);
            for view in 0..18 {
                let found = set.logits(image, view).map(|logits| logits.to_vec());
                let wanted = views
                    .contains(&view)
                    .then(|| (0..CLASSES).map(|class| logit(image, view, class)).collect());
                assert_eq!(found, wanted, "{form} {image} {view}");
            }
        }
        let rows: Vec<_> = set.rows().map(|row| (row.image, row.view)).collect();
        assert!(rows.is_sorted() && rows.len() == spec.rows.len());
    }
}

#[test]
fn hashes_are_those_the_format_documents() {
    // Straight from the documentation, by other code than the crate's.
    let mut content = Vec::new();
    let mut identity = b"rslad-dataset-1".to_vec();
    identity.extend(7u64.to_le_bytes());
    for image in 0..IMAGES {
        let mut pixels = vec![2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0];
        pixels.extend([image as u8, 1, 2, 3]);
        identity.extend(&blake3::hash(&pixels).as_bytes()[..16]);
        identity.extend(((image % 3) as i32).to_le_bytes());
        for view in 0..18u16 {
            content.extend((image as u64).to_le_bytes());
            content.extend(view.to_le_bytes());
            content.extend(((image % 3) as i32).to_le_bytes());
            for class in 0..3 {
                content.extend(half_bits(logit(image, view, class)).to_le_bytes());
            }
        }
    }
    let content = of_ranges(&[&content]);
    for &form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path(), &spec(form, Dtype::F16));
        assert_eq!(manifest.content_hash.to_string(), content, "{form}");
        assert_eq!(manifest.dataset.hash.to_string(), blake3::hash(&identity).to_hex().as_str());
        for (_, hash) in verify(dir.path()).unwrap().content {
            assert_eq!(hash, manifest.content_hash);
        }
        let text = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
        let zeroed = text.replace(&manifest.id.to_string(), &"0".repeat(64));
        assert_eq!(manifest.id.to_string(), blake3::hash(zeroed.as_bytes()).to_hex().as_str());
        for file in &manifest.files {
            let bytes = fs::read(dir.path().join(&file.path)).unwrap();
            assert_eq!(file.blake3.to_string(), blake3::hash(&bytes).to_hex().as_str());
            assert_eq!(file.sha256.to_string(), sha256(&bytes));
        }
        assert!(
            fs::read_to_string(dir.path().join("README.md"))
                .unwrap()
                .contains(&manifest.content_hash.to_string())
        );
    }
}

/// The content hash of logits of three classes in f16, the rows of each 1,024 images being these bytes.
fn of_ranges(rows: &[&[u8]]) -> String {
    let mut all = b"rslad-labels-1F16\x03\0\0\0".to_vec();
    for range in rows {
        all.extend(blake3::hash(range).as_bytes());
    }
    blake3::hash(&all).to_hex().to_string()
}

#[test]
fn rows_are_hashed_by_1024_images_whatever_the_shards() {
    const MANY: usize = 2500;
    let mut rows = vec![Vec::new(); 3];
    for image in 0..MANY {
        let range = &mut rows[image / 1024];
        range.extend((image as u64).to_le_bytes());
        range.extend(0u16.to_le_bytes());
        range.extend(((image % 3) as i32).to_le_bytes());
        for class in 0..3 {
            range.extend(half_bits(logit(image, 0, class)).to_le_bytes());
        }
    }
    let wanted = of_ranges(&[&rows[0], &rows[1], &rows[2]]);
    for &form in FORMS {
        for shard_images in [700, 1024, 2500] {
            let mut spec = spec(form, Dtype::F16);
            spec.dataset.hashes =
                (0..MANY).map(|image| image_hash(1, 1, 2, &(image as u16).to_le_bytes())).collect();
            spec.dataset.labels = (0..MANY).map(|image| (image % 3) as i32).collect();
            spec.augment = "none".parse().unwrap();
            spec.rows = RowTable::all(MANY, spec.augment);
            spec.shard_images = Some(shard_images);
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(write(dir.path(), &spec).content_hash.to_string(), wanted, "{form} {shard_images}");
            assert!(verify(dir.path()).unwrap().is_sound());
        }
    }
}

/// Bits of an f16 that is a quarter between -8 and 8: sign, exponent and mantissa by hand.
fn half_bits(value: f32) -> u16 {
    let (sign, size) = (u16::from(value.is_sign_negative()) << 15, value.abs());
    if size == 0.0 {
        return 0;
    }
    let exponent = size.log2().floor();
    let mantissa = (size / exponent.exp2() - 1.0) * 1024.0;
    sign | (((exponent + 15.0) as u16) << 10) | mantissa as u16
}

#[test]
fn the_same_spec_gives_the_same_bytes() {
    for &form in FORMS {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(a.path(), &sparse(form));
        write(&b.path().join("below/another"), &sparse(form));
        assert_eq!(tree(a.path()), tree(&b.path().join("below/another")));
    }
}

#[test]
fn the_order_of_writing_does_not_matter() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spec = spec(Form::FULLEST, Dtype::F16);
    write(a.path(), &spec);
    let mut session = Session::open(b.path(), spec).unwrap();
    for job in session.pending().into_iter().rev() {
        let logits = logits(session.spec(), &job);
        session.write(&job, &logits).unwrap();
    }
    session.finish().unwrap();
    assert_eq!(tree(a.path()), tree(b.path()));
}

#[test]
fn sha256sum_accepts_the_sums() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &spec(Form::FULLEST, Dtype::F16));
    let Ok(output) =
        Command::new("sha256sum").args(["-c", "--strict", "SHA256SUMS"]).current_dir(dir.path()).output()
    else {
        println!("skipped: sha256sum is not installed");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    // Card, manifest, three shards in each form.
    let files = if PARQUET { 8 } else { 5 };
    assert_eq!(String::from_utf8(output.stdout).unwrap().matches(": OK").count(), files);
}

#[test]
fn the_folder_holds_the_documented_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &spec(Form::FULLEST, Dtype::F16));
    let names: Vec<String> = tree(dir.path()).into_keys().collect();
    let mut documented = vec![
        "README.md",
        "SHA256SUMS",
        "data/",
        "data/train-00000-of-00003.parquet",
        "data/train-00001-of-00003.parquet",
        "data/train-00002-of-00003.parquet",
        "manifest.json",
        "shards/",
        "shards/train-00000-of-00003.safetensors",
        "shards/train-00001-of-00003.safetensors",
        "shards/train-00002-of-00003.safetensors",
    ];
    documented.retain(|name| PARQUET || !name.starts_with("data"));
    assert_eq!(names, documented);
}

#[test]
fn shards_have_about_64_mib_by_default() {
    // CIFAR-10: 162 rows of 10 halves and a view, an offset, a label, a hash: 3,592 bytes per image.
    assert_eq!(labels::default_shard_images(162, 20), 67_108_864 / 3_592);
    assert_eq!(labels::default_shard_images(usize::MAX, 40), 1);
}
