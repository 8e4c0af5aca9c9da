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

/// Logits of the place's teacher are small and of both signs; ten times them are like those of a trained one.
#[test]
fn what_a_sigmoid_gives_is_refused_with_two_ways_on_and_a_tanh_is_doubted() {
    let place = Place::new();
    let (_, logits) = answers(&place);
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    let largest = logits.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
    let write = |function: &dyn Fn(f64) -> f64| {
        let squashed: Vec<f32> =
            logits.iter().map(|&logit| function(f64::from(logit * 6.0 / largest)) as f32).collect();
        npy(&file, "<f4", false, [ROWS, 10], &bytes(&squashed));
    };
    let sigmoid = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    write(&sigmoid);
    let refused = import(&rows, &file, &out)
        .fails(2, &["logits.npy: all 225 rows lie between 0.", "a sigmoid", "log(p / (1 - p))"]);
    assert_eq!(refused.stderr.lines().count(), 2, "{}", refused.stderr);
    write(&|logit| (100.0 * sigmoid(logit)).round());
    import(&rows, &file, &out).fails(2, &["p in percent / 100"]);
    assert!(!out.exists());
    // The first way on: the sigmoid's inverse. The second, for logits that lie there: a row's mean changes no softmax.
    write(&|logit| (sigmoid(logit) / (1.0 - sigmoid(logit))).ln());
    let ended = import(&rows, &file, &place.path("logarithms")).ends();
    assert!(ended.code == Some(0) && !ended.stderr.contains("rows lie"), "{}", ended.stderr);
    write(&|logit| sigmoid(logit) - 0.5);
    import(&rows, &file, &place.path("centred")).succeeds();
    write(&f64::tanh);
    let ended = import(&rows, &file, &place.path("tanh")).ends();
    // exp(2) / (exp(2) + 9) = 0.4509.
    let said = ended.stderr.contains("warning") && ended.stderr.contains("never surer than 45 %");
    assert!(ended.code == Some(0) && said, "{}", ended.stderr);
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

/// Where the array of a .npy file begins, and its head.
fn head_of(file: &[u8]) -> (usize, &str) {
    let start = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    (start, std::str::from_utf8(&file[10..start]).unwrap())
}

#[test]
fn the_images_that_a_plan_writes_are_those_that_label_reads() {
    let place = Place::new();
    let (rows, images) = (place.path("rows.parquet"), place.path("images.npy"));
    plan("sample", &rows).arg("--images").arg(&images).succeeds();
    let file = fs::read(&images).unwrap();
    let (start, head) = head_of(&file);
    assert!(head.contains("'descr': '|u1'") && head.contains("'shape': (9, 28, 28, 1)"), "{head}");
    let sample = data::DatasetSpec::sample().load(data::Split::Train).unwrap().limit(9);
    assert_eq!(&file[start..], sample.images());
    let alone = place.path("alone.parquet");
    plan("sample", &alone).succeeds();
    assert_eq!(fs::read(&rows).unwrap(), fs::read(&alone).unwrap(), "the rows are the same without images");
    plan("sample", &rows).arg("--images").arg(&images).succeeds();
    fs::write(&images, "mine").unwrap();
    let hint = "hint: choose another --images";
    plan("sample", &rows).arg("--images").arg(&images).fails(2, &["images.npy", hint]);
    assert_eq!(fs::read(&images).unwrap(), b"mine");
}

/// Two processes with different plans, each time at once: one of them wins, whole, and the other says so.
#[test]
fn two_plans_at_once_leave_one_of_them() {
    let place = Place::new();
    let whole = [1, 2].map(|seed| {
        let path = place.path(&format!("{seed}.parquet"));
        planned(seed, &path).succeeds();
        fs::read(path).unwrap()
    });
    for round in 0..12 {
        let rows = place.path(&format!("race{round}.parquet"));
        let racers = [1, 2].map(|seed| planned(seed, &rows).start());
        let codes = racers.map(|racer| racer.wait_with_output().unwrap().status.code());
        let won = fs::read(&rows).unwrap();
        let winner = whole.iter().position(|plan| *plan == won).expect("one of the two, whole");
        assert_eq!((codes[winner], codes[1 - winner]), (Some(0), Some(2)), "round {round}");
    }
    let left =
        tree(place.path("").as_path()).into_keys().filter(|path| path.to_string_lossy().contains("partial"));
    assert_eq!(left.count(), 0);
}

fn planned(seed: u32, out: &Path) -> Label {
    let views = format!("random:3@{seed}");
    label().args(["plan", "--data", "sample", "--limit", "2000", "--views", &views, "--out"]).arg(out)
}

#[test]
fn a_file_that_lacks_its_last_bytes_says_how_many_there_are() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    npy(&file, "<f4", false, [ROWS, 10], &bytes(&vec![0.25; ROWS * 10]));
    let whole = fs::read(&file).unwrap();
    for short in [1, 7, ROWS * 40] {
        fs::write(&file, &whole[..whole.len() - short]).unwrap();
        let wanted = format!("length in bytes is {}, wanted {}", whole.len() - short, whole.len());
        import(&rows, &file, &out).fails(2, &["logits.npy", &wanted, "cut short"]);
    }
}

/// A .npy file with a comment behind its dictionary, as `tools/label_with_pytorch.py` writes it.
fn said(path: &Path, comment: &str, data: &[u8]) {
    let text = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({ROWS}, 10), }}  # rslad-answers {comment}\n"
    );
    let head = [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    fs::write(path, [&head, data].concat()).unwrap();
}

#[test]
fn what_answers_say_of_themselves_is_recorded_and_their_plan_is_held_against_the_rows() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    let answers = bytes(&[0.25; ROWS * 10]);
    said(
        &file,
        r#"{"precision": "tf32", "device": "cuda (A)", "plan": {"split": "test", "rows": 225}}"#,
        &answers,
    );
    import(&rows, &file, &out)
        .fails(2, &["logits.npy: split of the answered plan is \"test\", wanted \"train\""]);
    assert!(!out.exists());
    said(
        &file,
        r#"{"precision": "tf32", "device": "cuda (A)", "plan": {"dataset": "x", "split": "train"}}"#,
        &answers,
    );
    import(&rows, &file, &out).succeeds();
    let teacher = &inspect(&out)["teacher"];
    assert_eq!((&teacher["precision"], &teacher["device"]), (&"tf32".into(), &"cuda (A)".into()));
}

#[test]
fn files_of_another_form_are_called_by_name() {
    let place = Place::new();
    let (rows, file, out) = (place.path("rows.parquet"), place.path("logits.npy"), place.path("labels"));
    plan("sample", &rows).succeeds();
    fs::write(&file, b"PK\x03\x04 and so on").unwrap();
    import(&rows, &file, &out).fails(2, &["logits.npy", "a zip archive (.npz, .pt or .zip)"]);
    import(&file, &file, &out)
        .fails(2, &["logits.npy", "a zip archive", "hint: pass a file of `label plan`"]);
    npy(&file, "|O", false, [ROWS, 10], &[0; 8]);
    import(&rows, &file, &out).fails(2, &["'|O'", "f2, f4 or f8"]);
}
