//! The runs of a sweep beside each other: means over seeds, for people in the columns that there are, for Markdown and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::file::Planned;
use super::outcome::Figures;
use crate::config::Config;
use crate::error::RunError;

/// Width of a line.
const COLUMNS: usize = 80;
/// Columns that a run's name has at least.
const NAME: usize = 14;

/// All runs, and what those that differ in the seed alone came to together.
#[derive(Serialize)]
pub struct Table {
    /// Attacks and suites that judged, `clean` first.
    pub attacks: Vec<String>,
    /// Runs that differ in nothing but the seed, with their means.
    pub groups: Vec<Group>,
    /// Every run.
    pub runs: Vec<Row>,
}

/// One run.
#[derive(Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The same without the seed.
    pub group: String,
    /// Its folder.
    pub folder: String,
    /// Its settings.
    pub settings: Config,
    /// How it was judged; none of a run that failed.
    pub figures: Option<Figures>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Runs of one kind: those that failed are not counted.
#[derive(Serialize)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many seeds.
    pub seeds: usize,
    /// The precisions that they were judged in; nothing where all were in f32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub precisions: Vec<String>,
    /// Right answers in percent, keyed by attack.
    pub accuracy: BTreeMap<String, Spread>,
    /// Right answers of the class that has fewest, in percent, keyed likewise.
    pub worst_class: BTreeMap<String, Spread>,
    /// Minutes of training steps.
    pub minutes: Spread,
    /// Images that a teacher was asked about.
    pub teacher_forwards: Spread,
}

/// A mean, and how far seeds lie from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of a sample (by n - 1); none of one seed.
    pub standard_deviation: Option<f64>,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, standard_deviation: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) }
    }
}

impl Row {
    pub(super) fn of(planned: &Planned, folder: &Path, found: Result<Figures, RunError>) -> Self {
        let (figures, error) = match found {
            Ok(figures) => (Some(figures), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            name: planned.name.clone(),
            group: planned.group.clone(),
            folder: folder.display().to_string(),
            settings: planned.config.clone(),
            figures,
            error,
        }
    }
}

impl Table {
    pub(super) fn of(runs: Vec<Row>) -> Self {
        let attacks =
            runs.iter().find_map(|row| Some(row.figures.as_ref()?.attacks.clone())).unwrap_or_default();
        let mut groups: Vec<Group> = Vec::new();
        for row in &runs {
            if groups.iter().all(|group| group.name != row.group) {
                groups.extend(Group::of(&row.group, &runs));
            }
        }
        Self { attacks, groups, runs }
    }

    /// How many runs failed.
    pub fn failed(&self) -> usize {
        self.runs.iter().filter(|row| row.error.is_some()).count()
    }

    /// The attack that was asked for last: the strongest, as people write them.
    fn last(&self) -> &str {
        self.attacks.last().map_or("clean", String::as_str)
    }

    /// On how many images of what, and for which eps; nothing where nothing was judged.
    fn about(&self) -> Option<String> {
        let figures = self.runs.iter().find_map(|row| row.figures.as_ref())?;
        let eps = figures.eps.as_ref().map_or_else(String::new, |eps| format!(", eps {eps}"));
        Some(format!("{} images of {}{eps}; accuracies in percent", figures.images, figures.split))
    }

    /// The table as Markdown: every attack, each mean with its deviation.
    pub fn markdown(&self) -> String {
        let cell = |spread: &Spread| match spread.standard_deviation {
            Some(deviation) => format!("{:.2} ± {deviation:.2}", spread.mean),
            None => format!("{:.2}", spread.mean),
        };
        let plain = |cell: &String| names::seen(cell, ' ').replace('|', "\\|");
        let line =
            |cells: &[String]| format!("| {} |\n", cells.iter().map(plain).collect::<Vec<_>>().join(" | "));
        let mut heads = vec!["run".to_owned(), "seeds".into()];
        heads.extend(self.attacks.iter().cloned());
        heads.extend([format!("worst class, {}", self.last()), "minutes".into(), "teacher forwards".into()]);
        let rule = format!("|{}\n", "---|".repeat(heads.len()));
        let rows = self.groups.iter().map(|group| {
            let mut cells = vec![group.title(usize::MAX), group.seeds.to_string()];
            cells.extend(self.attacks.iter().map(|attack| cell(&group.accuracy[attack])));
            cells.extend([
                cell(&group.worst_class[self.last()]),
                cell(&group.minutes),
                cli::with_commas(group.teacher_forwards.mean.round() as u64),
            ]);
            line(&cells)
        });
        let about = self.about().map(|about| format!("{about}\n\n"));
        let lesser = self.lesser().map(|text| format!("\n{text}\n"));
        let failures = self.failures().map(|(name, why)| format!("\n{name} failed: {why}\n"));
        about.into_iter().chain([line(&heads), rule]).chain(rows).chain(lesser).chain(failures).collect()
    }

    /// What is to be said of verdicts in a lesser precision; nothing where there are none.
    fn lesser(&self) -> Option<&'static str> {
        let any = self.groups.iter().any(|group| !group.precisions.is_empty());
        any.then_some("in brackets: the precision of attacks; what they leave is an upper bound")
    }

    /// Runs that failed, each with the first line of why.
    fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.runs.iter().filter_map(|row| {
            let error = row.error.as_ref()?;
            Some((row.name.as_str(), error.lines().next().unwrap_or_default()))
        })
    }
}

impl Group {
    /// The runs of a group that have figures; none where none has.
    fn of(name: &str, runs: &[Row]) -> Option<Self> {
        let done: Vec<&Figures> =
            runs.iter().filter(|row| row.group == name).filter_map(|row| row.figures.as_ref()).collect();
        let first = done.first()?;
        let spread = |value: &dyn Fn(&Figures) -> f64| {
            Spread::of(&done.iter().map(|figures| value(figures)).collect::<Vec<_>>())
        };
        let by_attack = |of: &dyn Fn(&Figures) -> &BTreeMap<String, f64>| {
            let keys = of(first).keys();
            keys.map(|attack| (attack.clone(), spread(&|figures| of(figures)[attack]))).collect()
        };
        let precision = |figures: &&Figures| figures.precision.clone().unwrap_or_else(|| "f32".into());
        let mut precisions: Vec<String> = done.iter().map(precision).collect();
        precisions.sort();
        precisions.dedup();
        precisions.retain(|_| done.iter().any(|figures| figures.precision.is_some()));
        Some(Self {
            name: name.into(),
            seeds: done.len(),
            precisions,
            accuracy: by_attack(&|figures| &figures.accuracy),
            worst_class: by_attack(&|figures| &figures.worst_class),
            minutes: spread(&|figures| figures.trained.minutes),
            teacher_forwards: spread(&|figures| figures.trained.teacher_forwards as f64),
        })
    }
}

impl Group {
    /// Its name in at most so many characters, with the precisions of its verdicts where any is lesser than f32.
    fn title(&self, most: usize) -> String {
        if self.precisions.is_empty() {
            return cut(&self.name, most);
        }
        let precisions = format!(" ({})", self.precisions.join(", "));
        format!("{}{precisions}", cut(&self.name, most.saturating_sub(precisions.chars().count()).max(2)))
    }
}

/// A column of the table for people: its heading, and how a group fills it.
struct Column<'a> {
    head: &'a str,
    value: Box<dyn Fn(&Group) -> Spread + 'a>,
    decimals: usize,
}

impl Column<'_> {
    fn width(&self) -> usize {
        2 + self.head.len().max(7)
    }
}

/// Columns of a line.
fn room(f: &fmt::Formatter<'_>) -> usize {
    f.width().unwrap_or(COLUMNS)
}

impl fmt::Display for Table {
    /// As wide as the formatter says, 80 columns where it does not: where attacks are too many, those in the middle are left
    /// to the other forms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(about) = self.about() {
            writeln!(f, "{about}")?;
            self.body(f)?;
        }
        for (name, why) in self.failures() {
            let line: String = format!("{name} failed: {why}").chars().take(room(f)).collect();
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Table {
    fn body(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attack = |name| {
            let value = move |group: &Group| group.accuracy[name];
            Column { head: name, value: Box::new(value), decimals: 2 }
        };
        let mut columns: Vec<Column> = self.attacks.iter().map(String::as_str).map(attack).collect();
        let last = self.last();
        columns.push(Column { head: "worst", value: Box::new(|group| group.worst_class[last]), decimals: 2 });
        columns.push(Column { head: "minutes", value: Box::new(|group| group.minutes), decimals: 1 });
        columns.push(Column {
            head: "teacher",
            value: Box::new(|group| group.teacher_forwards),
            decimals: 0,
        });
        let wide = |columns: &[Column]| columns.iter().map(Column::width).sum::<usize>() + NAME + 3;
        let mut left_out = Vec::new();
        while wide(&columns) > room(f) && columns.len() > 5 {
            left_out.push(columns.remove(columns.len() - 5).head);
        }
        let longest =
            self.groups.iter().map(|group| group.title(usize::MAX).chars().count()).max().unwrap_or(0);
        let name = longest.clamp(3, (room(f) + NAME).saturating_sub(wide(&columns)).max(NAME));
        let line = |first: &str, seeds: &str, cells: &[String]| {
            let cells = columns.iter().zip(cells).map(|(column, cell)| format!("{cell:>0$}", column.width()));
            let shown = cut(first, name);
            format!("{shown:<name$}{seeds:>3}{}", cells.collect::<String>()).trim_end().to_owned()
        };
        let heads: Vec<String> = columns.iter().map(|column| column.head.into()).collect();
        writeln!(f, "{}", line("run", "n", &heads))?;
        for group in &self.groups {
            let cells = columns.iter().map(|column| {
                let mean = (column.value)(group).mean;
                if column.head == "teacher" { short(mean) } else { format!("{mean:.0$}", column.decimals) }
            });
            writeln!(
                f,
                "{}",
                line(&group.title(name), &group.seeds.to_string(), &cells.collect::<Vec<_>>())
            )?;
            if group.seeds > 1 {
                let cells = columns.iter().map(|column| match (column.value)(group).standard_deviation {
                    Some(deviation) if column.decimals > 0 => format!("±{deviation:.0$}", column.decimals),
                    _ => String::new(),
                });
                writeln!(f, "{}", line("", "", &cells.collect::<Vec<_>>()))?;
            }
        }
        writeln!(f, "n: seeds, ±: their standard deviation; worst: worst class under {last};")?;
        writeln!(f, "minutes of training steps; teacher: images that a teacher was asked about")?;
        if let Some(text) = self.lesser() {
            writeln!(f, "{text}")?;
        }
        if !left_out.is_empty() {
            writeln!(f, "left out for width: {}; see table.md", left_out.join(", "))?;
        }
        Ok(())
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most - 2).chain("..".chars()).collect()
}

/// A count in at most six characters.
fn short(count: f64) -> String {
    match count {
        1e9.. => format!("{:.1}G", count / 1e9),
        1e6.. => format!("{:.1}M", count / 1e6),
        1e4.. => format!("{:.1}k", count / 1e3),
        count => format!("{count:.0}"),
    }
}

#[cfg(test)]
mod tests;
