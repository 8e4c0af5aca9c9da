//! `label plan` and `label import`: the way of a teacher that runs elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use labels::{Check, LabelSet};

use crate::fixture::{Label, Place, inspect, label, tree};

const ROWS: usize = 9 * 25;

fn plan(data: &str, out: &Path) -> Label {
    let plan = label().args(["plan", "--data", data, "--limit", "9", "--augment", "crop2", "--views", "all"]);
    plan.arg("--out").arg(out)
}

fn import(rows: &Path, logits: &Path, out: &Path) -> Label {
    let import =
        label().args(["import", "--data", "sample", "--teacher-name", "elsewhere", "--rows"]).arg(rows);
    import.arg("--logits").arg(logits).arg("--out").arg(out).args(["--dtype", "f32", "--shard-images", "8"])
}

/// A .npy file as NumPy writes it.
fn npy(path: &Path, kind: &str, fortran: bool, shape: [usize; 2], data: &[u8]) {
    let order = if fortran { "True" } else { "False" };
    let header =
        format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({}, {}), }}", shape[0], shape[1]);
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = padded - 1).bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

/// Logits of the place's teacher on the nine images, by `label run`.
fn answers(place: &Place) -> (PathBuf, Vec<f32>) {
    let out = place.path("run");
    place.run(&out, 9).args(["--dtype", "f32"]).succeeds();
    let set = LabelSet::open(&out, Check::Hashes).unwrap();
    let logits = set.rows().flat_map(|row| row.logits.to_vec()).collect();
    (out, logits)
}

fn bytes(logits: &[f32]) -> Vec<u8> {
    logits.iter().flat_map(|logit| logit.to_le_bytes()).collect()
}

#[test]
fn answers_from_elsewhere_make_the_same_rows() {
    let place = Place::new();
    let (run, logits) = answers(&place);
    let (rows, file) = (place.path("rows.parquet"), place.path("logits.npy"));
    plan("sample", &rows).succeeds();
    let wide: Vec<u8> = logits.iter().flat_map(|&logit| f64::from(logit).to_le_bytes()).collect();
    for (kind, data) in [("<f4", bytes(&logits)), ("<f8", wide)] {
        npy(&file, kind, false, [ROWS, 10], &data);
        let out = place.path(&kind[1..]);
        import(&rows, &file, &out).succeeds();
        assert_eq!(inspect(&out)["content_hash"], inspect(&run)["content_hash"], "{kind}");
        label().arg("verify").arg(&out).succeeds();
    }
    let halves: Vec<u8> = logits.iter().flat_map(|&logit| f16::from_f32(logit).to_le_bytes()).collect();
    npy(&file, "<f2", false, [ROWS, 10], &halves);
    let out = place.path("f2");
    import(&rows, &file, &out).args(["--origin", "a cluster", "--license", "MIT"]).succeeds();
    let set = LabelSet::open(&out, Check::Hashes).unwrap();
    for (row, logits) in set.rows().zip(logits.chunks(10)) {
        let rounded: Vec<f32> = logits.iter().map(|&logit| f16::from_f32(logit).to_f32()).collect();
        assert_eq!(row.logits.to_vec(), rounded);
    }
    let json = inspect(&out);
    assert_eq!(
        (&json["teacher"]["architecture"], &json["teacher"]["precision"]),
        (&"elsewhere".into(), &"f16".into())
    );
    assert_eq!((&json["teacher"]["origin"], &json["license"]), (&"a cluster".into(), &"MIT".into()));
    let digest = blake3::hash(&fs::read(&file).unwrap()).to_hex().to_string();
    assert!(json["teacher"]["engine"].as_str().unwrap().contains(&digest), "{json}");
    assert!(json["teacher"]["weights_blake3"].is_null());
}

#[test]
fn recompute_accepts_answers_within_the_tolerance_and_names_those_beyond() {
    let place = Place::new();
    let (_, mut logits) = answers(&place);
    let (rows, file) = (place.path("rows.parquet"), place.path("logits.npy"));
    plan("sample", &rows).succeeds();
    let mut verify = |change: f32, name: &str| {
        logits[73] += change;
        npy(&file, "<f4", false, [ROWS, 10], &bytes(&logits));
        let out = place.path(name);
        import(&rows, &file, &out).arg("--teacher-weights").arg(place.teacher()).succeeds();
        let verify =
            label().arg("verify").arg(&out).args(["--recompute", "225", "--data", "sample", "--teacher"]);
        verify.arg(place.teacher()).args(["--arch", "tiny-cnn"])
    };
    let near = verify(1e-6, "near").succeeds();
    assert!(near.contains("224 with equal bits, 1 within the tolerance, 0 beyond"), "{near}");
    verify(1.0, "far").fails(1, &["1 of 225 recomputed rows", "image 0, view 7: logit 3 is", "hint:"]);
}

#[test]
fn equal_plans_are_equal_files_and_others_are_not_replaced() {
    let place = Place::new();
    let rows = place.path("rows.parquet");
    plan("sample", &rows).succeeds();
    let first = fs::read(&rows).unwrap();
    plan("sample", &rows).succeeds();
    assert_eq!(fs::read(&rows).unwrap(), first);
    plan("sample", &rows).args(["--split", "test"]).fails(2, &["rows.parquet", "hint: choose another --out"]);
    assert_eq!(fs::read(&rows).unwrap(), first);
    assert_eq!(tree(place.path("").as_path()).len(), 2, "the rows and the teacher, no partial file");
}

#[test]
fn logits_that_do_not_fit_are_refused_before_anything_is_written() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    let good = vec![0.25f32; ROWS * 10];
    let refused = |texts: &[&str]| {
        import(&rows, &file, &out).fails(2, texts);
        assert!(!out.exists());
    };
    refused(&["logits.npy", "hint: check the path"]);
    fs::write(&file, "0.25, 0.5").unwrap();
    refused(&["that of a .npy file", "hint: save it with numpy.save"]);
    npy(&file, "<f4", false, [ROWS, 7], &bytes(&good[..ROWS * 7]));
    refused(&["[225, 7]", "[225, 10]"]);
    npy(&file, "<f4", true, [ROWS, 10], &bytes(&good));
    refused(&["Fortran", "ascontiguousarray"]);
    npy(&file, "<i4", false, [ROWS, 10], &bytes(&good));
    refused(&["<i4", "f2, f4 or f8"]);
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&good[..ROWS * 5]));
    refused(&["length in bytes", "cut short"]);
    let mut bad = good.clone();
    bad[10 * 30 + 4] = f32::INFINITY;
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&bad));
    refused(&["image 1, view 5: class 4 is inf"]);
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&good));
    import(&rows, &file, &out).succeeds();
}

#[test]
fn probabilities_are_no_logits_and_their_logarithms_are() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    // numpy.exp(l) / numpy.exp(l).sum() for l = 0..9.
    let sum: f32 = (0..10u8).map(|l| f32::from(l).exp()).sum();
    let row: Vec<f32> = (0..10u8).map(|l| f32::from(l).exp() / sum).collect();
    let softmax: Vec<f32> = row.iter().copied().cycle().take(ROWS * 10).collect();
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&softmax));
    import(&rows, &file, &out).fails(2, &["probabilities, not logits", "hint: save what the network gives"]);
    let halves: Vec<u8> = softmax.iter().flat_map(|&p| f16::from_f32(p).to_le_bytes()).collect();
    npy(&file, "<f2", false, [ROWS, 10], &halves);
    import(&rows, &file, &out).fails(2, &["probabilities, not logits"]);
    assert!(!out.exists());
    let logarithms: Vec<f32> = softmax.iter().map(|p| p.ln()).collect();
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&logarithms));
    import(&rows, &file, &out).succeeds();
}

#[test]
fn what_a_foreign_teacher_normalised_with_is_recorded_or_unknown() {
    let place = Place::new();
    let (rows, file) = (place.path("rows.parquet"), place.path("logits.npy"));
    plan("sample", &rows).succeeds();
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&[0.25; ROWS * 10]));
    for (flags, said, mean, card) in [
        (&[][..], Some("unknown"), &[][..], "| teacher's normalisation | unknown |"),
        (&["--normalize", "none"], None, &[], "| teacher's normalisation | none |"),
        (
            &["--mean", "0.5", "--std", "0.25"],
            None,
            &["0.5"],
            "| teacher's normalisation | mean 0.5, std 0.25 |",
        ),
    ] {
        let out = place.path(&format!("labels{}", flags.concat()));
        import(&rows, &file, &out).args(flags).succeeds();
        let teacher = &inspect(&out)["teacher"];
        assert_eq!(teacher["normalisation"].as_str(), said);
        assert_eq!(teacher["mean"], serde_json::json!(mean));
        let text = fs::read_to_string(out.join("README.md")).unwrap();
        assert!(text.contains(card), "{text}");
        label().arg("verify").arg(&out).succeeds();
    }
    let out = place.path("refused");
    import(&rows, &file, &out).args(["--normalize", "cifar"]).fails(2, &["unknown normalisation `cifar`"]);
    assert!(!out.exists());
}

#[test]
fn rows_that_do_not_belong_to_the_dataset_are_refused() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&[0.25; ROWS * 10]));
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/samples/test.parquet");
    fs::create_dir(place.path("other")).unwrap();
    fs::copy(&samples, place.path("other/train.parquet")).unwrap();
    let data = format!("parquet:{}", place.path("other").display());
    plan(&data, &rows).succeeds();
    import(&rows, &file, &out).fails(2, &["rows.parquet: dataset_hash of the rows is", "wanted"]);
    import(&samples, &file, &out)
        .fails(2, &["test.parquet: rslad-rows", "hint: pass a file of `label plan`"]);
    import(&file, &file, &out).fails(2, &["logits.npy", "a Parquet file"]);
    assert!(!out.exists());
}

#[test]
fn other_answers_do_not_go_on_in_the_folder() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&[0.25; ROWS * 10]));
    import(&rows, &file, &out).succeeds();
    let before = tree(&out);
    let again = import(&rows, &file, &out).ends();
    assert!(again.stderr.contains("already complete"), "{}", again.stderr);
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&[0.5; ROWS * 10]));
    import(&rows, &file, &out).fails(2, &["teacher.engine is"]);
    assert!(tree(&out) == before);
}

#[test]
fn the_same_images_under_another_name_are_the_same_dataset() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/samples");
    plan(&format!("parquet:{}", samples.display()), &rows).succeeds();
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&[0.25; ROWS * 10]));
    import(&rows, &file, &out).succeeds();
}
