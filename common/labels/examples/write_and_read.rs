//! Writes a small label set with a made-up teacher and reads it back: `cargo run -p rslad-labels --example write_and_read -- FOLDER [both|safetensors|parquet] [f16|f32] [IMAGES]`.

use std::path::Path;
use std::time::Instant;

use labels::{
    Augment, Check, Dataset, Dtype, Form, LabelSet, RowTable, Session, Spec, Teacher, Views, Wanted,
    image_hash,
};

fn main() -> Result<(), labels::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |index: usize, default: &str| arguments.get(index).map_or(default.to_string(), Clone::clone);
    let dir = argument(0, "labels-example");
    let dir = Path::new(&dir);
    let form: Form = argument(1, "both").parse()?;
    let dtype: Dtype = argument(2, "f16").parse()?;

    let images: usize = argument(3, "1000").parse().expect("IMAGES is a number");
    let classes = 10;
    let dataset = Dataset {
        name: "made-up".into(),
        split: "train".into(),
        shape: [4, 4, 3],
        class_names: Vec::new(),
        classes,
        hashes: (0..images).map(|image| image_hash(4, 4, 3, &[(image % 251) as u8; 48])).collect(),
        labels: (0..images).map(|image| (image % classes) as i32).collect(),
    };
    let augment: Augment = "crop4+flip".parse()?;
    let mut made_up = Teacher::named("made-up");
    made_up.origin = "a formula".into();
    let rows = RowTable::all(images, augment);
    let mut spec = Spec::new(dataset.clone(), augment, Views::All, rows, made_up);
    spec.dtype = dtype;
    spec.form = form;
    spec.shard_images = (images == 1000).then_some(400);
    spec.license = "CC0-1.0".into();

    let start = Instant::now();
    let mut session = Session::open(dir, spec)?;
    for job in session.pending() {
        let mut logits = Vec::with_capacity(job.rows.len() * classes);
        for image in job.images.clone() {
            for &view in session.spec().rows.views_of(image) {
                logits.extend((0..classes).map(|class| teacher(image, view, class)));
            }
        }
        session.write(&job, &logits)?;
    }
    let manifest = session.finish()?;
    println!("content_hash {}, written in {:.2} s", manifest.content_hash, start.elapsed().as_secs_f64());

    let start = Instant::now();
    let set = LabelSet::open(dir, Check::Hashes)?;
    println!("checked and opened in {:.2} s", start.elapsed().as_secs_f64());
    set.check_against(&Wanted { dataset: &dataset, augment: None, plan: Some((300, 0)) })?;
    let mut row = vec![0.0; classes];
    let (mut sum, lookups) = (0.0, 5_000_000u64);
    let start = Instant::now();
    for lookup in 0..lookups {
        // Rows in no order, as training asks for them.
        let mixed = lookup.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        assert!(set.read(mixed as usize % images, (mixed >> 16) as u16 % 162, &mut row));
        sum += f64::from(row[0]);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{lookups} rows in {seconds:.3} s, {:.1} M/s, mean {:.6}",
        lookups as f64 / seconds / 1e6,
        sum / lookups as f64
    );
    Ok(())
}

/// A formula that a reader in another language can repeat: multiples of 1/8 that f16 holds.
fn teacher(image: usize, view: u16, class: usize) -> f32 {
    ((image * 7 + usize::from(view) * 3 + class * 11) % 97) as f32 / 8.0 - 6.0
}
