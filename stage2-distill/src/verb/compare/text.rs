//! A comparison for people, in the columns that the formatter has: 80 where nobody says.

use std::fmt;

use cli::with_commas;

use super::comparison::{Column, Comparison, Found, Side};

/// Width of a line where nobody says, and the least: that of a name, one figure and the two others.
const COLUMNS: (usize, usize) = (80, 40);
/// Columns that a run's name has at least, and at most.
const NAME: (usize, usize) = (10, 28);
/// Width of a figure with the gap before it: that of `100.0-100.0`, and two.
const FIGURE: usize = 13;
/// Width of the worst class's and the minutes' figures with their gaps.
const OTHERS: [(&str, usize); 2] = [("worst", 8), ("minutes", 9)];

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = if self.runs.len() == 1 { "1 run".into() } else { format!("{} runs", self.runs.len()) };
        writeln!(f, "{}", fitted(&format!("{count}, {}", self.about()), columns(f)))?;
        let room = columns(f) - OTHERS.iter().map(|(_, width)| width).sum::<usize>();
        // The first figure goes before a long name.
        let name = self.name_width().min(room - FIGURE);
        let (shown, left_out) = self.attacks.split_at(self.attacks.len().min((room - name) / FIGURE));
        let heads = shown.iter().map(|column| format!("{:>FIGURE$}", fitted(&self.head(column), FIGURE - 2)));
        let others = OTHERS.map(|(head, width)| format!("{head:>width$}")).concat();
        writeln!(f, "{}", format!("{:<name$}{}{others}", "run", heads.collect::<String>()).trim_end())?;
        for run in &self.runs {
            self.run(f, run, shown, name)?;
        }
        self.legend(f, left_out)?;
        self.settings(f)?;
        for note in &self.notes {
            wrapped(f, "note: ", note)?;
        }
        self.to_judge(f)
    }
}

impl Comparison {
    /// Whose robust accuracy is not known, and the first command that would find one: in one line, to be copied.
    fn to_judge(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without: Vec<(&str, &String)> =
            self.runs.iter().filter_map(|run| Some((run.name.as_str(), run.to_judge.as_ref()?))).collect();
        let Some((_, command)) = without.first() else { return Ok(()) };
        let names: Vec<&str> = without.iter().map(|(name, _)| *name).collect();
        wrapped(f, "note: ", &format!("robust accuracy is not known of {}; to know it:", names.join(", ")))?;
        writeln!(f, "  {}", names::seen(command, ' '))
    }

    /// The ball of all attacks where it is one.
    fn about(&self) -> String {
        let mut balls = self.attacks.iter().filter_map(|column| column.against.as_ref());
        match balls.next() {
            Some(first) if balls.all(|ball| ball == first) => format!("{first}; accuracies in percent"),
            Some(_) => "several balls; accuracies in percent".into(),
            None => "accuracies in percent".into(),
        }
    }

    fn name_width(&self) -> usize {
        let longest = self.runs.iter().map(|run| run.name.chars().count()).max().unwrap_or(0);
        longest.clamp(NAME.0, NAME.1)
    }

    /// An attack's heading: with its radius where there are several.
    fn head(&self, column: &Column) -> String {
        let mark = if column.is_upper_bound { "<" } else { "" };
        let title = column.title();
        let is_alone = self.attacks.iter().filter(|other| other.title() == title).count() == 1;
        match &column.against {
            Some(against) if !is_alone => format!("{mark}{title} {}", against.eps),
            _ => format!("{mark}{title}"),
        }
    }

    /// A run: its figures, and below them their intervals and how many images they are of.
    fn run(&self, f: &mut fmt::Formatter<'_>, run: &Side, shown: &[Column], name: usize) -> fmt::Result {
        let cells = |cell: &dyn Fn(&Found) -> String| -> String {
            let of = |column| run.figure(column).map_or_else(String::new, cell);
            shown.iter().map(|column| format!("{:>FIGURE$}", of(column))).collect::<Vec<_>>().concat()
        };
        let figures: Vec<String> = shown
            .iter()
            .map(|column| {
                let found = run.figure(column);
                let figure = found.map_or_else(|| "-".into(), |found| format!("{:.2}", found.accuracy));
                format!("{figure:>FIGURE$}")
            })
            .collect();
        let figures = figures.concat();
        let worst = self.headline().and_then(|column| run.figure(column)?.worst_class.as_ref());
        let worst = worst.map_or_else(|| "-".into(), |worst| format!("{:.2}", worst.accuracy));
        let others = [worst, format!("{:.1}", run.minutes)];
        let others = OTHERS.iter().zip(others).map(|((_, width), cell)| format!("{cell:>width$}"));
        let line = format!("{:<name$}{figures}{}", fitted(&run.name, name), others.collect::<String>());
        writeln!(f, "{}", line.trim_end())?;
        let intervals = cells(&|found| {
            let [low, high] = found.interval_95;
            format!("{low:.1}-{high:.1}")
        });
        let images = cells(&|found| format!("of {}", with_commas(found.images.count as u64)));
        for line in [intervals, images].iter().filter(|line| !line.trim().is_empty()) {
            writeln!(f, "{}", format!("{:<name$}{line}", "").trim_end())?;
        }
        Ok(())
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>, left_out: &[Column]) -> fmt::Result {
        let worst = self.headline().map(|column| format!("worst: worst class under {}; ", column.attack));
        let bound = if self.attacks.iter().any(|column| column.is_upper_bound) {
            "<: upper bound of robust accuracy; "
        } else {
            ""
        };
        let legend = format!("{bound}{}minutes of training steps", worst.unwrap_or_default());
        wrapped(f, "", &legend)?;
        if !left_out.is_empty() {
            let names: Vec<String> = left_out.iter().map(|column| self.head(column)).collect();
            wrapped(f, "left out for width: ", &format!("{}; see --json", names.join(", ")))?;
        }
        Ok(())
    }

    fn settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nsettings that differ")?;
        for difference in &self.differences {
            let head = format!("  {:<16} ", difference.setting);
            // Beside the head, in its brackets.
            let room = columns(f).saturating_sub(head.chars().count() + 2).clamp(NAME.0, NAME.1);
            let chosen = self.runs.iter().zip(&difference.values).map(|(run, value)| {
                let value = value.as_ref().map_or("not set", String::as_str);
                format!("{} {}", value, bracketed(&run.name, room))
            });
            wrapped(f, &head, &chosen.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

fn bracketed(name: &str, room: usize) -> String {
    format!("({})", fitted(name, room))
}

/// Columns of a line.
fn columns(f: &fmt::Formatter<'_>) -> usize {
    f.width().unwrap_or(COLUMNS.0).max(COLUMNS.1)
}

/// Text in lines of so many columns, the first after `head` and the others below what follows it. A word that is
/// longer than a line stands in one of its own: commands are copied.
fn wrapped(f: &mut fmt::Formatter<'_>, head: &str, text: &str) -> fmt::Result {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    for word in names::seen(text, ' ').split_whitespace() {
        let is_fresh = line.chars().count() == indent;
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > columns(f) {
            writeln!(f, "{}", line.trim_end())?;
            line = " ".repeat(indent);
        } else if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(f, "{}", line.trim_end())
}

/// The text in so many columns, and free of what could move the cursor.
fn fitted(text: &str, most: usize) -> String {
    let text = names::seen(text, ' ');
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 2).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use method::threat::Norm;

    use super::*;
    use crate::account::Against;
    use crate::config::Layers;
    use crate::verb::compare::Difference;

    fn compared() -> Comparison {
        let against = Against { norm: Norm::Linf, eps: "8/255".into(), surrogate: None };
        let column = |attack: &str| Column {
            attack: attack.into(),
            against: (attack != "clean").then(|| against.clone()),
            is_upper_bound: attack.starts_with("pgd"),
            precision: None,
        };
        let mut layers = Layers::defaults();
        for (key, value) in [("data", "sample"), ("student", "tiny-cnn"), ("objective", "sat")] {
            layers.put("here", key, value).unwrap();
        }
        let run = Side {
            name: "a-run-with-a-name-of-some-length".into(),
            folder: "runs/a".into(),
            settings: layers.resolve().unwrap(),
            epochs: Some(1),
            loss: None,
            minutes: 12345.6,
            student_blake3: None,
            figures: Vec::new(),
            to_judge: None,
        };
        let attacks = ["clean", "autoattack", "pgd20", "pgd100"].map(column).into();
        let difference =
            Difference { setting: "lr".into(), values: vec![Some("0.1 0.2 0.3 0.4 0.5 0.6".into())] };
        let notes = vec!["one word and another word and another word and another word and another".into()];
        Comparison { attacks, runs: vec![run], differences: vec![difference], notes }
    }

    #[test]
    fn a_comparison_keeps_within_the_columns_that_it_has() {
        let compared = compared();
        for (columns, heads) in [(80, 2), (66, 1), (50, 1), (40, 1), (12, 1)] {
            let text = format!("{compared:columns$}");
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns.max(40), "{columns}: {text}");
            let line = text.lines().find(|line| line.starts_with("run")).unwrap();
            let shown =
                ["clean", "autoattack", "<pgd20", "<pgd100"].iter().filter(|&&head| line.contains(head));
            assert_eq!(shown.count(), heads, "{columns}: {text}");
            assert!(text.contains("left out for width: "), "{columns}: {text}");
        }
        assert_eq!(format!("{compared}"), format!("{compared:80}"));
    }
}
