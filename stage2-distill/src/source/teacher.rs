//! A teacher of a run: a label set with its answers, the network itself, or both.
//!
//! Both answer the same question about the same pixels, so an f32 label set and the online teacher give the same
//! student, bit for bit.

use std::path::Path;

use candle_core::{Device, Tensor};
use data::Dataset;
use engine::params::Precision;
use engine::{Engine, Images, NodeId};
use labels::{Check, Hex, LabelSet, Manifest, Wanted};
use method::attack::Victim;
use method::objective::Asked;
use method::taps::MapShape;
use method::view::ViewPlan;
use zoo::{Loaded, Task};

use super::taps;
use crate::config::Config;
use crate::error::RunError;

/// What answers; nothing where the objective asks nobody.
#[derive(Default)]
pub struct Teacher {
    /// Its answers about clean views.
    pub labels: Option<Box<LabelSet>>,
    /// The network, for every other image, and for clean views that nobody answered about.
    pub network: Option<Box<Loaded>>,
    /// The feature maps that the label set gives, by their numbers there; none where the network does.
    pub held: Vec<usize>,
}

/// What is wanted of clean views.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The logits.
    pub(super) logits: bool,
    /// The feature maps, those at these nodes where the network gives them.
    pub(super) maps: Option<&'a [NodeId]>,
}

/// What a teacher says of clean views.
#[derive(Default)]
pub(super) struct Heard {
    /// `(N, K)` f32; none where nothing answers.
    pub(super) logits: Option<Tensor>,
    /// Its feature maps, where the label set holds them, or the forward that gave the logits gave them too.
    pub(super) maps: Option<Vec<Tensor>>,
}

impl Teacher {
    /// What it is, by content.
    pub(super) fn identity(&self) -> Vec<String> {
        let labels = self.labels.as_ref().map(|set| format!("labels {}", set.manifest().content_hash));
        let network = self.network.as_ref().map(|network| format!("teacher {}", network.blake3));
        labels.into_iter().chain(network).collect()
    }

    /// The network of a run that has it at hand, to be asked about any image.
    pub fn victim<'a>(&'a self, engine: &'a dyn Engine) -> Option<Victim<'a>> {
        self.network.as_ref().map(|loaded| Victim::new(engine, &loaded.network, &loaded.params))
    }

    /// The shapes of the feature maps that the label set gives.
    pub(super) fn held_shapes(&self) -> Vec<MapShape> {
        let features = self.labels.as_ref().and_then(|set| set.manifest().features.as_ref());
        let shape = |&map: &usize| Some(features?.maps[map].shape.map(|side| side as usize));
        self.held.iter().filter_map(shape).collect()
    }

    /// What it says of clean views whose pixels are `images`. A network that is asked for logits gives its maps in the same
    /// forward; where it is asked for maps alone, none: the step asks.
    pub(super) fn clean(
        &self,
        engine: &dyn Engine,
        rows: &[(usize, u16)],
        images: &Images,
        question: Question,
    ) -> Result<Heard, RunError> {
        if let Some(set) = &self.labels {
            let are_held = question.maps.is_some() && !self.held.is_empty();
            return Ok(Heard {
                logits: question.logits.then(|| logits(set, rows)).transpose()?,
                maps: are_held.then(|| self.maps(set, rows)).transpose()?,
            });
        }
        let Some(network) = self.victim(engine).filter(|_| question.logits) else {
            return Ok(Heard::default());
        };
        let Some(taps) = question.maps else {
            return Ok(Heard { logits: Some(network.logits(images)?), maps: None });
        };
        let (logits, maps) = network.maps(images, taps)?;
        Ok(Heard { logits: Some(logits), maps: Some(maps) })
    }

    /// The maps that a label set holds of these rows, `(N, C, H, W)` f32, map by map.
    fn maps(&self, set: &LabelSet, rows: &[(usize, u16)]) -> Result<Vec<Tensor>, RunError> {
        let features =
            set.manifest().features.as_ref().expect("maps are read from a label set that holds some");
        let map = |(&number, [channels, height, width]): (&usize, MapShape)| {
            let places = features.places(number);
            let mut values = vec![0.0f32; rows.len() * places.len()];
            for (&(image, view), out) in rows.iter().zip(values.chunks_exact_mut(places.len())) {
                let held = set.features(image, view).ok_or_else(|| no_row(image, view))?;
                held.part(places.clone()).copy_to(out);
            }
            Ok(Tensor::from_vec(values, (rows.len(), channels, height, width), &Device::Cpu)?)
        };
        self.held.iter().zip(self.held_shapes()).map(map).collect()
    }
}

/// The logits that a label set holds of these rows, `(N, K)` f32.
fn logits(set: &LabelSet, rows: &[(usize, u16)]) -> Result<Tensor, RunError> {
    let classes = set.classes();
    let mut values = vec![0.0f32; rows.len() * classes];
    for (&(image, view), out) in rows.iter().zip(values.chunks_exact_mut(classes)) {
        if !set.read(image, view, out) {
            return Err(no_row(image, view));
        }
    }
    Ok(Tensor::from_vec(values, (rows.len(), classes), &Device::Cpu)?)
}

/// Refuses a label set whose rows hash to something else than was named.
fn refuse_other_rows(folder: &str, set: &LabelSet, wanted: Hex) -> Result<(), RunError> {
    let found = set.content_hash();
    if found == wanted {
        return Ok(());
    }
    Err(RunError::Refused(format!(
        "label set {folder}: its rows hash to {found}, labels-hash is {wanted}\nhint: it is another label set than the one that was named; fetch that one"
    )))
}

fn no_row(image: usize, view: u16) -> RunError {
    RunError::Refused(format!(
        "the label set has no row for image {image}, view {view}\nhint: make it with --views all, or with a plan for this seed and at least as many epochs"
    ))
}

/// What a configuration says of one teacher.
pub(super) struct Named<'a> {
    /// What stands before the names of its settings.
    prefix: &'static str,
    labels: &'a Option<String>,
    labels_hash: Option<&'a String>,
    weights: &'a Option<String>,
    arch: &'a Option<String>,
    weights_key: &'a Option<String>,
    /// Mean, std and the name of a normalisation.
    inputs: [&'a Option<String>; 3],
}

impl<'a> Named<'a> {
    pub(super) fn teacher(config: &'a Config) -> Self {
        Self {
            prefix: "",
            labels: &config.labels,
            labels_hash: config.labels_hash.as_ref(),
            weights: &config.teacher,
            arch: &config.arch,
            weights_key: &config.weights_key,
            inputs: [&config.mean, &config.std, &config.normalize],
        }
    }

    pub(super) fn second(config: &'a Config) -> Self {
        Self {
            prefix: "second-",
            labels: &config.second_labels,
            labels_hash: None,
            weights: &config.second_teacher,
            arch: &config.second_arch,
            weights_key: &config.second_weights_key,
            inputs: [&config.second_mean, &config.second_std, &config.second_normalize],
        }
    }
}

/// A teacher and the views that its label set holds, where it has one.
pub(super) struct Opened {
    pub(super) teacher: Teacher,
    pub(super) plan: Option<ViewPlan>,
}

/// What is the same for all teachers of a run.
pub(super) struct Asking<'a> {
    /// The configuration with label sets by the names that they were asked for by.
    pub(super) asked: &'a Config,
    pub(super) config: &'a Config,
    pub(super) dataset: &'a Dataset,
    pub(super) task: Task,
}

impl Asking<'_> {
    /// Opens a teacher and refuses one that cannot answer what the objective asks, or that it does not ask.
    pub(super) fn open(&self, named: &Named, asked: &Asked) -> Result<Opened, RunError> {
        // Before its gigabytes are hashed.
        let manifest = named.labels.as_ref().filter(|_| asked.wants_maps());
        let manifest = manifest.map(|folder| Manifest::read(Path::new(folder))).transpose()?;
        let held = manifest.as_ref().map(|manifest| taps::held(self.config, manifest));
        self.refuse(named, asked, matches!(held, Some(Ok(_))))?;
        if let (Some(manifest), Some(Err(wanted)), None) = (&manifest, &held, named.weights) {
            return Err(self.without_maps(named, asked, manifest, wanted));
        }
        let held = held.and_then(Result::ok).unwrap_or_default();
        let mut opened = Opened { teacher: Teacher { held, ..Teacher::default() }, plan: None };
        if let Some(folder) = named.labels {
            let pin = named.labels_hash.map(|hash| hash.to_lowercase().parse::<Hex>()).transpose();
            let pin = pin.map_err(|error| {
                RunError::Refused(format!(
                    "labels-hash: {error}\nhint: `label inspect` prints a label set's content_hash"
                ))
            })?;
            let set = LabelSet::open(Path::new(folder), self.check(folder))?;
            for note in set.notes() {
                cli::say(format_args!("note: {note}"));
            }
            if let Some(wanted) = pin {
                refuse_other_rows(folder, &set, wanted)?;
            }
            // More epochs than fit are more than any plan has.
            let plan = Some((u32::try_from(self.config.epochs).unwrap_or(u32::MAX), self.config.seed));
            set.check_against(&Wanted { dataset: &self.dataset.record(), augment: None, plan })?;
            opened.plan = Some(ViewPlan { augment: set.manifest().augment, views: set.manifest().views });
            // Without a question it only chooses the views.
            let is_read = asked.wants_clean() || !opened.teacher.held.is_empty();
            opened.teacher.labels = is_read.then(|| Box::new(set));
        }
        if let Some(path) = named.weights {
            let said = cli::foreign(named.arch.clone(), named.weights_key.clone(), named.inputs)?;
            let loaded = zoo::load(Path::new(path), said, self.task, Precision::F32)?;
            cli::say_notes(Path::new(path), &loaded.notes);
            if let (Some(set), Some(folder)) = (&opened.teacher.labels, named.labels) {
                refuse_other_answers(folder, set, path, &loaded)?;
            }
            opened.teacher.network = Some(Box::new(loaded));
        }
        Ok(opened)
    }

    /// How a label set's folder is checked: every byte that is read, once.
    fn check(&self, folder: &String) -> Check {
        let names = [&self.asked.labels, &self.asked.second_labels];
        if names.into_iter().flatten().any(|name| name == folder) { Check::Used } else { Check::Fetched }
    }

    /// Why a label set that lacks these feature maps cannot teach alone.
    fn without_maps(&self, named: &Named, asked: &Asked, manifest: &Manifest, wanted: &[String]) -> RunError {
        let (objective, prefix) = (self.config.named_objective(), named.prefix);
        let folder = named.labels.as_deref().unwrap_or_default();
        let has = manifest.features.as_ref().map_or("none".into(), |features| format!("those of {features}"));
        let asks = if wanted.is_empty() { String::new() } else { format!(" at {}", wanted.join(", ")) };
        let label = if wanted.is_empty() { "A,B".into() } else { wanted.join(",") };
        let name = if manifest.features.is_some() {
            format!("name them with --{prefix}taps and --{prefix}teacher-taps, ")
        } else {
            String::new()
        };
        let beside = if asked.wants_clean() {
            "beside it, which answers about the clean views"
        } else {
            "in its place"
        };
        RunError::Refused(format!(
            "objective {objective} compares the teacher's feature maps{asks}, and {folder} holds {has}\nhint: {name}label again with `label run --taps {label}`, or pass --{prefix}teacher WEIGHTS {beside}"
        ))
    }

    /// Refuses flags that do not go together; `holds_maps` says whether the label set has the feature maps that are asked for.
    fn refuse(&self, named: &Named, asked: &Asked, holds_maps: bool) -> Result<(), RunError> {
        let (objective, prefix) = (self.config.named_objective(), named.prefix);
        let (has_labels, has_network) = (named.labels.is_some(), named.weights.is_some());
        let and_labels = if has_labels { format!(" and --{prefix}labels") } else { String::new() };
        let which = if prefix.is_empty() { "a teacher" } else { "a second teacher" };
        let is_said = named.weights_key.is_some() || named.inputs.iter().any(|said| said.is_some());
        let why = if !has_network && is_said {
            format!(
                "{prefix}weights-key, {prefix}mean, {prefix}std and {prefix}normalize say what a teacher's file does not, and no teacher is run\nhint: add --{prefix}teacher WEIGHTS, or drop them; a label set records its own teacher's"
            )
        } else if asked.is_nothing() && has_network {
            format!(
                "objective {objective} has no use for {which}\nhint: drop --{prefix}teacher{and_labels}, or choose --objective {}",
                if prefix.is_empty() { "rslad" } else { "mtard" }
            )
        } else if asked.is_nothing() && has_labels && !prefix.is_empty() {
            format!(
                "objective {objective} has no use for {which}\nhint: drop --{prefix}labels, or choose --objective mtard"
            )
        } else if asked.wants_maps() && !asked.is_live() && !has_network && !has_labels {
            format!(
                "objective {objective} asks {} for its feature maps, and none was given\nhint: pass --{prefix}labels FOLDER, which `label run --taps` wrote, or --{prefix}teacher WEIGHTS to run one online",
                which.replace("a ", "the ")
            )
        } else if asked.is_live() && !has_network {
            let labels = match (has_labels, asked.wants_clean()) {
                (false, _) => String::new(),
                (true, false) => format!(" in place of --{prefix}labels"),
                (true, true) => format!(" beside --{prefix}labels, which answers about the clean views"),
            };
            format!(
                "objective {objective} asks {} about adversarial images, which no label set can answer\nhint: pass --{prefix}teacher WEIGHTS{labels}",
                which.replace("a ", "the ")
            )
        } else if !asked.is_nothing() && !has_labels && !has_network {
            format!(
                "objective {objective} learns from {which}, and none was given\nhint: pass --{prefix}labels FOLDER, which `label run` wrote, or --{prefix}teacher WEIGHTS to run one online"
            )
        } else if has_labels && has_network && !asked.is_live() && asked.wants_maps() == holds_maps {
            let what =
                if holds_maps { "clean views, whose maps the label set holds" } else { "clean views alone" };
            format!(
                "both {prefix}labels and {prefix}teacher were given\nhint: objective {objective} asks about {what}: it reads a label set or runs a teacher, not both"
            )
        } else if has_labels && has_network && !asked.wants_clean() && !holds_maps {
            let what = if asked.is_live() { "about adversarial images" } else { "for its feature maps" };
            format!(
                "objective {objective} asks {} {what} alone: nobody would read {prefix}labels\nhint: drop --{prefix}labels",
                which.replace("a ", "the ")
            )
        } else {
            return Ok(());
        };
        Err(RunError::Refused(why))
    }
}

/// A label set and a network that answer together are one teacher.
fn refuse_other_answers(folder: &str, set: &LabelSet, path: &str, loaded: &Loaded) -> Result<(), RunError> {
    let teacher = &set.manifest().teacher;
    match &teacher.weights_blake3 {
        Some(known) if known.to_string() != loaded.blake3 => Err(RunError::Refused(format!(
            "{folder}: its teacher ({}) is not the network of {path}: the weights' hashes differ\n  {known}, {}\nhint: pass the file that `label run` had, or label the images with this one",
            teacher.architecture, loaded.blake3
        ))),
        _ => Ok(()),
    }
}
