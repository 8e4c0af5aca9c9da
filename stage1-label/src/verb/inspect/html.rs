//! What is found of label sets as a page: the card of one, or several beside each other.

use std::path::Path;

use labels::Robust;
use page::{Bars, Cell, Histogram, Html, Page, Row, Table, Tile, facts, percent};

use super::Summary;
use super::comparison::{Comparison, Side, Student, letter};
use crate::{Error, Result};

/// Classes that all have a bar; of more, those that are right least often.
const CLASSES: usize = 40;

/// Refuses a place where no page can be written, or where something lies that is none, before any row is read.
pub(super) fn refuse_place(path: &Path) -> Result<()> {
    if page::is_free(path).map_err(cli::Error::io("write", path))? {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("--html {}: a file is there that is no page of this program", path.display()),
        hint: "choose another name; only an earlier page is written over".into(),
    })
}

/// Writes a page, whole or not at all.
pub(super) fn write(path: &Path, page: &Page) -> Result<()> {
    Ok(page::write(path, &page.finish()).map_err(cli::Error::io("write", path))?)
}

fn page(title: String) -> Page {
    let commit = cli::build::commit().map_or_else(String::new, |commit| format!(" of {commit}"));
    let version = cli::build::VERSION;
    Page::new(
        title,
        format!("Written by label inspect {version}{commit}. This file loads nothing from anywhere."),
    )
}

/// The card of one label set.
pub(super) fn card(summary: &Summary) -> Page {
    let card = &summary.card;
    let mut page =
        page(format!("{} on {} ({}): label set", card.teacher.architecture, card.dataset, card.split));
    page.lead(tiles(summary));
    page.section("Label set", facts(summary.facts.iter().map(|(name, value)| (*name, value.clone()))));
    page.section("How sure the teacher is", certainty(summary));
    page.section("Classes", classes(summary));
    page
}

fn tiles(summary: &Summary) -> Html {
    let rows = |count| format!("of {} rows", cli::with_commas(count));
    let mut tiles =
        vec![Tile::new("right answers", format!("{} %", percent(summary.accuracy)), rows(summary.card.rows))];
    if let Some(clean) = summary.clean {
        tiles.push(Tile::new(
            "right on untouched images",
            format!("{} %", percent(clean)),
            rows(summary.clean_rows),
        ));
    }
    if let Some(Robust { attack, norm, eps, images, right, .. }) = &summary.robust {
        let share = 100.0 * *right as f64 / (*images).max(1) as f64;
        let about = format!("{right} of {images} images by {attack}, {norm} {eps}");
        tiles.push(Tile::new("right under attack", format!("{} %", percent(share)), about));
    }
    let about = format!("{:.3} of the answer on average", summary.mean_confidence);
    tiles.push(Tile::new(
        "probability of the label",
        format!("{:.3}", summary.mean_label_probability),
        about,
    ));
    page::tiles(&tiles)
}

fn certainty(summary: &Summary) -> Html {
    let most = (summary.card.num_classes as f64).ln();
    let histogram = |title: &str, across: &str, most, counts: &[u64]| {
        Histogram { title: title.into(), across: across.into(), range: [0.0, most], counts: counts.into() }
            .draw()
    };
    let charts = [
        histogram("entropy of the softmax, share of rows", "nats", most, &summary.entropy_histogram),
        histogram(
            "probability of the answer, share of rows",
            "probability",
            1.0,
            &summary.confidence_histogram,
        ),
    ];
    let about = format!(
        "Entropy {:.3} nats on average, of {most:.3} at most; logits from {} to {}.",
        summary.mean_entropy, summary.smallest_logit, summary.largest_logit
    );
    Html::side_by_side(charts).and(Html::remark(about))
}

fn classes(summary: &Summary) -> Html {
    let all = summary.classes.len();
    let mut shown: Vec<_> = summary.classes.iter().collect();
    let mut part = Html::none();
    if all > CLASSES {
        shown.sort_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
        shown.truncate(CLASSES);
        part = Html::remark(format!("The {CLASSES} of {all} classes that are right least often."));
    }
    let rows = shown.iter().map(|class| Row { name: class.name.clone(), values: vec![Some(class.accuracy)] });
    let title = "right answers by class, %".into();
    let bars = Bars { title, heads: vec!["right".into()], most: 100.0, decimals: 2, rows: rows.collect() };
    let mut table =
        Table::new("right answers by class, in percent").text("class").number("rows").number("right");
    for class in &summary.classes {
        table.row([
            Cell::Text(class.name.clone()),
            Cell::Number(cli::with_commas(class.rows)),
            Cell::Number(percent(class.accuracy)),
        ]);
    }
    Html::side_by_side([bars.draw()]).and(part).and(Html::folded("every class as a table", table.draw()))
}

/// A figure of label sets that are compared: its name, what a whole bar stands for, decimals, and the value.
type Measure<'a> = (&'a str, Option<f64>, usize, &'a dyn Fn(&Side) -> Option<f64>);

/// Several label sets beside each other.
pub(super) fn comparison(found: &Comparison) -> Page {
    let mut page = page(format!("{} ({}): {} label sets", found.dataset, found.split, found.sets.len()));
    page.lead(Html::paragraph(format!(
        "On the {} rows that all of them hold, {} of them untouched images.",
        cli::with_commas(found.rows),
        cli::with_commas(found.clean_rows)
    )));
    let attacked =
        |side: &Side| side.robust.as_ref().map(|robust| 100.0 * robust.right as f64 / robust.images as f64);
    let measures: [Measure; 7] = [
        ("right, %", Some(100.0), 2, &|side| Some(side.accuracy)),
        ("right under attack, %", Some(100.0), 2, &attacked),
        ("worst class, %", Some(100.0), 2, &|side| Some(side.worst_class.accuracy)),
        ("entropy, nats", None, 3, &|side| Some(side.mean_entropy)),
        ("entropy where others are wrong, nats", None, 3, &|side| side.hard_entropy),
        ("confidence where wrong", Some(1.0), 3, &|side| side.wrong_confidence),
        ("calibration error (ECE)", None, 4, &|side| Some(side.calibration_error)),
    ];
    let charts = measures.iter().map(|(title, most, decimals, value)| {
        let rows: Vec<Row> = found
            .sets
            .iter()
            .enumerate()
            .map(|(place, side)| Row { name: name(found, place), values: vec![value(side)] })
            .collect();
        let largest = rows.iter().filter_map(|row| row.values[0]).fold(f64::MIN_POSITIVE, f64::max);
        let most = most.unwrap_or(largest);
        Bars { title: (*title).into(), heads: vec![String::new()], most, decimals: *decimals, rows }.draw()
    });
    page.section("Label sets", sets(found, &measures).and(Html::side_by_side(charts)));
    if !found.pairs.is_empty() {
        page.section("How far apart they are", pairs(found));
    }
    if let Some(student) = &found.student {
        page.section("Beside a student", beside(found, student));
    }
    page
}

/// What a set is called: its letter, as in the text, and the last part of its folder.
fn name(found: &Comparison, place: usize) -> String {
    let dir = &found.sets[place].dir;
    let last = Path::new(dir).file_name().and_then(|name| name.to_str()).unwrap_or(dir);
    format!("{} {last}", letter(place))
}

fn sets(found: &Comparison, measures: &[Measure]) -> Html {
    let mut table = Table::new("figures of each label set").text("label set").text("teacher").text("views");
    for (title, ..) in measures {
        table = table.number(*title);
    }
    for (place, side) in found.sets.iter().enumerate() {
        let mut cells = vec![
            Cell::Text(name(found, place)),
            Cell::Text(side.teacher.clone()),
            Cell::Text(format!("{} of {}", side.views, side.augment)),
        ];
        for (_, _, decimals, value) in measures {
            cells
                .push(value(side).map_or(Cell::Nothing, |value| Cell::Number(format!("{value:.decimals$}"))));
        }
        table.row(cells);
    }
    table.draw()
}

fn pairs(found: &Comparison) -> Html {
    let mut table = Table::new("agreement in percent, mean KL in nats")
        .text("first")
        .text("second")
        .number("agreement")
        .number("KL(first || second)")
        .number("KL(second || first)");
    for pair in &found.pairs {
        let [first, second] = pair.sets.map(|place| Cell::Text(name(found, place)));
        let [kl, kl_back] = [pair.kl, pair.kl_back].map(|kl| Cell::Number(format!("{kl:.4}")));
        table.row([first, second, Cell::Number(percent(pair.agreement)), kl, kl_back]);
    }
    table.draw()
}

fn beside(found: &Comparison, student: &Student) -> Html {
    let Student { file, architecture, images, accuracy, gaps } = student;
    let about = format!("{file}: {architecture}, right on {accuracy:.2} % of the {images} untouched images.");
    let mut table = Table::new("how far the student is from each teacher, on untouched images")
        .text("label set")
        .number("KL(teacher || student), nats")
        .number("agreement, %")
        .number("teacher right, student wrong");
    for (place, gap) in gaps.iter().enumerate() {
        table.row([
            Cell::Text(name(found, place)),
            Cell::Number(format!("{:.4}", gap.kl)),
            Cell::Number(percent(gap.agreement)),
            Cell::Number(cli::with_commas(gap.lost)),
        ]);
    }
    Html::paragraph(about).and(table.draw())
}
