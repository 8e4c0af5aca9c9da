//! Images as people have them, a folder a class and in many sizes, through both stages and the evaluation, by the
//! commands' own command lines.

use std::fs;
use std::path::Path;

use clap::Parser;
use engine::params::Precision;
use method::init::initialise;
use stage1_label::verb::Label;
use stage2_distill::verb::Distill;
use zoo::Task;

const CLASSES: usize = 43;

/// A binary PPM of one colour, from the format's specification.
fn picture(path: &Path, height: usize, width: usize, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels = colour.repeat(height * width);
    fs::write(path, [format!("P6\n{width} {height}\n255\n").into_bytes(), pixels].concat()).unwrap();
}

fn label(words: &[&str]) {
    let label = Label::try_parse_from([&["label"], words].concat()).unwrap();
    label.verb.run(label.machine).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

fn distill(words: &[&str]) {
    let distill = Distill::try_parse_from([&["distill"], words].concat()).unwrap();
    distill.verb.run(distill.machine).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// A square of one colour stays that colour in any size, so label set and record say what images the student saw.
#[test]
fn a_folder_of_43_classes_in_mixed_sizes_goes_through_label_train_and_eval() {
    let home = tempfile::tempdir().unwrap();
    let text = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    for class in 0..CLASSES {
        for (part, images) in [("train", 3), ("test", 1)] {
            for image in 0..images {
                let path = home.path().join(format!("signs/{part}/{class:05}/{image}.ppm"));
                picture(&path, 9 + class + image, 20 - class % 7, [5 * class as u8, 40, 90 + image as u8]);
            }
        }
    }
    let (network_row, network) =
        zoo::build("resnet8", Task { input: [3, 16, 16], classes: CLASSES }).unwrap();
    let params = initialise(&network, network_row.init, 7, Precision::F32);
    zoo::save(&home.path().join("teacher.safetensors"), &network, &params).unwrap();
    let (teacher, labels, run, report) =
        (text("teacher.safetensors"), text("labels"), text("run"), text("report.json"));
    let (plain, sized) =
        (format!("imagefolder:{}", text("signs")), format!("imagefolder:{}@16", text("signs")));

    label(&["run", "--teacher", &teacher, "--data", &sized, "--views", "all", "--out", &labels]);
    let manifest = fs::read_to_string(home.path().join("labels/manifest.json")).unwrap();
    assert!(manifest.contains("\"imagefolder@16\""), "{}", &manifest[..manifest.len().min(900)]);
    label(&["verify", &labels, "--recompute", "9", "--teacher", &teacher, "--data", &plain, "--size", "16"]);
    let train =
        ["train", "--student", "resnet8", "--objective", "rslad", "--labels", &labels, "--epochs", "1"];
    let more =
        ["--data", &plain, "--size", "16", "--steps", "1", "--batch", "64", "--holdout", "0", "--out", &run];
    distill(&[&train[..], &more[..]].concat());
    let config = fs::read_to_string(home.path().join("run/config.toml")).unwrap();
    assert!(config.contains(&format!("data = \"{sized}\"")) && !config.contains("size = 16"), "{config}");
    // The run's data, with its size, is what is judged.
    distill(&["eval", &run, "--attack", "clean,fgsm", "--json", &report]);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["images"], CLASSES);
    assert_eq!(report["data"], sized.as_str());
}
