//! Several runs beside each other: the figures that compare, with their intervals, and the settings that do not.

use page::{Cell, Html, Interval, Intervals, Lines, Series, Table, percent};

use super::{Told, charts};
use crate::account::Account;
use crate::verb::compare::{Column, Comparison, Side};

/// Headings and what stands under them.
pub(super) fn of(told: &[Told]) -> Vec<(&'static str, Html)> {
    let accounts: Vec<&Account> = told.iter().map(|told| &told.account).collect();
    let comparison = Comparison::of(&accounts);
    let mut parts = vec![("Comparison", figures(&comparison))];
    parts.push(("Curves", Html::side_by_side([losses(&accounts), judged(&accounts), radii(told)])));
    if !comparison.differences.is_empty() {
        parts.push(("Settings that differ", settings(&comparison)));
    }
    parts
}

fn figures(comparison: &Comparison) -> Html {
    let charts = comparison.attacks.iter().map(|column| {
        let row = |(look, run): (usize, &Side)| {
            let found = run.figure(column)?;
            Some(Interval { name: run.name.clone(), value: found.accuracy, ends: found.interval_95, look })
        };
        let rows = comparison.runs.iter().enumerate().filter_map(row).collect();
        Intervals { title: head(comparison, column), range: [0.0, 100.0], rows }.draw()
    });
    let notes = comparison.notes.iter().map(Html::paragraph);
    Html::side_by_side(charts).and(table(comparison)).and(notes.collect::<Html>())
}

/// An attack's name as a heading: whether it is a bound, and its ball.
fn head(comparison: &Comparison, column: &Column) -> String {
    let mark = if column.is_upper_bound { "≤ " } else { "" };
    let title = column.title();
    let is_alone = comparison.attacks.iter().filter(|other| other.title() == title).count() == 1;
    match &column.against {
        Some(against) if !is_alone => format!("{mark}{title}, {against}, %"),
        _ => format!("{mark}{title}, %"),
    }
}

fn table(comparison: &Comparison) -> Html {
    let mut table = Table::new(
        "accuracy in percent with Wilson's 95 % intervals; ≤ marks upper bounds of robust accuracy",
    )
    .text("run");
    for column in &comparison.attacks {
        table = table.number(head(comparison, column)).number("interval").number("images");
    }
    table = table.number("worst class").number("minutes");
    for run in &comparison.runs {
        let mut cells = vec![Cell::Text(run.name.clone())];
        for column in &comparison.attacks {
            match run.figure(column) {
                Some(found) => cells.extend([
                    if column.is_upper_bound {
                        Cell::Number(percent(found.accuracy))
                    } else {
                        Cell::Strong(percent(found.accuracy))
                    },
                    Cell::Number(interval(found.interval_95)),
                    Cell::Number(cli::with_commas(found.images.count as u64)),
                ]),
                None => cells.extend([Cell::Nothing, Cell::Nothing, Cell::Nothing]),
            }
        }
        let worst = comparison.headline().and_then(|column| run.figure(column)?.worst_class.as_ref());
        cells.push(worst.map_or(Cell::Nothing, |worst| Cell::Number(percent(worst.accuracy))));
        cells.push(Cell::Number(format!("{:.1}", run.minutes)));
        table.row(cells);
    }
    table.draw()
}

/// In few digits: the table has many columns, and the runs' own tables have the others.
fn interval([low, high]: [f64; 2]) -> String {
    format!("{low:.1} to {high:.1}")
}

fn chart(title: &str, across: &str, range: Option<[f64; 2]>, lines: Vec<Series>) -> Html {
    let (title, across) = (title.into(), across.into());
    Lines { title, across, range, series: lines, ..Lines::default() }.draw()
}

/// A line for each run, in the order of the runs so that a run looks the same everywhere.
fn each<'a>(accounts: &[&'a Account], points: impl Fn(&'a Account) -> Vec<[f64; 2]>) -> Vec<Series> {
    let line = |account: &&'a Account| Series {
        name: account.name.clone(),
        points: points(account),
        intervals: Vec::new(),
    };
    accounts.iter().map(line).collect()
}

/// Objectives have losses of their own; those of one objective compare.
fn losses(accounts: &[&Account]) -> Html {
    let objective = &accounts[0].config.objective;
    let is_one = accounts.iter().all(|account| account.config.objective == *objective);
    let title =
        if is_one { "mean loss of an epoch" } else { "mean loss of an epoch, each its objective's own" };
    let points =
        |account: &Account| account.log.epochs.iter().map(|line| [line.epoch as f64, line.loss]).collect();
    chart(title, "epoch", None, each(accounts, points))
}

fn judged(accounts: &[&Account]) -> Html {
    let points = |account: &Account| {
        let known = account.log.epochs.iter();
        known.filter_map(|line| Some([line.epoch as f64, line.judged.as_ref()?.robust])).collect()
    };
    chart("≤ pgd20 on the selecting images, %", "epoch", Some([0.0, 100.0]), each(accounts, points))
}

fn radii(told: &[Told]) -> Html {
    let line = |told: &Told| match &told.measured {
        Ok(measured) => charts::radii_line(told.account.name.clone(), measured),
        Err(_) => Series { name: told.account.name.clone(), ..Series::default() },
    };
    let measured: Vec<_> = told.iter().filter_map(|told| told.measured.as_ref().ok()).collect();
    let Some(first) = measured.first() else { return Html::none() };
    let mark = if first.is_upper_bound { "≤ " } else { "" };
    let title = format!("{mark}{} over eps, {} images, %", first.attack, first.clean.images);
    let ticks = charts::radii_ticks(first);
    let is_one = measured.iter().all(|other| charts::radii_ticks(other) == ticks);
    Lines {
        title,
        across: "eps".into(),
        range: Some([0.0, 100.0]),
        ticks: if is_one { ticks } else { Vec::new() },
        series: told.iter().map(line).collect(),
        ..Lines::default()
    }
    .draw()
}

fn settings(comparison: &Comparison) -> Html {
    let mut table = Table::new("as each run's record has them").text("setting");
    for run in &comparison.runs {
        table = table.text(&run.name);
    }
    for difference in &comparison.differences {
        let values = difference.values.iter().map(|value| value.clone().map_or(Cell::Nothing, Cell::Text));
        table.row(std::iter::once(Cell::Text(difference.setting.clone())).chain(values));
    }
    table.draw()
}
