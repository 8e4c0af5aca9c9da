//! `label inspect A B ..`: what is said of label sets beside each other, and when they are no pair.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixture::{DIGITS, Label, Place, label, save_teacher};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

/// Label sets of the answers that `tests/golden/make_comparison.py` drew: `b` holds nine views, the others one.
fn sets(place: &Place) -> [PathBuf; 3] {
    [("a", "none"), ("b", "crop1"), ("c", "none")].map(|(name, augment)| {
        let [rows, out] = [format!("{name}.parquet"), format!("labels-{name}")].map(|name| place.path(&name));
        let data = ["--data", "sample", "--split", "test", "--limit", "40"];
        label()
            .arg("plan")
            .args(data)
            .args(["--augment", augment, "--views", "all", "--out"])
            .arg(&rows)
            .succeeds();
        let import =
            label().arg("import").args(&data[..2]).args(["--teacher-name", name, "--rows"]).arg(&rows);
        let import = import.arg("--logits").arg(file(&format!("comparison-{name}.npy")));
        import.args(["--dtype", "f32", "--out"]).arg(&out).succeeds();
        out
    })
}

fn compare(sets: &[PathBuf]) -> Label {
    label().arg("inspect").args(sets)
}

/// Every number of `wanted` is in `found`, to this share of itself.
fn agrees(found: &Value, wanted: &Value, tolerance: f64, at: &str) {
    match wanted {
        Value::Object(fields) => {
            for (key, value) in fields {
                agrees(&found[key], value, tolerance, &format!("{at}.{key}"));
            }
        }
        Value::Array(parts) => {
            assert_eq!(found.as_array().map(Vec::len), Some(parts.len()), "{at}");
            for (place, value) in parts.iter().enumerate() {
                agrees(&found[place], value, tolerance, &format!("{at}[{place}]"));
            }
        }
        value => {
            let [found, wanted] = [found, value].map(|value| value.as_f64().unwrap_or(f64::NAN));
            assert!(
                (found - wanted).abs() <= tolerance * wanted.abs().max(1.0),
                "{at}: {found}, wanted {wanted}"
            );
        }
    }
}

/// The values are those of scikit-learn, `SciPy` and torchmetrics, and of the student those of PyTorch in float64; ours runs in f32.
#[test]
fn what_is_said_of_label_sets_is_what_others_make_of_the_same_logits() {
    let place = Place::new();
    let sets = sets(&place);
    let student = |label: Label| label.args(["--data", "sample", "--student"]).arg(file("foreign.pt"));
    let found: Value = serde_json::from_str(&student(compare(&sets)).arg("--json").succeeds()).unwrap();
    let wanted: Value = serde_json::from_slice(&fs::read(file("comparison.json")).unwrap()).unwrap();
    assert_eq!((&found["rows"], &found["clean_rows"]), (&40.into(), &40.into()), "one view of b is theirs");
    assert_eq!(found["pairs"][1]["sets"], serde_json::json!([0, 2]));
    for part in ["sets", "pairs"] {
        // torchmetrics computes calibration in f32.
        agrees(&found[part], &wanted[part], 1e-6, part);
    }
    agrees(&found["student"], &wanted["student"], 1e-4, "student");

    let text = student(compare(&sets)).succeeds();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for said in [
        "compared on the 40 rows that all sets hold, 40 of them untouched images",
        "B C ",
        "KL(teacher || student)",
    ] {
        assert!(text.contains(said), "wanted `{said}` in:\n{text}");
    }
}

#[test]
fn a_set_beside_itself_agrees_wholly_and_what_is_hard_is_what_it_gets_wrong() {
    let place = Place::new();
    let [_, b, _] = sets(&place);
    let found: Value = serde_json::from_str(&compare(&[b.clone(), b]).arg("--json").succeeds()).unwrap();
    assert_eq!((&found["rows"], &found["clean_rows"]), (&360.into(), &40.into()));
    let pair = &found["pairs"][0];
    assert_eq!(
        (&pair["agreement"], &pair["kl"], &pair["kl_back"]),
        (&100.0.into(), &0.0.into(), &0.0.into())
    );
    let side = &found["sets"][0];
    let wrong = side["rows"].as_f64().unwrap() * (1.0 - side["accuracy"].as_f64().unwrap() / 100.0);
    assert!(
        (side["hard_rows"].as_f64().unwrap() - wrong).abs() < 1e-6,
        "hard is what the other one gets wrong"
    );
}

#[test]
fn the_picture_is_one_file_with_a_bar_for_each_figure_and_writes_over_nothing_else() {
    let place = Place::new();
    let sets = sets(&place);
    let file = place.path("picture.svg");
    let draw = || compare(&sets).arg("--json").arg("--picture").arg(&file);
    let found: Value = serde_json::from_str(&draw().succeeds()).unwrap();
    let svg = fs::read_to_string(&file).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    assert!(!svg.contains("href") && svg.contains("prefers-color-scheme:dark"), "it needs nothing else");
    // 150 units are 100 %: 72.5 % are 108.75, to a tenth.
    for (side, fill) in found["sets"].as_array().unwrap().iter().zip(["#0072b2", "#e69f00", "#009e73"]) {
        let accuracy = side["accuracy"].as_f64().unwrap();
        let bar = format!("width=\"{:.1}\" height=\"13\" fill=\"{fill}\"", 1.5 * accuracy);
        assert!(svg.contains(&bar), "wanted `{bar}` in:\n{svg}");
    }
    for pair in found["pairs"].as_array().unwrap() {
        let said = format!(">{:.2}</text>", pair["kl_back"].as_f64().unwrap());
        assert!(svg.contains(&said), "wanted `{said}` in:\n{svg}");
    }
    assert!(svg.contains("KL(row || column)") && svg.contains("not measured"), "{svg}");
    draw().succeeds();
    fs::write(&file, "my thesis").unwrap();
    draw().fails(2, &["picture.svg: a file is there that is no picture", "hint:"]);
    assert_eq!(fs::read(&file).unwrap(), b"my thesis");
}

#[test]
fn sets_of_other_images_are_refused_with_what_differs() {
    let place = Place::new();
    let [a, _, _] = sets(&place);
    let run = |name: &str, more: &[&str]| {
        let out = place.path(name);
        let run =
            label().args(["run", "--data", "sample", "--views", "all", "--teacher"]).arg(place.teacher());
        run.args(more).arg("--out").arg(&out).succeeds();
        out
    };
    let train = run("train", &["--limit", "40"]);
    let fewer = run("fewer", &["--split", "test", "--limit", "39"]);
    let with = |other: PathBuf| compare(&[a.clone(), other]);
    with(train).fails(
        2,
        &["image 0 of sample", "(test) is another than image 0 of", "(train)", "hint: label the same images"],
    );
    with(fewer).fails(2, &["labels-a and", "they hold 40 and 39 images", "hint: label the same images"]);
    let picks = ["random:1@0", "random:1@7"].map(|views| {
        let out = place.path(views);
        let run = label().args(["run", "--data", "sample", "--limit", "1", "--views", views, "--teacher"]);
        run.arg(place.teacher()).arg("--out").arg(&out).succeeds();
        out
    });
    compare(&picks).fails(2, &["hold no row in common", "hint: label with the same --views"]);
}

#[test]
fn a_student_that_does_not_fit_is_refused() {
    let place = Place::new();
    let [a, b, _] = sets(&place);
    compare(std::slice::from_ref(&a)).args(["--student", "x.safetensors"]).fails(2, &["--data"]);
    compare(&[a.clone(), b.clone()]).args(["--arch", "tiny-cnn"]).fails(2, &["--arch", "add --student FILE"]);
    let colour = zoo::Task { input: [3, 32, 32], ..DIGITS };
    let weights = place.path("colour.safetensors");
    save_teacher(&weights, colour, 1, |value| value);
    let beside = |set: &Path| label().arg("inspect").arg(set).args(["--data", "sample", "--student"]);
    beside(&a).arg(&weights).fails(2, &["3x32x32", "1x28x28"]);
    let alone = beside(&a).arg(file("foreign.pt")).succeeds();
    assert!(alone.contains("of the 40 untouched images") && !alone.contains("agree %  KL(first"), "{alone}");
}
