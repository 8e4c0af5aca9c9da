//! A comparison for people: at most 80 columns.

use std::fmt;

use cli::with_commas;

use super::comparison::{Column, Comparison, Found, Side};

/// Width of a line.
const COLUMNS: usize = 80;
/// Columns that a run's name has at least, and at most.
const NAME: (usize, usize) = (10, 28);
/// Width of a figure with the gap before it: that of `100.0-100.0`, and two.
const FIGURE: usize = 13;
/// Width of the worst class's and the minutes' figures with their gaps.
const OTHERS: [(&str, usize); 2] = [("worst", 8), ("minutes", 9)];

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = if self.runs.len() == 1 { "1 run".into() } else { format!("{} runs", self.runs.len()) };
        writeln!(f, "{}", fitted(&format!("{count}, {}", self.about()), COLUMNS))?;
        let name = self.name_width();
        let room = COLUMNS - name - OTHERS.iter().map(|(_, width)| width).sum::<usize>();
        let (shown, left_out) = self.attacks.split_at(self.attacks.len().min(room / FIGURE));
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
        writeln!(f, "  {}", plain(command))
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
        let is_alone = self.attacks.iter().filter(|other| other.attack == column.attack).count() == 1;
        match &column.against {
            Some(against) if !is_alone => format!("{mark}{} {}", column.attack, against.eps),
            _ => format!("{mark}{}", column.attack),
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
            let chosen = self.runs.iter().zip(&difference.values).map(|(run, value)| {
                let value = value.as_ref().map_or("not set", String::as_str);
                format!("{} {}", value, bracketed(&run.name))
            });
            wrapped(f, &format!("  {:<16} ", difference.setting), &chosen.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

fn bracketed(name: &str) -> String {
    format!("({})", fitted(name, NAME.1))
}

/// Text in lines of at most 80 columns, the first after `head` and the others below what follows it. A word that is
/// longer than a line stands in one of its own: commands are copied.
fn wrapped(f: &mut fmt::Formatter<'_>, head: &str, text: &str) -> fmt::Result {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    for word in plain(text).split_whitespace() {
        let is_fresh = line.chars().count() == indent;
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > COLUMNS {
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
    let text = plain(text);
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 2).chain("..".chars()).collect()
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
