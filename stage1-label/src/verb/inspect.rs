//! `label inspect`: the card of a label set, or several of them compared, for people in 80 columns and for programs as
//! JSON.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Args;
use cli::MachineArgs;
use labels::{Check, Features, LabelSet, Lost, Manifest, Robust};
use serde::Serialize;

use crate::Result;

pub mod comparison;
mod html;
mod statistics;
mod text;

use comparison::{StudentArgs, picture};
use statistics::{Answer, Statistics};
pub(crate) use text::bytes;

/// Flags of `label inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The label set's folder; several of the same images are compared
    #[arg(required = true, num_args = 1..=26, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// A student to compare with.
    #[command(flatten)]
    pub student: StudentArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Also write the comparison as one picture to this file, in SVG
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// Also write what is found as a page to this file, in HTML
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl InspectArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        if let Some(path) = &self.html {
            html::refuse_place(path)?;
        }
        match &self.dirs[..] {
            [dir] if self.picture.is_none() && self.student.asked()?.is_none() => {
                let summary = run(dir)?;
                if let Some(path) = &self.html {
                    html::write(path, &html::card(&summary))?;
                }
                Ok(cli::show(&summary, self.json)?)
            }
            _ => {
                if let Some(path) = &self.picture {
                    picture::refuse_place(path)?;
                }
                let comparison = comparison::run(self, machine.machine())?;
                if let Some(path) = &self.picture {
                    picture::write(path, &comparison)?;
                }
                if let Some(path) = &self.html {
                    html::write(path, &html::comparison(&comparison))?;
                }
                Ok(cli::show(&comparison, self.json)?)
            }
        }
    }
}

/// What a label set is and how its teacher answers. Accuracies and shares are in percent.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The manifest without its list of files.
    #[serde(flatten)]
    pub card: Card,
    /// Right answers on all rows.
    pub accuracy: f64,
    /// Right answers on the untouched images (the view with the centre crop, not mirrored); none where no such row exists.
    pub clean: Option<f64>,
    /// Rows with the untouched image.
    pub clean_rows: u64,
    /// Right answers under attack, where that was measured.
    pub robust: Option<Robust>,
    /// Mean entropy of the teacher's softmax, in nats.
    pub mean_entropy: f64,
    /// Mean of the largest probability.
    pub mean_confidence: f64,
    /// Mean probability of the label.
    pub mean_label_probability: f64,
    /// Smallest logit.
    pub smallest_logit: f32,
    /// Largest logit.
    pub largest_logit: f32,
    /// Rows in equal bins of the entropy over 0 to ln K nats.
    pub entropy_histogram: Vec<u64>,
    /// Rows in equal bins of the largest probability over 0 to 1.
    pub confidence_histogram: Vec<u64>,
    /// Each class that has rows.
    pub classes: Vec<Class>,
    /// What the manifest says, in words; for pages.
    #[serde(skip)]
    pub facts: Vec<(&'static str, String)>,
}

/// The manifest's fields that inform people.
#[derive(Debug, Serialize)]
pub struct Card {
    /// Hash of the rows.
    pub content_hash: String,
    /// Identity of the manifest.
    pub id: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Its split.
    pub split: String,
    /// Hash of its images and labels.
    pub dataset_hash: String,
    /// Number of images.
    pub images: u64,
    /// Height, width, channels.
    pub shape: [u32; 3],
    /// Number of classes K.
    pub num_classes: usize,
    /// Name of the augmentation.
    pub augment: String,
    /// The choice of views.
    pub views: String,
    /// Number of rows.
    pub rows: u64,
    /// Stored type of the logits.
    pub dtype: String,
    /// N, where the N largest of a row are stored alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<NonZeroU32>,
    /// What is lost where not every logit is stored as a float.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// The feature maps beside them, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Which files hold the rows.
    pub format: String,
    /// Shards of each form.
    pub shards: usize,
    /// Bytes of all listed files.
    pub bytes: u64,
    /// Who answered.
    pub teacher: labels::Teacher,
    /// Which rows were answered by which engine, device and build, where there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<labels::Answered>,
    /// The label sets that answers came from, where there are some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<labels::Parent>,
    /// What computed the rows, in words.
    #[serde(skip)]
    pub computed_by: String,
    /// Licence; may be empty.
    pub license: String,
    /// Author; may be empty.
    pub author: String,
}

/// How the teacher answers on one class.
#[derive(Debug, Serialize)]
pub struct Class {
    /// Number of the class.
    pub class: usize,
    /// Its name, or its number.
    pub name: String,
    /// Rows of the class.
    pub rows: u64,
    /// Right answers.
    pub accuracy: f64,
}

/// Reads every row of a label set, its hashes checked, and sums it up.
pub fn run(dir: &Path) -> Result<Summary> {
    let set = LabelSet::open(dir, Check::Hashes)?;
    for note in set.notes() {
        cli::say(format_args!("note: {note}"));
    }
    let manifest = set.manifest();
    let centre = manifest.augment.centre();
    let mut statistics = Statistics::new(set.classes());
    let mut clean = Statistics::new(set.classes());
    let mut logits = vec![0.0; set.classes()];
    let mut answer = Answer::new(set.classes());
    for row in set.rows() {
        row.logits.copy_to(&mut logits);
        answer.read(&logits);
        statistics.add(&answer, row.label);
        if row.view == centre {
            clean.add(&answer, row.label);
        }
    }
    Ok(Summary::new(manifest, &statistics, &clean))
}

impl Summary {
    fn new(manifest: &Manifest, all: &Statistics, clean: &Statistics) -> Self {
        let classes = all.right.per_class.iter().enumerate().filter(|(_, count)| count.rows > 0);
        Self {
            card: Card::of(manifest),
            accuracy: all.accuracy(),
            clean: (clean.rows() > 0).then(|| clean.accuracy()),
            clean_rows: clean.rows(),
            robust: manifest.robust.clone(),
            mean_entropy: all.mean_entropy(),
            mean_confidence: all.mean_confidence(),
            mean_label_probability: all.mean_label_probability(),
            smallest_logit: all.smallest_logit,
            largest_logit: all.largest_logit,
            entropy_histogram: all.entropy.to_vec(),
            confidence_histogram: all.confidence.to_vec(),
            classes: classes.map(|(class, _)| Class::of(manifest, all, class)).collect(),
            facts: cli::label_set_facts(manifest),
        }
    }
}

impl Class {
    fn of(manifest: &Manifest, all: &Statistics, class: usize) -> Self {
        let name = manifest.dataset.class_names.get(class).map_or_else(|| class.to_string(), Clone::clone);
        Self { class, name, rows: all.right.per_class[class].rows, accuracy: all.class_accuracy(class) }
    }
}

impl Card {
    fn of(manifest: &Manifest) -> Self {
        let data = &manifest.dataset;
        Self {
            content_hash: manifest.content_hash.to_string(),
            id: manifest.id.to_string(),
            dataset: data.name.clone(),
            split: data.split.clone(),
            dataset_hash: data.hash.to_string(),
            images: data.images,
            shape: [data.height, data.width, data.channels],
            num_classes: data.classes,
            augment: manifest.augment.to_string(),
            views: manifest.views.to_string(),
            rows: manifest.rows,
            dtype: manifest.dtype.to_string(),
            top_k: manifest.top_k,
            lost: manifest.lost,
            features: manifest.features.clone(),
            format: manifest.form.to_string(),
            shards: manifest.shards(),
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            teacher: manifest.teacher.clone(),
            answered: manifest.answered.clone(),
            parents: manifest.parents.clone(),
            computed_by: manifest.computed_by(),
            license: manifest.license.clone(),
            author: manifest.author.clone(),
        }
    }
}
