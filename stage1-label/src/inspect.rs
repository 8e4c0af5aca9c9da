//! `label inspect`: the card of a label set, for people in 80 columns and for programs as JSON.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use labels::stats::Statistics;
use labels::{Check, LabelSet, Manifest};
use serde::Serialize;

use crate::Result;

/// Flags of `label inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The label set's folder
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
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
    /// Which files hold the rows.
    pub format: String,
    /// Shards of each form.
    pub shards: usize,
    /// Bytes of all listed files.
    pub bytes: u64,
    /// Who answered.
    pub teacher: labels::Teacher,
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
pub fn run(args: &InspectArgs) -> Result<Summary> {
    let set = LabelSet::open(&args.dir, Check::Hashes)?;
    let manifest = set.manifest();
    let centre = manifest.augment.centre();
    let mut statistics = Statistics::new(set.classes());
    let mut clean = Statistics::new(set.classes());
    let mut logits = vec![0.0; set.classes()];
    for row in set.rows() {
        row.logits.copy_to(&mut logits);
        statistics.add(&logits, row.label);
        if row.view == centre {
            clean.add(&logits, row.label);
        }
    }
    Ok(Summary::new(manifest, &statistics, &clean))
}

impl Summary {
    fn new(manifest: &Manifest, all: &Statistics, clean: &Statistics) -> Self {
        let name = |class: usize| {
            let names = &manifest.dataset.class_names;
            names.get(class).map_or_else(|| class.to_string(), Clone::clone)
        };
        let classes = all.right.per_class.iter().enumerate().filter(|(_, count)| count.rows > 0);
        Self {
            card: Card::of(manifest),
            accuracy: all.accuracy(),
            clean: (clean.rows() > 0).then(|| clean.accuracy()),
            clean_rows: clean.rows(),
            mean_entropy: all.mean_entropy(),
            mean_confidence: all.mean_confidence(),
            mean_label_probability: all.mean_label_probability(),
            smallest_logit: all.smallest_logit,
            largest_logit: all.largest_logit,
            entropy_histogram: all.entropy.to_vec(),
            confidence_histogram: all.confidence.to_vec(),
            classes: classes
                .map(|(class, count)| Class {
                    class,
                    name: name(class),
                    rows: count.rows,
                    accuracy: all.class_accuracy(class),
                })
                .collect(),
        }
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
            format: manifest.form.to_string(),
            shards: manifest.shards(),
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            teacher: manifest.teacher.clone(),
            license: manifest.license.clone(),
            author: manifest.author.clone(),
        }
    }
}

/// Width of the longest bar.
const BAR: usize = 40;
/// Width of a line.
const COLUMNS: usize = 80;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.card.fmt(f)?;
        let clean = match self.clean {
            Some(clean) => format!(", {clean:.2} % of the {} untouched images", self.clean_rows),
            None => String::new(),
        };
        fact(f, "right answers", &format!("{:.2} % of all rows{clean}", self.accuracy))?;
        fact(
            f,
            "probabilities",
            &format!(
                "answer {:.3}, label {:.3}, entropy {:.3} nats (means)",
                self.mean_confidence, self.mean_label_probability, self.mean_entropy
            ),
        )?;
        fact(f, "logits", &format!("{} to {}", self.smallest_logit, self.largest_logit))?;
        let most = (self.card.num_classes as f64).ln();
        writeln!(f, "\nentropy in nats, share of the rows")?;
        histogram(f, &self.entropy_histogram, most)?;
        writeln!(f, "\nprobability of the answer, share of the rows")?;
        histogram(f, &self.confidence_histogram, 1.0)?;
        writeln!(f, "\nright answers by class")?;
        for class in &self.classes {
            let name = shortened(&class.name, 20);
            let line = format!("  {name:<20} {:>6.2} %  {}", class.accuracy, bar(class.accuracy / 100.0));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let teacher = &self.teacher;
        let [height, width, channels] = self.shape;
        let or_unknown =
            |text: &str| if text.is_empty() { "not recorded".to_owned() } else { text.to_owned() };
        let title = format!("{} on {} ({})", teacher.architecture, self.dataset, self.split);
        writeln!(f, "{}\n", shortened(&title, COLUMNS))?;
        fact(f, "content_hash", &self.content_hash)?;
        fact(
            f,
            "images",
            &format!("{} of {height}x{width}x{channels}, {} classes", self.images, self.num_classes),
        )?;
        fact(f, "dataset hash", &self.dataset_hash)?;
        fact(f, "views", &format!("{} of {}", self.views, self.augment))?;
        fact(
            f,
            "rows",
            &format!("{} in {} shards, {}, {}", self.rows, self.shards, self.dtype, self.format),
        )?;
        fact(f, "size", &bytes(self.bytes))?;
        let weights = teacher.weights_blake3.map_or("not recorded".to_owned(), |hash| hash.to_string());
        fact(f, "weights", &weights)?;
        fact(f, "origin", &or_unknown(&teacher.origin))?;
        let normalisation = if teacher.mean.is_empty() {
            "none".to_owned()
        } else {
            format!("mean {}, std {}", teacher.mean.join(" "), teacher.std.join(" "))
        };
        fact(f, "normalisation", &normalisation)?;
        fact(f, "computed by", &format!("{}, {}, {}", teacher.engine, teacher.precision, teacher.device))?;
        fact(f, "licence", &or_unknown(&self.license))?;
        fact(f, "author", &or_unknown(&self.author))
    }
}

/// A name and a value; a long value goes on in the next lines.
fn fact(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    const NAME: usize = 15;
    let printable: Vec<char> = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut name = name;
    for line in printable.chunks(COLUMNS - NAME) {
        writeln!(f, "{name:<NAME$}{}", line.iter().collect::<String>())?;
        name = "";
    }
    Ok(())
}

fn histogram(f: &mut fmt::Formatter<'_>, bins: &[u64], most: f64) -> fmt::Result {
    let rows: u64 = bins.iter().sum();
    let largest = bins.iter().copied().max().unwrap_or(0).max(1);
    for (index, &count) in bins.iter().enumerate() {
        let from = most * index as f64 / bins.len() as f64;
        let to = most * (index + 1) as f64 / bins.len() as f64;
        let share = 100.0 * count as f64 / rows.max(1) as f64;
        let line = format!("  {from:.3} to {to:.3}  {share:>6.2} %  {}", bar(count as f64 / largest as f64));
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A bar of up to 40 characters; anything above nothing shows.
fn bar(fraction: f64) -> String {
    let length = (fraction * BAR as f64).round() as usize;
    "#".repeat(length.max(usize::from(fraction > 0.0)).min(BAR))
}

/// Bytes with a unit that leaves at most four digits before the point.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

/// The text, cut to so many characters and free of control characters.
fn shortened(text: &str, most: usize) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= most {
        return printable.collect();
    }
    printable.take(most - 2).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_proportional_and_a_trace_still_shows() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(1e-9), "#");
        assert_eq!(bar(0.5).len(), 20);
        assert_eq!(bar(1.0).len(), 40);
    }

    #[test]
    fn sizes_carry_a_unit() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(162_000_000), "162.0 MB");
        assert_eq!(bytes(5_400_000_000_000_000), "5400.0 TB");
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_break_the_width() {
        assert_eq!(shortened("a\x1b[2Jb", 20), "a [2Jb");
        assert_eq!(shortened(&"x".repeat(100), 20).chars().count(), 20);
    }
}
