//! The charts of a run.

use page::{Bars, Html, Lines, Row, Series};

use super::Told;
use super::headline::published;
use super::measure::Measured;
use super::tables::measured_figures;
use crate::account::{Figure, Log};

/// Points of a line at most; more of them are means of neighbours.
const POINTS: usize = 400;
/// Classes that all have a bar; of more, those that are right least often.
const CLASSES: usize = 40;

/// Accuracy over the radius, as measured for the page and as evaluations in several balls say it.
pub(super) fn radii(told: &Told, measured: &Measured) -> Html {
    let name =
        if measured.is_upper_bound { format!("≤ {}", measured.attack) } else { measured.attack.clone() };
    let mut series = vec![radii_line(name, measured)];
    series.extend(standard_line(told));
    let trained = measured.radii.get(measured.whole);
    Lines {
        title: "accuracy over eps, %".into(),
        across: "eps".into(),
        unit: "%".into(),
        range: Some([0.0, 100.0]),
        ticks: radii_ticks(measured),
        marks: trained.map(|radius| (radius.eps.value(), "trained".into())).into_iter().collect(),
        series,
    }
    .draw()
}

/// The radii as they are written.
pub(super) fn radii_ticks(measured: &Measured) -> Vec<(f64, String)> {
    let radii = measured.radii.iter().map(|radius| (radius.eps.value(), radius.eps.to_string()));
    std::iter::once((0.0, "0".to_owned())).chain(radii).collect()
}

/// What was measured, as a line of this name.
pub(super) fn radii_line(name: String, measured: &Measured) -> Series {
    let mut line = Series { name, ..Series::default() };
    let clean = std::iter::once((0.0, &measured.clean));
    for (eps, score) in clean.chain(measured.radii.iter().map(|radius| (radius.eps.value(), &radius.score))) {
        line.points.push([eps, score.percent()]);
        line.intervals.push(score.interval());
    }
    line
}

/// What evaluations say may be published, in every ball that they were made in.
fn standard_line(told: &Told) -> Option<Series> {
    let figures = told.account.figures();
    let mut found: Vec<(f64, &Figure)> = figures
        .iter()
        .filter(|figure| figure.is_publishable())
        .filter_map(|figure| Some((figure.against.as_ref()?.linf_eps()?, figure)))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (_, first) = found.first()?;
    Some(Series {
        name: first.attack.clone(),
        points: found.iter().map(|(eps, figure)| [*eps, figure.score.percent()]).collect(),
        intervals: found.iter().map(|(_, figure)| figure.score.interval()).collect(),
    })
}

/// Loss by the step, the learning rate, and accuracy on the images that select the best epoch.
pub(super) fn training(log: &Log) -> Vec<Html> {
    let steps: Vec<[f64; 2]> = log.steps.iter().map(|line| [line.step as f64, line.loss]).collect();
    let epochs: Vec<[f64; 2]> = log.epochs.iter().map(|line| [line.step as f64, line.loss]).collect();
    let series = |name: &str, points| Series { name: name.into(), points, intervals: Vec::new() };
    let chart = |title: &str, across: &str, range, series: Vec<Series>| Lines {
        title: title.into(),
        across: across.into(),
        range,
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        ..Lines::default()
    };
    let judged = |of: fn(&crate::account::Judged) -> f64| -> Vec<[f64; 2]> {
        let known = log.epochs.iter().filter_map(|line| Some([line.epoch as f64, of(line.judged.as_ref()?)]));
        known.collect()
    };
    let on_test = log.epochs.iter().any(|line| line.judged.as_ref().is_some_and(|judged| judged.on_test));
    let on = if on_test { "test images" } else { "held-out images" };
    let mut charts = vec![
        chart("training loss", "step", None, vec![series("epoch", epochs), series("step", thinned(steps))])
            .draw(),
        chart(
            &format!("accuracy on {on}, %"),
            "epoch",
            Some([0.0, 100.0]),
            vec![
                series("clean", judged(|judged| judged.clean)),
                series("≤ pgd20", judged(|judged| judged.robust)),
            ],
        )
        .draw(),
        chart(
            "learning rate",
            "epoch",
            None,
            vec![series("", log.epochs.iter().map(|line| [line.epoch as f64, line.lr]).collect())],
        )
        .draw(),
    ];
    charts.retain(|chart| !chart.is_empty());
    charts
}

/// Means of neighbours, where there are more points than a line shows.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let each = points.len().div_ceil(POINTS).max(1);
    if each == 1 {
        return points;
    }
    let mean = |group: &[[f64; 2]]| {
        let of = |axis: usize| group.iter().map(|point| point[axis]).sum::<f64>() / group.len() as f64;
        [of(0), of(1)]
    };
    points.chunks(each).map(mean).collect()
}

/// Right answers by class: without an attack, and under the one that says most.
pub(super) fn classes(told: &Told) -> Html {
    let figures = told.account.figures();
    let own = told.measured.as_ref().map_or_else(|_| Vec::new(), |measured| measured_figures(told, measured));
    let attacked = |figures: &'_ [Figure]| figures.iter().find(|figure| figure.against.is_some()).cloned();
    // Evaluations have more images; both bars are of one source where they can be.
    let Some(robust) =
        published(told, &figures).cloned().or_else(|| attacked(&figures)).or_else(|| attacked(&own))
    else {
        return Html::none();
    };
    let clean = figures.iter().chain(&own).filter(|figure| figure.against.is_none());
    let clean = clean.max_by_key(|figure| (figure.file == robust.file, figure.score.images));
    let mut heads = vec!["clean".to_owned()];
    heads.push(if robust.is_upper_bound { format!("≤ {}", robust.attack) } else { robust.attack.clone() });
    let (hard, easy) = (robust.score.per_class(), clean.map(|figure| figure.score.per_class()));
    let of = |class: usize| easy.as_ref().and_then(|easy| easy.get(class).copied().flatten());
    let mut rows: Vec<Row> = robust
        .class_names
        .iter()
        .enumerate()
        .map(|(class, name)| Row { name: name.clone(), values: vec![of(class), hard[class]] })
        .collect();
    let all = rows.len();
    let mut about = format!(
        "Of {} images, {}.",
        robust.score.images,
        robust.against.as_ref().map_or_else(String::new, ToString::to_string)
    );
    if all > CLASSES {
        rows.sort_by(|a, b| a.values[1].unwrap_or(101.0).total_cmp(&b.values[1].unwrap_or(101.0)));
        rows.truncate(CLASSES);
        about = format!("{about} The {CLASSES} of {all} classes that are right least often.");
    }
    let bars = Bars { title: "right answers by class, %".into(), heads, most: 100.0, decimals: 1, rows };
    Html::side_by_side([bars.draw()]).and(Html::remark(about))
}
