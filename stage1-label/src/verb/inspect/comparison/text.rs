//! A comparison as text: tables in 80 columns, the sets named by letters.

use std::fmt;

use super::{Comparison, Side, Student};
use crate::verb::inspect::text::{COLUMNS, shortened};

/// The letter by which tables and pictures name a set.
pub fn letter(place: usize) -> char {
    char::from(b'A' + place as u8)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dataset, split, images, num_classes, rows, clean_rows, .. } = self;
        let title = format!("{dataset} ({split}): {images} images, {num_classes} classes");
        writeln!(f, "{}", shortened(&title, COLUMNS))?;
        writeln!(
            f,
            "compared on the {rows} rows that all sets hold, {clean_rows} of them untouched images\n"
        )?;
        for (place, side) in self.sets.iter().enumerate() {
            let Side { dir, teacher, rows, views, augment, .. } = side;
            let text = format!("{}  {dir}: {teacher}, {rows} rows, {views} of {augment}", letter(place));
            writeln!(f, "{}", shortened(&text, COLUMNS))?;
        }
        self.figures(f)?;
        self.pairs(f)?;
        self.student.as_ref().map_or(Ok(()), |student| student.fmt(f))
    }
}

impl Comparison {
    fn figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n   right %  untouched  attacked  entropy  on hard  p wrong    ECE  worst class")?;
        for (place, side) in self.sets.iter().enumerate() {
            let attacked = side.robust.as_ref().map(|found| 100.0 * found.right as f64 / found.images as f64);
            writeln!(
                f,
                "{}  {:>7.2}  {:>9}  {:>8}  {:>7.3}  {:>7}  {:>7}  {:>5.3}  {:>5.1} {}",
                letter(place),
                side.accuracy,
                cell(side.clean, 2),
                cell(attacked, 2),
                side.mean_entropy,
                cell(side.hard_entropy, 3),
                cell(side.wrong_confidence, 3),
                side.calibration_error,
                side.worst_class.accuracy,
                // What is left of the line: class names are anybody's text.
                shortened(&side.worst_class.name, 11),
            )?;
        }
        writeln!(f, "\nentropy in nats; on hard: over rows that another set answers wrong; p wrong:")?;
        writeln!(f, "mean probability of its wrong answers; ECE: 15 equal bins (arXiv:1706.04599)")?;
        for (place, side) in self.sets.iter().enumerate() {
            if let Some(labels::Robust { attack, norm, eps, images, split, .. }) = &side.robust {
                let text =
                    format!("attacked {}: {attack}, {norm} {eps}, {images} images of {split}", letter(place));
                writeln!(f, "{}", shortened(&text, COLUMNS))?;
            }
        }
        Ok(())
    }

    fn pairs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pairs.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n      agree %  KL(first || second)  KL(second || first)")?;
        for pair in &self.pairs {
            let [a, b] = pair.sets.map(letter);
            writeln!(f, "{a} {b}  {:>8.2}  {:>19.4}  {:>19.4}", pair.agreement, pair.kl, pair.kl_back)?;
        }
        Ok(())
    }
}

impl fmt::Display for Student {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, architecture, images, accuracy, .. } = self;
        let text = format!("student {file}: {architecture}");
        writeln!(f, "\n{}", shortened(&text, COLUMNS))?;
        writeln!(f, "right on {accuracy:.2} % of the {images} untouched images")?;
        writeln!(f, "   KL(teacher || student)  agree %  teacher right, student wrong")?;
        for (place, gap) in self.gaps.iter().enumerate() {
            let lost = format!("{} ({:.2} %)", gap.lost, 100.0 * gap.lost as f64 / *images as f64);
            writeln!(f, "{}  {:>22.4}  {:>7.2}  {lost:>28}", letter(place), gap.kl, gap.agreement)?;
        }
        Ok(())
    }
}

fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}
