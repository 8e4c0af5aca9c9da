//! The card as text: 80 columns, bars of `#`, and nothing from the manifest that could move the cursor.

use std::fmt;

use labels::Robust;

use super::{Card, Summary};

/// Width of the longest bar.
const BAR: usize = 40;
/// Width of a line.
pub(super) const COLUMNS: usize = 80;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.card.fmt(f)?;
        let clean = match self.clean {
            Some(clean) => format!(", {clean:.2} % of the {} untouched images", self.clean_rows),
            None => String::new(),
        };
        fact(f, "right answers", &format!("{:.2} % of all rows{clean}", self.accuracy))?;
        if let Some(robust) = &self.robust {
            let Robust { attack, norm, eps, images, clean, right, .. } = robust;
            let text = format!("{right} of {images} by {attack}, {norm} {eps}; {clean} without");
            fact(f, "under attack", &text)?;
        }
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
        if let Some(top) = self.top_k {
            fact(f, "logits", &format!("the {top} largest of each row, and what the others weigh together"))?;
        }
        if let Some(lost) = &self.lost {
            fact(f, "lost", &lost.text(self.rows))?;
        }
        if let Some(features) = &self.features {
            let row = bytes(features.row_bytes() as u64);
            fact(f, "feature maps", &format!("{features}; {}, {row} a row", features.dtype))?;
        }
        fact(f, "size", &bytes(self.bytes))?;
        let weights = teacher.weights_blake3.map_or("not recorded".to_owned(), |hash| hash.to_string());
        fact(f, "weights", &weights)?;
        fact(f, "origin", &or_unknown(&teacher.origin))?;
        if let Some(key) = &teacher.weights_key {
            fact(f, "part of the file", key)?;
        }
        let normalisation = if let Some(said) = &teacher.normalisation {
            said.clone()
        } else if teacher.mean.is_empty() {
            "none".to_owned()
        } else {
            format!("mean {}, std {}", teacher.mean.join(" "), teacher.std.join(" "))
        };
        fact(f, "normalisation", &normalisation)?;
        fact(f, "computed by", &self.computed_by)?;
        fact(f, "licence", &or_unknown(&self.license))?;
        fact(f, "author", &or_unknown(&self.author))
    }
}

/// A name and a value; a long value goes on in the next lines, and is free of what could act on a terminal.
fn fact(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    const NAME: usize = 15;
    let mut name = name;
    for line in lines(&names::seen(value, ' '), COLUMNS - NAME) {
        writeln!(f, "{name:<NAME$}{line}")?;
        name = "";
    }
    Ok(())
}

/// The text in lines of at most so many characters: broken behind a comma where the line is then not half empty, so that a
/// module stays beside its shape, else between two words, else anywhere.
fn lines(text: &str, most: usize) -> Vec<String> {
    let mut rest: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    while rest.len() > most {
        let is_between = |&at: &usize| rest[at] == ' ';
        let is_behind_comma = |&at: &usize| is_between(&at) && matches!(rest[at - 1], ',' | ';');
        let comma = (most / 2..=most).rev().find(is_behind_comma);
        let end = comma.or_else(|| (1..=most).rev().find(is_between)).unwrap_or(most);
        let line: String = rest.drain(..end).collect();
        lines.push(line.trim_end().to_owned());
        if rest[0] == ' ' {
            rest.remove(0);
        }
    }
    if !rest.is_empty() {
        lines.push(rest.into_iter().collect());
    }
    lines
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
pub(super) fn shortened(text: &str, most: usize) -> String {
    let text = names::seen(text, ' ');
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 2).chain("..".chars()).collect()
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

    /// MobileNetV2's maps, as PyTorch's `named_modules()` names the modules.
    #[test]
    fn a_line_ends_between_maps_and_never_inside_a_shape() {
        let text =
            "layers.16 320x4x4, layers.13 160x4x4, layers.10 96x8x8, layers.6 64x8x8; f16, 51.2 kB a row";
        let broken = lines(text, 65);
        assert_eq!(broken[0], "layers.16 320x4x4, layers.13 160x4x4, layers.10 96x8x8,");
        assert_eq!(broken.join(" "), text);
        let digest = "0123456789".repeat(13);
        assert_eq!(lines(&digest, 65).concat(), digest);
        assert_eq!(lines("one two three", 7), ["one two", "three"]);
        assert_eq!(lines(&format!("{} x", "y".repeat(65)), 65), ["y".repeat(65), "x".into()]);
        assert!(lines("", 65).is_empty());
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_break_the_width() {
        assert_eq!(shortened("a\x1b[2Jb", 20), "a [2Jb");
        assert_eq!(shortened("layer\u{202e}3", 20), "layer 3");
        assert_eq!(shortened(&"x".repeat(100), 20).chars().count(), 20);
    }
}
