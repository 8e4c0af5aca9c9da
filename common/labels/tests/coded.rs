//! Label sets that do not store every logit as a float: the largest of each row alone, or codes of eight bits. What they store
//! and lose is what PyTorch computes; interruptions, parts and forms change nothing.

mod fixture;

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use fixture::{FORMS, IMAGES, coded, logits, spec, tree, write};
use labels::{
    Check, Coding, Dtype, Error, Form, LabelSet, Logits, Manifest, Part, RowTable, Session, Spec, Stored,
    finalize, image_hash, verify,
};
use safetensors::SafeTensors;

/// What `tests/coded/make_coded.py` made with PyTorch, in float64.
struct Golden(Vec<u8>);

const CLASSES: usize = 1000;
/// Names among the golden values, with what they are of.
const CODINGS: [(&str, Dtype, u32); 5] = [
    ("u8", Dtype::U8, 0),
    ("top-10-f16", Dtype::F16, 10),
    ("top-64-f16", Dtype::F16, 64),
    ("top-64-f32", Dtype::F32, 64),
    ("top-999-f32", Dtype::F32, 999),
];

impl Golden {
    fn read() -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/coded/coded.safetensors");
        Golden(fs::read(path).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    fn whole(&self, name: &str) -> Vec<i32> {
        self.bytes(name).chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        self.bytes(name).chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

/// One view each of as many images as there are golden rows.
fn thousand(form: Form, rows: usize, dtype: Dtype, top: u32) -> Spec {
    let mut spec = spec(form, dtype);
    spec.top_k = NonZeroU32::new(top);
    (spec.dataset.classes, spec.dataset.class_names) = (CLASSES, Vec::new());
    spec.dataset.hashes = (0..rows).map(|image| image_hash(1, 1, 1, &[image as u8])).collect();
    spec.dataset.labels = (0..rows as i32).collect();
    spec.augment = "none".parse().unwrap();
    spec.rows = RowTable::all(rows, spec.augment);
    spec.shard_images = Some(4);
    spec
}

fn written(dir: &Path, spec: Spec, answers: &[f32]) -> Manifest {
    let width = spec.coding().given();
    let mut session = Session::open(dir, spec).unwrap();
    for job in session.pending() {
        session.write(&job, &answers[job.rows.start * width..job.rows.end * width]).unwrap();
    }
    session.finish().unwrap()
}

/// Equal, or the neighbours of f32: a logarithm in float64 may be rounded either way.
fn near(found: f32, wanted: f32) -> bool {
    (wanted.next_down()..=wanted.next_up()).contains(&found)
}

#[test]
fn what_is_stored_and_lost_is_what_pytorch_computes() {
    let golden = Golden::read();
    let logits = golden.floats("logits");
    let rows = logits.len() / CLASSES;
    for ((name, dtype, top), &form) in
        CODINGS.into_iter().flat_map(|coding| FORMS.iter().map(move |form| (coding, form)))
    {
        let dir = tempfile::tempdir().unwrap();
        let manifest = written(dir.path(), thousand(form, rows, dtype, top), &logits);
        let of = |what: &str| format!("{name}.{what}");
        let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
        let mut read = vec![0.0; CLASSES];
        for row in 0..rows {
            assert!(set.read(row, 0, &mut read));
            match set.logits(row, 0).unwrap() {
                Logits::Codes { codes, low, scale } => {
                    assert_eq!(
                        codes,
                        &golden.bytes(&of("codes"))[row * CLASSES..][..CLASSES],
                        "{name} {row}"
                    );
                    let wanted = [golden.floats(&of("low"))[row], golden.floats(&of("scale"))[row]];
                    assert_eq!([low, scale].map(f32::to_bits), wanted.map(f32::to_bits), "{name} {row}");
                    let wanted: Vec<f32> = codes.iter().map(|&code| low + scale * f32::from(code)).collect();
                    assert_eq!(read, wanted);
                }
                Logits::Top { logits, classes, rest, of: all } => {
                    let (top, from) = (top as usize, row * top as usize);
                    assert_eq!((all, classes.len()), (CLASSES, top));
                    let found: Vec<i32> = classes.iter().map(|&class| class.into()).collect();
                    assert_eq!(found, golden.whole(&of("classes"))[from..from + top], "{name} {row}");
                    let wanted = golden.bytes(&of("logits"));
                    match logits {
                        Stored::F16(found) => assert_eq!(
                            bytes_of(found, |f| f.to_le_bytes().to_vec()),
                            wanted[2 * from..2 * (from + top)]
                        ),
                        Stored::F32(found) => assert_eq!(
                            bytes_of(found, |f| f.to_le_bytes().to_vec()),
                            wanted[4 * from..4 * (from + top)]
                        ),
                    }
                    assert!(near(rest, golden.floats(&of("rest"))[row]), "{name} {row}: {rest}");
                    let mut wanted = vec![rest; CLASSES];
                    for (place, &class) in classes.iter().enumerate() {
                        wanted[usize::from(class)] = logits.get(place);
                    }
                    assert_eq!(read, wanted);
                }
                Logits::Plain(_) => panic!("{name} is not plain"),
            }
        }
        let (kl, turned) = (golden.doubles(&of("kl")), golden.bytes(&of("turned")));
        let nanos: Vec<u64> = kl.iter().map(|kl| (kl * 1e9).round() as u64).collect();
        let lost = manifest.lost.unwrap();
        assert!(lost.nanonats.abs_diff(nanos.iter().sum()) <= rows as u64, "{name}: {lost:?}, {nanos:?}");
        assert!(lost.largest_nanonats.abs_diff(*nanos.iter().max().unwrap()) <= 1, "{name}: {lost:?}");
        assert_eq!(lost.turned, turned.iter().map(|&turned| u64::from(turned)).sum::<u64>(), "{name}");
        let report = verify(dir.path()).unwrap();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((manifest.format_version, set.content_hash()), (3, manifest.content_hash));
        let card = fs::read_to_string(dir.path().join("README.md")).unwrap();
        assert!(card.contains(&lost.text(rows as u64)), "{card}");
    }
}

fn bytes_of<T>(values: &[T], bytes: impl Fn(&T) -> Vec<u8>) -> Vec<u8> {
    values.iter().flat_map(bytes).collect()
}

/// A part is killed with some answers kept and a shard half written; another goes on with it.
#[test]
fn parts_that_die_and_are_begun_again_leave_the_bytes_of_one_writer() {
    for wanted in coded(Form::FULLEST) {
        let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let manifest = write(one.path(), &wanted);
        let coding = wanted.coding();
        for part in [1, 0, 2] {
            let part = Part { index: part, of: 3 };
            for rows in [1, 7, usize::MAX] {
                let mut session = Session::open_part(many.path(), wanted.clone(), part).unwrap();
                for job in session.pending() {
                    let all = logits(&wanted, &job);
                    let mut answers = session.answers(&job).unwrap();
                    let (from, to) = (answers.rows(), rows.min(job.rows.len()));
                    let given = &all[from * coding.given()..to * coding.given()];
                    answers.add(&coding.keep(given).unwrap()).unwrap();
                    if to == job.rows.len() {
                        session.write_kept(&job, &answers).unwrap();
                    }
                }
            }
        }
        assert_eq!(finalize(many.path()).unwrap().id, manifest.id);
        assert_eq!(tree(one.path()), tree(many.path()));
    }
}

/// What is taken over is copied and not coded again: what was lost stays what it was.
#[test]
fn a_row_is_taken_over_as_it_was_kept() {
    for mut wanted in coded(Form::FULLEST) {
        // Logits that three codes or halves do not hold.
        let answer = |row: usize| [0.1 + row as f32 / 7.0, -3.3, row as f32 / 11.0];
        let answers: Vec<f32> = (0..IMAGES * 18).flat_map(answer).collect();
        wanted.features = None;
        let (first, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let manifest = written(first.path(), wanted.clone(), &answers);
        let set = LabelSet::open(first.path(), Check::Hashes).unwrap();
        set.check_reusable(&wanted).unwrap();
        let mut session = Session::open(again.path(), wanted.clone()).unwrap();
        for job in session.pending() {
            let mut kept = session.answers(&job).unwrap();
            let mut row = vec![0.0; wanted.coding().kept()];
            for image in job.images.clone() {
                for view in 0..18 {
                    assert!(set.kept(image, view, &mut row));
                    kept.add(&row).unwrap();
                }
            }
            session.write_kept(&job, &kept).unwrap();
        }
        let found = session.finish().unwrap();
        assert_eq!((found.id, found.lost), (manifest.id, manifest.lost));
        if wanted.dtype == Dtype::U8 {
            assert!(found.lost.unwrap().nanonats > 0);
        }

        // Nothing else is made of it.
        for (dtype, top) in [(Dtype::F16, 0), (Dtype::F32, 0), (Dtype::F32, 2), (Dtype::F16, 1)] {
            let mut other = wanted.clone();
            (other.dtype, other.top_k) = (dtype, NonZeroU32::new(top));
            let error = set.check_reusable(&other).unwrap_err();
            assert!(
                matches!(&error, Error::NotReusable { parameter, .. } if parameter == "stored form"),
                "{error}"
            );
        }
    }
}

#[test]
fn what_cannot_be_coded_names_its_row_and_class() {
    for (dtype, top, value, words) in [
        (Dtype::U8, 0, f32::NAN, "image 1, view 3: class 2 is NaN, wanted a finite number"),
        (
            Dtype::U8,
            0,
            5e37,
            "image 1, view 3: class 2 is 50000000000000000000000000000000000000, beyond what codes",
        ),
        (Dtype::F16, 2, 65520.0, "image 1, view 3: class 2 is 65520, beyond the largest f16"),
        (Dtype::F32, 2, f32::NEG_INFINITY, "image 1, view 3: class 2 is -inf"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(Form::FULLEST, dtype);
        spec.top_k = NonZeroU32::new(top);
        let mut session = Session::open(dir.path(), spec.clone()).unwrap();
        let job = session.pending()[0].clone();
        let mut answers = logits(&spec, &job);
        answers[(18 + 3) * 3 + 2] = value;
        let error = session.write(&job, &answers).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("\nhint: "), "{error}");
    }
}

#[test]
fn a_spec_that_no_label_set_can_have_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (dtype, top, words) in [
        (Dtype::F16, 3, "top_k: wanted 1 to 2, found 3"),
        (Dtype::U8, 2, "top_k: wanted none beside dtype u8, found 2"),
    ] {
        let mut spec = spec(Form::FULLEST, dtype);
        spec.top_k = NonZeroU32::new(top);
        let error = Session::open(dir.path(), spec).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut spec = fixture::mapped(spec(Form::FULLEST, Dtype::F32), Dtype::U8);
    let error = Session::open(dir.path(), spec.clone()).err().unwrap().to_string();
    assert!(error.contains("features.dtype: wanted f16 or f32, found u8"), "{error}");
    // Maps wider than codes may lie beside them.
    spec.dtype = Dtype::U8;
    spec.features = Some(fixture::features(Dtype::F32));
    write(dir.path(), &spec);
    assert!(verify(dir.path()).unwrap().is_sound());
}

/// All equal, or only two values: what there is to keep is kept.
#[test]
fn rows_without_a_scale_are_stored() {
    let coding = |dtype, top| Coding::new(3, dtype, NonZeroU32::new(top), None);
    // Logits, classes and rest; codes, low and scale; then the loss in two halves, and whether the first class is another.
    assert_eq!(*coding(Dtype::F16, 2).keep(&[0.5; 3]).unwrap(), [0.5, 0.5, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0]);
    assert_eq!(*coding(Dtype::U8, 0).keep(&[0.5; 3]).unwrap(), [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(*coding(Dtype::F32, 0).keep(&[0.5; 3]).unwrap(), [0.5; 3]);
    let most = *coding(Dtype::U8, 0).keep(&[-4e37, 4e37, 0.0]).unwrap().last_chunk::<2>().unwrap();
    assert_eq!(most.map(f32::to_bits), [0, 0]);
}

/// Sets that differ in nothing else are told apart by their names for what is stored.
#[test]
fn a_set_is_not_gone_on_with_in_another_form() {
    let [codes, top] = coded(Form::Safetensors);
    let dir = tempfile::tempdir().unwrap();
    drop(Session::open(dir.path(), codes).unwrap());
    let error = Session::open(dir.path(), top.clone()).err().unwrap();
    assert!(matches!(&error, Error::OtherParameters { .. }), "{error}");
    let dir = tempfile::tempdir().unwrap();
    drop(Session::open(dir.path(), top.clone()).unwrap());
    let mut one = top;
    one.top_k = NonZeroU32::new(1);
    let error = Session::open(dir.path(), one).err().unwrap().to_string();
    assert!(error.contains("top_k is 2 there, this run has 1"), "{error}");
}
