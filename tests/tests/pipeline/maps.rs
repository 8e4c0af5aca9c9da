//! DPK's feature maps: out of a label set what the live teacher gives.

use cli::{Exit, Exits};
use engine::Kind;
use engine::params::Precision;
use method::init::initialise;
use zoo::Task;

use crate::{Scene, engines, layers};

#[test]
fn dpk_reads_clean_answers_from_a_label_set_and_feature_maps_from_its_teacher() {
    let scene = Scene::new();
    scene.label("labels", &["--views", "plan:3@3", "--dtype", "f32", "--limit", "150"]);
    let (labels, teacher) = (scene.text("labels"), scene.text("teacher.safetensors"));
    let (dpk, taps) = (("dpk", "2"), ("taps", "bn4.relu,bn2.relu"));
    let both = [("labels", labels.as_str()), ("teacher", &teacher), taps];
    let student = scene.train_adding("both", dpk, &both).unwrap();
    assert_eq!(student, scene.train_adding("asked", dpk, &[("teacher", &teacher), taps]).unwrap());
    assert_ne!(student, scene.online());
    let refused = |name: &str, more: &[(&str, &str)], words: &[&str]| {
        let error = scene.train_adding(name, dpk, more).unwrap_err();
        assert_eq!(error.exit(), Exit::Refused);
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        assert!(!scene.path(name).exists());
    };
    let compares = "rslad with dpk compares the teacher's feature maps at bn4.relu, bn2.relu, and ";
    let ways = ["holds none", "`label run --taps bn4.relu,bn2.relu`", "--teacher WEIGHTS beside it"];
    refused("alone", &[("labels", &labels), taps], &[&[compares][..], &ways].concat());
    let asks = "rslad with dpk asks the teacher for its feature maps, and none was given";
    refused("nobody", &[taps], &[asks, "which `label run --taps` wrote, or --teacher WEIGHTS"]);
    let sat = [("objective", "sat"), ("labels", &labels), ("teacher", &teacher), taps];
    refused("unread", &sat, &["asks the teacher for its feature maps alone", "drop --labels"]);
    refused("where", &[("teacher", &teacher)], &["tiny-cnn has no stages of its own", "--taps"]);
    let [vector, small] = ["linear", "pool"].map(|tap| [("teacher", teacher.as_str()), ("taps", tap)]);
    refused("vector", &vector, &["taps: module `linear` of tiny-cnn gives 10 features and no map"]);
    refused("pooled", &small, &["gives 32 features and no map"]);
    let error = scene.train("plain", &[("teacher", &teacher), taps]).unwrap_err().to_string();
    assert!(error.contains("rslad compares no feature maps") && error.contains("drop --taps"), "{error}");
}

/// A set of feature maps in the teacher's own bits, at the modules of [`MAPS`].
fn exact_maps<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let flags =
        ["--views", "plan:2@3", "--dtype", "f32", "--taps", MAPS, "--tap-dtype", "f32", "--limit", "60"];
    flags.into_iter().chain(more.iter().copied()).collect()
}

const MAPS: &str = "bn4.relu,bn3.relu,bn2.relu";
const DPK: (&str, &str) = ("dpk", "2");
const TAPS: (&str, &str) = ("taps", "bn4.relu,bn2.relu");
/// Few images and two epochs: the heads are most of a step.
const FEW: [(&str, &str); 3] = [("limit", "60"), ("holdout", "10"), ("epochs", "2")];

#[test]
fn maps_of_a_label_set_give_dpk_the_student_of_the_live_teacher_byte_for_byte() {
    for (engine, _gpu) in engines() {
        let scene = Scene::on(engine);
        let teacher = scene.text("teacher.safetensors");
        let trained = |name: &str, given: (&str, &str), more: &[(&str, &str)]| {
            scene.train_adding(name, DPK, &[&FEW[..], &[given, TAPS], more].concat()).unwrap()
        };
        let live = trained("live", ("teacher", &teacher), &[]);
        let formats = ["safetensors", "parquet"];
        let is_usual = engine == Kind::default();
        for format in &formats[..if is_usual { 2 } else { 1 }] {
            scene.label(format, &exact_maps(&["--format", format]));
            let labels = scene.text(format);
            let cached = trained(&format!("cached-{format}"), ("labels", &labels), &[]);
            assert!(cached == live, "{engine}, {format}");
        }
        if !is_usual {
            continue;
        }
        let without = scene.train("without", &[&FEW[..], &[("teacher", &teacher)]].concat()).unwrap();
        assert!(live != without, "the maps teach something");
        let labels = scene.text("safetensors");
        // Maps alone; and another module of the three, in another place, compared with another of the student.
        let apart = ("teacher-taps", "bn2.relu,bn3.relu");
        for (name, more) in [("sat", vec![("objective", "sat")]), ("apart", vec![apart])] {
            let [cached, live] = [("labels", &labels), ("teacher", &teacher)]
                .map(|(key, value)| trained(&format!("{name}-{key}"), (key, value), &more));
            assert!(cached == live, "{engine}, {name}");
        }
    }
}

#[test]
fn the_last_stages_of_a_teacher_that_is_known_are_found_in_its_label_set() {
    let scene = Scene::new();
    let (row, network) = zoo::build("resnet8", Task { input: [1, 28, 28], classes: 10 }).unwrap();
    let params = initialise(&network, row.init, 7, Precision::F32);
    zoo::save(&scene.path("teacher.safetensors"), &network, &params).unwrap();
    let small = ["--views", "plan:1@3", "--dtype", "f32", "--tap-dtype", "f32", "--limit", "40"];
    scene.label("stages", &[&small[..], &["--taps", "layer1,layer2,layer3"]].concat());
    scene.label("other", &[&small[..], &["--taps", "layer3"]].concat());
    let run =
        [("student", "resnet8"), ("objective", "kd"), ("epochs", "1"), ("limit", "40"), ("holdout", "8")];
    let trained = |name: &str, key: &str, value: &str| {
        scene.train_adding(name, DPK, &[&run[..], &[(key, value)]].concat())
    };
    let cached = trained("cached", "labels", &scene.text("stages")).unwrap();
    assert!(cached == trained("live", "teacher", &scene.text("teacher.safetensors")).unwrap());
    let text = trained("refused", "labels", &scene.text("other")).unwrap_err().to_string();
    let words =
        ["at layer3, layer2, and ", "holds those of layer3 64x7x7", "name them with --taps", "label again"];
    assert!(words.iter().all(|word| text.contains(word)) && text.lines().count() == 2, "{text}");
}

#[test]
fn igdm_beside_dpk_asks_its_teacher_about_the_attacks_images_alone_where_a_label_set_holds_the_maps() {
    let scene = Scene::new();
    scene.label("labels", &exact_maps(&[]));
    let (labels, teacher) = (scene.text("labels"), scene.text("teacher.safetensors"));
    let trained = |name: &str, given: &[(&str, &str)]| {
        let mut layers = layers(&[&FEW[..], &[TAPS], given].concat());
        for set in ["igdm=2", "dpk=2"] {
            layers.set(set).unwrap();
        }
        scene.run(name, &layers.resolve().unwrap()).unwrap()
    };
    let both = trained("both", &[("labels", &labels), ("teacher", &teacher)]);
    assert!(both == trained("live", &[("teacher", &teacher)]));
}

#[test]
fn a_label_set_whose_maps_do_not_fit_is_refused_with_a_way_out_and_one_that_suffices_needs_no_teacher() {
    let scene = Scene::new();
    scene.label("labels", &exact_maps(&[]));
    let (labels, teacher) = (scene.text("labels"), scene.text("teacher.safetensors"));
    let refused = |more: &[(&str, &str)], words: &[&str]| {
        let error = scene.train_adding("refused", DPK, &[&FEW[..], more].concat()).unwrap_err();
        assert_eq!(error.exit(), Exit::Refused);
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)) && text.lines().count() == 2, "{text}");
        assert!(!scene.path("refused").exists());
    };
    let labels = ("labels", labels.as_str());
    let held = "holds those of bn4.relu 64x4x4, bn3.relu 64x7x7, bn2.relu 32x7x7";
    refused(&[labels, ("taps", "bn1.relu")], &["at bn1.relu", held, "`label run --taps bn1.relu`"]);
    refused(&[labels], &[held, "name them with --taps and --teacher-taps"]);
    refused(
        &[labels, TAPS, ("teacher-taps", "bn4.relu")],
        &["2 modules of the student and 1 of the teacher"],
    );
    refused(&[labels, ("taps", "bn4.relu,bn4.relu")], &["compares the same two maps twice"]);
    let both = [labels, ("teacher", teacher.as_str()), TAPS];
    refused(&both, &["both labels and teacher were given", "whose maps the label set holds"]);
    // A teacher at hand gives what the set does not hold.
    let first = [labels, ("teacher", teacher.as_str()), ("taps", "bn1.relu")];
    scene.train_adding("beside", DPK, &[&FEW[..], &first].concat()).unwrap();

    let shards = std::fs::read_dir(scene.path("labels/shards")).unwrap();
    let shard = shards.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&shard, bytes).unwrap();
    let error =
        scene.train_adding("refused", DPK, &[&FEW[..], &[labels, TAPS]].concat()).unwrap_err().to_string();
    assert!(error.contains("BLAKE3") && !scene.path("refused").exists(), "{error}");
}

#[test]
fn f16_maps_change_the_student_and_not_by_much() {
    let scene = Scene::new();
    scene.label("exact", &exact_maps(&[]));
    let halves = ["--views", "plan:2@3", "--dtype", "f32", "--taps", MAPS, "--limit", "60"];
    scene.label("halves", &halves);
    let trained = |set: &str| {
        let labels = scene.text(set);
        let more = [&FEW[..], &[("labels", &labels), TAPS]].concat();
        scene.train_adding(&format!("of-{set}"), DPK, &more).unwrap();
        let task = Task { input: [1, 28, 28], classes: 10 };
        let student = scene.path(&format!("of-{set}/student.safetensors"));
        let params = zoo::load(&student, None, task, Precision::F32).unwrap().params;
        params.trainable().to_f64(0..params.trainable().len())
    };
    let (exact, rounded) = (trained("exact"), trained("halves"));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let apart = norm(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
    // Half precision has 11 bits, 5e-4, as for logits above.
    assert!(apart > 0.0 && apart < 5e-3, "{apart}");
}
