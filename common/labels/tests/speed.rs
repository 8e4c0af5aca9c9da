//! How fast rows are read; run with `cargo test --workspace --test speed -- --ignored --nocapture`.

mod fixture;

use std::time::Instant;

use labels::{Augment, Check, Dataset, Dtype, Form, LabelSet, RowTable, Session, Spec, image_hash};

const IMAGES: usize = 800;
const CLASSES: usize = 10;

/// As CIFAR's: 162 views of each image, ten classes, half precision.
fn spec() -> Spec {
    let augment: Augment = "crop4+flip".parse().unwrap();
    let dataset = Dataset {
        shape: [32, 32, 3],
        class_names: (0..CLASSES).map(|class| class.to_string()).collect(),
        classes: CLASSES,
        hashes: (0..IMAGES).map(|image| image_hash(32, 32, 3, &[image as u8; 3072])).collect(),
        labels: vec![0; IMAGES],
        ..fixture::dataset()
    };
    let mut spec = fixture::spec(Form::Safetensors, Dtype::F16);
    spec.rows = RowTable::all(IMAGES, augment);
    spec.dataset = dataset;
    spec.augment = augment;
    spec.shard_images = Some(300);
    spec
}

#[test]
#[ignore = "a measurement, not a check of results"]
fn one_thread_reads_five_million_rows_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("labels");
    let mut session = Session::open(&dir, spec()).unwrap();
    for job in session.pending() {
        let logits: Vec<f32> = (0..job.rows.len() * CLASSES).map(|i| (i % 61) as f32 / 4.0).collect();
        session.write(&job, &logits).unwrap();
    }
    session.finish().unwrap();
    let set = LabelSet::open(&dir, Check::Hashes).unwrap();
    let mut row = vec![0.0f32; set.classes()];
    let rows: Vec<(usize, u16)> = (0..set.images())
        .flat_map(|image| set.views_of(image).iter().map(move |&view| (image, view)))
        .collect();
    let (mut sum, mut reads) = (0.0, 0u32);
    let began = Instant::now();
    // A stride that is no divisor of the count: rows far apart, each once per round.
    for i in 0..4 * rows.len() {
        let (image, view) = rows[i * 7919 % rows.len()];
        assert!(set.read(image, view, &mut row));
        sum += row[0];
        reads += 1;
    }
    let rate = f64::from(reads) / began.elapsed().as_secs_f64();
    println!("{rate:.3e} rows a second of {} rows ({sum})", rows.len());
    assert!(rate > 5e6);
}
