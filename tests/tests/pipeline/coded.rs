//! What a student learns where a label set does not store every logit as a float.

use std::num::NonZeroU32;

use labels::{Check, Dtype, LabelSet, Lost, RowTable, Session, Spec, Views};

use crate::Scene;

/// The answers of the label set `dense`, stored so; what that loses.
fn coded(scene: &Scene, out: &str, dtype: Dtype, top: u32) -> Lost {
    let dense = LabelSet::open(&scene.path("dense"), Check::Used).unwrap();
    let manifest = dense.manifest();
    let rows = RowTable::all(dense.images(), manifest.augment);
    let mut spec = Spec::new(dense.dataset(), manifest.augment, Views::All, rows, manifest.teacher.clone());
    (spec.dtype, spec.top_k) = (dtype, NonZeroU32::new(top));
    let mut session = Session::open(&scene.path(out), spec).unwrap();
    for job in session.pending() {
        let mut answers = vec![0.0; job.rows.len() * dense.classes()];
        let rows =
            job.images.clone().flat_map(|image| dense.views_of(image).iter().map(move |&view| (image, view)));
        for ((image, view), out) in rows.zip(answers.chunks_exact_mut(dense.classes())) {
            assert!(dense.answer(image, view, out));
        }
        session.write(&job, &answers).unwrap();
    }
    session.finish().unwrap().lost.unwrap()
}

/// Of ten classes, whoever knows nine and the mass of the rest knows the tenth.
#[test]
fn nine_of_ten_logits_give_the_student_of_all_byte_for_byte_and_fewer_another() {
    let scene = Scene::new();
    scene.label("dense", &["--views", "all", "--dtype", "f32", "--limit", "150"]);
    let student =
        |name: &str| scene.train(&format!("from {name}"), &[("labels", &scene.text(name))]).unwrap();
    let wanted = student("dense");
    let nothing = Lost { nanonats: 0, largest_nanonats: 0, turned: 0 };
    assert_eq!(coded(&scene, "nine", Dtype::F32, 9), nothing);
    assert!(student("nine") == wanted, "another student");
    let [codes, three] = [("codes", Dtype::U8, 0), ("three", Dtype::F16, 3)].map(|(name, dtype, top)| {
        let lost = coded(&scene, name, dtype, top);
        (lost, distance(&student(name), &wanted))
    });
    // The more is lost, the farther the student is from that of all logits.
    assert!(codes.0.nanonats > 0 && three.0.nanonats > codes.0.nanonats, "{codes:?}, {three:?}");
    assert!(codes.1 > 0.0 && three.1 > codes.1, "{codes:?}, {three:?}");
}

/// Between the parameters of two students, relative to the second's.
fn distance(one: &[u8], other: &[u8]) -> f64 {
    let read = |file: &[u8]| -> Vec<f64> {
        let file = safetensors::SafeTensors::deserialize(file).unwrap();
        let mut names = file.names();
        names.sort_unstable();
        let bytes =
            names.iter().flat_map(|name| file.tensor(name).unwrap().data().to_vec()).collect::<Vec<_>>();
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect()
    };
    let (one, other) = (read(one), read(other));
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    norm(&one.iter().zip(&other).map(|(a, b)| a - b).collect::<Vec<_>>()) / norm(&other)
}
