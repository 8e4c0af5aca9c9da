//! What is typed: settings, specifications, numbers, whole command lines. The first byte chooses the grammar.
#![no_main]

use std::ffi::OsString;

use data::{DatasetSpec, Split};
use labels::{Augment, Dtype, Form, Part, Views};
use libfuzzer_sys::fuzz_target;
use method::attack;
use method::schedule::Milestones;
use method::threat::{Fraction, Norm, Threat};
use method::view::ViewPlan;
use share::Location;
use stage1_label::verb::Label;
use stage2_distill::config::Layers;
use stage2_distill::verb::Distill;
use zoo::{Inputs, Task};

const GRAMMARS: [fn(&str); 10] = [
    settings,
    settings_file,
    views,
    attacks,
    numbers,
    data_sets,
    small_words,
    normalisation,
    architectures,
    command_lines,
];

fuzz_target!(|input: &[u8]| {
    let Some((&grammar, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    GRAMMARS[usize::from(grammar) % GRAMMARS.len()](text);
});

fn resolved(layers: Layers) {
    let Ok(config) = layers.resolve() else { return };
    let _ = (config.objective(), config.named_objective(), config.schedule(), config.step_size());
    let text = toml::to_string(&config).expect("what was taken can be recorded");
    // What a run records is what `distill train --config` reads.
    let path = fuzz::scratch().join("config.toml");
    fuzz::put(&path, text.as_bytes());
    let mut again = Layers::defaults();
    again.file(&path).expect("a record is read back");
    assert_eq!(again.resolve().expect("a record is whole"), config);
}

/// A line for each `--set`.
fn settings(text: &str) {
    let mut layers = Layers::defaults();
    for (key, value) in [("data", "sample"), ("student", "tiny-cnn"), ("objective", "rslad")] {
        layers.put("fuzz", key, value).expect("a setting");
    }
    for line in text.lines() {
        let _ = layers.set(line);
    }
    resolved(layers);
}

fn settings_file(text: &str) {
    let path = fuzz::scratch().join("given.toml");
    fuzz::put(&path, text.as_bytes());
    let mut layers = Layers::defaults();
    if layers.file(&path).is_ok() {
        resolved(layers);
    }
}

/// An augmentation and a choice of its views.
fn views(text: &str) {
    let (augment, views) = text.split_once('\n').unwrap_or(("crop4+flip", text));
    let (Ok(augment), Ok(views)) = (augment.parse::<Augment>(), views.parse::<Views>()) else { return };
    let plan = ViewPlan { augment, views };
    for image in [0, 7] {
        let rows = plan.rows(image);
        assert!(rows.is_sorted() && rows.iter().all(|&view| u32::from(view) < augment.views()));
        assert!(rows.contains(&plan.draw(views_seed(views), 0, image)));
    }
}

/// The seed of the run that a choice is for.
fn views_seed(views: Views) -> u64 {
    match views {
        Views::Plan { seed, .. } | Views::Plans { first: seed, .. } | Views::Random { seed, .. } => seed,
        Views::All => 0,
    }
}

fn attacks(text: &str) {
    let words: Vec<String> = text.split(',').map(String::from).collect();
    if let Ok(chains) = attack::chains(&words) {
        for chain in chains {
            // The name that is reported is a word for the same.
            assert_eq!(attack::chain(&chain.name).expect("a name is a word").name, chain.name);
        }
    }
}

fn numbers(text: &str) {
    for size in [text.parse::<Fraction>().ok(), Fraction::of_any_size(text).ok()].into_iter().flatten() {
        assert!(size.value() >= 0.0, "{}", size.value());
        let _ = (size.usual_step(), size.quarters(3), size.divided_by(7));
        for norm in [Norm::Linf, Norm::L2] {
            let _ = Threat::new(norm, &size);
        }
    }
}

fn data_sets(text: &str) {
    let Ok(spec) = text.parse::<DatasetSpec>() else { return };
    assert_eq!(spec.to_string().parse::<DatasetSpec>().expect("it was one").to_string(), spec.to_string());
    let _ = spec.sized(Some(9));
}

fn small_words(text: &str) {
    let _ = (
        text.parse::<Part>(),
        cli::part(text),
        text.parse::<Split>(),
        text.parse::<Dtype>(),
        text.parse::<Form>(),
    );
    let _ = (text.parse::<Norm>(), text.parse::<Milestones>());
    if Location::is_url(text) {
        let _ = Location::parse(text).map(|place| place.to_string());
    }
}

fn normalisation(text: &str) {
    let (mean, std) = text.split_once('\n').unwrap_or((text, text));
    let _ = Inputs::parse(Some(mean), Some(std), None);
    let _ = Inputs::parse(None, None, Some(text));
}

fn architectures(text: &str) {
    // A file's name is no word.
    if !text.contains("onnx") {
        let _ = zoo::build(text, Task { input: [3, 32, 32], classes: 10 });
        let _ = zoo::known(text);
    }
}

/// A word a line, of either program by the first.
fn command_lines(text: &str) {
    let words: Vec<OsString> = text.lines().map(OsString::from).collect();
    if text.starts_with("label") {
        let _ = cli::parsed::<Label>(&words).map(|_| ());
    } else {
        let _ = cli::parsed::<Distill>(&words).map(|_| ());
    }
}
