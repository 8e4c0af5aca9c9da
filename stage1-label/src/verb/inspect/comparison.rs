//! Label sets of the same images beside each other, before anybody trains: which teacher is right, how sure it is where it
//! or another is wrong, and how far apart they are.
//!
//! A stronger teacher is not a better one (arXiv:2511.17886, arXiv:2605.21999): what it says of images that are hard
//! decides as well, and that costs one reading of the rows.

use labels::{Check, LabelSet, Manifest, Robust, Row};
use serde::Serialize;

use super::InspectArgs;
use super::statistics::{Answer, Statistics};
use crate::{Error, Result};

pub mod picture;
mod student;
mod text;

pub use student::{Student, StudentArgs};
pub use text::letter;

/// Label sets of the same images, on the rows that all of them hold. Accuracies and agreements are in percent, entropies
/// and divergences in nats, confidences and calibration errors shares of 1; what no row decides is null.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Name of the dataset.
    pub dataset: String,
    /// Its split.
    pub split: String,
    /// Hash of its images and labels, the same for all sets.
    pub dataset_hash: String,
    /// Number of images.
    pub images: u64,
    /// Number of classes K.
    pub num_classes: usize,
    /// Rows that all sets hold: everything below is counted on them.
    pub rows: u64,
    /// Those among them that are untouched images.
    pub clean_rows: u64,
    /// The sets, in the order in which they were named.
    pub sets: Vec<Side>,
    /// Each two of them.
    pub pairs: Vec<Pair>,
    /// A student beside them, where one was named.
    pub student: Option<Student>,
}

/// One label set of a comparison.
#[derive(Debug, Serialize)]
pub struct Side {
    /// Its folder, as it was named.
    pub dir: String,
    /// Hash of its rows, those that the others lack included.
    pub content_hash: String,
    /// The teacher's architecture.
    pub teacher: String,
    /// The choice of views.
    pub views: String,
    /// Name of the augmentation.
    pub augment: String,
    /// Number of its rows.
    pub rows: u64,
    /// Right answers.
    pub accuracy: f64,
    /// Right answers on untouched images.
    pub clean: Option<f64>,
    /// Right answers under attack, as the manifest has them: on images of its own choice.
    pub robust: Option<Robust>,
    /// Mean entropy of the softmax.
    pub mean_entropy: f64,
    /// Rows that at least one of the other sets answers wrong.
    pub hard_rows: u64,
    /// Mean entropy of the softmax on those.
    pub hard_entropy: Option<f64>,
    /// Mean of the largest probability.
    pub mean_confidence: f64,
    /// The same over the rows that this set answers wrong.
    pub wrong_confidence: Option<f64>,
    /// Expected calibration error in 15 equal bins. Source: arXiv:1706.04599, eq. 3.
    pub calibration_error: f64,
    /// The class with the smallest share of right answers.
    pub worst_class: super::Class,
}

/// How two networks answer to the same images.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// Places of the two among the sets.
    pub sets: [usize; 2],
    /// Rows that both answer alike.
    pub agreement: f64,
    /// Mean KL(first || second).
    pub kl: f64,
    /// Mean KL(second || first).
    pub kl_back: f64,
}

/// Sums over rows that two networks answer.
#[derive(Debug, Default)]
struct Gap {
    rows: u64,
    alike: u64,
    kl: f64,
    kl_back: f64,
    /// Rows that the first answers right and the second wrong.
    lost: u64,
}

impl Gap {
    fn add(&mut self, first: &Answer, second: &Answer, label: i32) {
        self.rows += 1;
        self.alike += u64::from(first.class == second.class);
        self.kl += first.kl(second);
        self.kl_back += second.kl(first);
        self.lost += u64::from(first.class == label as usize && second.class != label as usize);
    }

    fn agreement(&self) -> f64 {
        100.0 * self.alike as f64 / self.rows as f64
    }
}

/// Compares the label sets, and a student with each where one is named. Every byte of the sets is checked.
///
/// Sets of other images, in another order, with other labels or classes are refused, and so are sets without a row in
/// common. Views of different augmentations are the same where they cut the same pixels out of the padded image.
pub fn run(args: &InspectArgs, machine: cli::Machine) -> Result<Comparison> {
    // What is wrong on the command line is said before any file is read.
    let asked = args.student.asked()?;
    let reading = cli::Progress::busy("comparing label sets");
    let sets =
        args.dirs.iter().map(|dir| LabelSet::open(dir, Check::Hashes)).collect::<labels::Result<Vec<_>>>()?;
    for set in &sets {
        for note in set.notes() {
            cli::say(format_args!("note: {}: {note}", set.dir().display()));
        }
        refuse_other_images(&sets[0], set)?;
    }
    let mut comparison = compare(&sets)?;
    drop(reading);
    if let Some(asked) = asked {
        comparison.student = Some(student::beside(&sets, &asked, machine)?);
    }
    Ok(comparison)
}

/// Refuses a label set that answers to other images than the first does, and says what differs.
fn refuse_other_images(first: &LabelSet, other: &LabelSet) -> Result<()> {
    let [a, b] = [first, other].map(|set| &set.manifest().dataset);
    let refuse = |found: String, hint: &str| {
        let (first, other) = (first.dir().display(), other.dir().display());
        Err(Error::Usage {
            what: format!("label sets {first} and {other} cannot be compared: {found}"),
            hint: hint.into(),
        })
    };
    if a.classes != b.classes {
        let found = format!("they have {} and {} classes", a.classes, b.classes);
        return refuse(found, "compare teachers of the same classes");
    }
    if a.hash == b.hash {
        return Ok(());
    }
    let images = first.images().min(other.images());
    let differ = |image: &usize| first.image_hash(*image) != other.image_hash(*image);
    let hint = "label the same images with both teachers: the same --data, --split and --limit";
    if let Some(image) = (0..images).find(differ) {
        let found = format!(
            "image {image} of {} ({}) is another than image {image} of {} ({})",
            a.name, a.split, b.name, b.split
        );
        return refuse(found, hint);
    }
    if let Some(image) = (0..images).find(|&image| first.label(image) != other.label(image)) {
        let [a, b] = [first, other].map(|set| set.label(image));
        return refuse(
            format!("image {image} has label {a} and {b}"),
            "the label files differ; label again from one of them",
        );
    }
    refuse(format!("they hold {} and {} images", a.images, b.images), hint)
}

/// The answers of all sets to one row, in order.
struct Answers<'a> {
    sets: &'a [LabelSet],
    logits: Vec<f32>,
    each: Vec<Answer>,
}

impl<'a> Answers<'a> {
    fn of(sets: &'a [LabelSet]) -> Self {
        let classes = sets[0].classes();
        Self { sets, logits: vec![0.0; classes], each: vec![Answer::new(classes); sets.len()] }
    }

    /// Reads a row of the first set in all of them; whether all hold it.
    fn read(&mut self, row: &Row) -> bool {
        let view =
            self.sets[0].manifest().augment.view(row.view).expect("rows are validated when a set is opened");
        let [dy, dx] = [view.crop_y, view.crop_x]
            .map(|at| i32::from(at) - i32::from(self.sets[0].manifest().augment.pad));
        for (set, answer) in self.sets.iter().zip(&mut self.each) {
            let augment = set.manifest().augment;
            let [y, x] = [dy, dx].map(|by| u16::try_from(by + i32::from(augment.pad)));
            let same =
                y.ok().zip(x.ok()).map(|(crop_y, crop_x)| labels::View { crop_y, crop_x, flip: view.flip });
            let Some(id) = same.and_then(|view| augment.id(view)) else { return false };
            if !set.read(row.image, id, &mut self.logits) {
                return false;
            }
            answer.read(&self.logits);
        }
        true
    }
}

fn compare(sets: &[LabelSet]) -> Result<Comparison> {
    let first = sets[0].manifest();
    let none = || vec![Statistics::new(sets[0].classes()); sets.len()];
    let [mut all, mut clean, mut hard] = [none(), none(), none()];
    let places: Vec<[usize; 2]> =
        (0..sets.len()).flat_map(|a| (a + 1..sets.len()).map(move |b| [a, b])).collect();
    let mut gaps: Vec<Gap> = places.iter().map(|_| Gap::default()).collect();
    let mut answers = Answers::of(sets);
    for row in sets[0].rows() {
        if !answers.read(&row) {
            continue;
        }
        let wrong = answers.each.iter().filter(|answer| answer.class != row.label as usize).count();
        for (place, answer) in answers.each.iter().enumerate() {
            all[place].add(answer, row.label);
            if row.view == first.augment.centre() {
                clean[place].add(answer, row.label);
            }
            if wrong > usize::from(answer.class != row.label as usize) {
                hard[place].add(answer, row.label);
            }
        }
        for (gap, [a, b]) in gaps.iter_mut().zip(&places) {
            gap.add(&answers.each[*a], &answers.each[*b], row.label);
        }
    }
    if all[0].rows() == 0 {
        return Err(Error::Usage {
            what: "the label sets hold no row in common: each has other views of the images".into(),
            hint: "label with the same --views, or with --views all".into(),
        });
    }
    Ok(Comparison {
        dataset: first.dataset.name.clone(),
        split: first.dataset.split.clone(),
        dataset_hash: first.dataset.hash.to_string(),
        images: first.dataset.images,
        num_classes: first.dataset.classes,
        rows: all[0].rows(),
        clean_rows: clean[0].rows(),
        sets: (0..sets.len())
            .map(|place| Side::of(&sets[place], &all[place], &clean[place], &hard[place]))
            .collect(),
        pairs: places.into_iter().zip(&gaps).map(|(sets, gap)| Pair::of(sets, gap)).collect(),
        student: None,
    })
}

/// The figure, where it is one: a mean over no rows is none.
fn figure(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

impl Side {
    fn of(set: &LabelSet, all: &Statistics, clean: &Statistics, hard: &Statistics) -> Self {
        let manifest: &Manifest = set.manifest();
        Self {
            dir: set.dir().display().to_string(),
            content_hash: manifest.content_hash.to_string(),
            teacher: manifest.teacher.architecture.clone(),
            views: manifest.views.to_string(),
            augment: manifest.augment.to_string(),
            rows: manifest.rows,
            accuracy: all.accuracy(),
            clean: figure(clean.accuracy()),
            robust: manifest.robust.clone(),
            mean_entropy: all.mean_entropy(),
            hard_rows: hard.rows(),
            hard_entropy: figure(hard.mean_entropy()),
            mean_confidence: all.mean_confidence(),
            wrong_confidence: figure(all.mean_wrong_confidence()),
            calibration_error: all.calibration_error(),
            worst_class: super::Class::of(manifest, all, all.worst_class().expect("a comparison has rows")),
        }
    }
}

impl Pair {
    fn of(sets: [usize; 2], gap: &Gap) -> Self {
        let rows = gap.rows as f64;
        Self { sets, agreement: gap.agreement(), kl: gap.kl / rows, kl_back: gap.kl_back / rows }
    }
}
