//! The tables of a run.

use cli::with_commas;
use page::{Cell, Html, Table, percent, percent_interval, significant};

use super::Told;
use super::measure::Measured;
use crate::account::{Figure, Log};

/// What evaluations found, and what was measured for the page; nothing where neither is there.
pub(super) fn evaluation(told: &Told) -> Html {
    let mut table = Table::new("accuracy in percent")
        .text("attack")
        .number("accuracy")
        .number("95 % interval")
        .number("images")
        .number("worst class")
        .text("")
        .text("ball")
        .text("what it is")
        .text("from");
    let figures = told.account.figures();
    for figure in &figures {
        table.row(row(figure));
    }
    if let Ok(measured) = &told.measured {
        for figure in measured_figures(told, measured) {
            table.row(row(&figure));
        }
    }
    if table.is_empty() { Html::none() } else { table.draw() }
}

fn row(figure: &Figure) -> Vec<Cell> {
    let score = &figure.score;
    let accuracy = percent(score.percent());
    let mut what = match (&figure.against, figure.is_upper_bound) {
        (None, _) => "no attack",
        (Some(_), false) => "robust accuracy",
        (Some(_), true) => "upper bound",
    }
    .to_owned();
    what.extend(figure.precision.iter().map(|precision| format!(", in {precision}")));
    let (worst, class) =
        figure.worst_class().map_or((Cell::Nothing, String::new()), |(class, percentage)| {
            (Cell::Number(percent(percentage)), class.to_owned())
        });
    let is_strong = figure.is_publishable();
    vec![
        Cell::Text(figure.attack.clone()),
        if is_strong { Cell::Strong(accuracy) } else { Cell::Number(accuracy) },
        Cell::Number(percent_interval(score.interval())),
        Cell::Number(with_commas(score.images as u64)),
        worst,
        Cell::Text(class),
        Cell::Text(figure.against.as_ref().map_or_else(String::new, ToString::to_string)),
        Cell::Text(what),
        if figure.file.as_os_str().is_empty() {
            Cell::Text("this page".into())
        } else {
            Cell::Code(figure.file.file_name().unwrap_or_default().to_string_lossy().into_owned())
        },
    ]
}

/// What was measured for the page in the run's ball, as evaluations say such things.
pub(super) fn measured_figures(told: &Told, measured: &Measured) -> Vec<Figure> {
    let figure =
        |attack: &str, against: Option<crate::account::Against>, score: &method::eval::Score| Figure {
            attack: attack.into(),
            is_upper_bound: measured.is_upper_bound && against.is_some(),
            precision: measured.precision.clone().filter(|_| against.is_some()),
            against,
            score: score.clone(),
            class_names: measured.class_names.clone(),
            images: crate::account::Images {
                data_blake3: String::new(),
                split: "test".into(),
                count: score.images,
            },
            file: std::path::PathBuf::new(),
        };
    let mut figures = vec![figure("clean", None, &measured.clean)];
    let whole = measured.radii.get(measured.whole);
    figures.extend(whole.map(|radius| figure(&measured.attack, Some(told.account.ball()), &radius.score)));
    figures
}

/// Accuracy by the radius.
pub(super) fn radii(measured: &Measured) -> Html {
    let mut table = Table::new(format!("accuracy in percent by {}", measured.attack))
        .text("eps")
        .number("accuracy")
        .number("95 % interval");
    let clean = std::iter::once(("0".to_owned(), &measured.clean));
    for (eps, score) in
        clean.chain(measured.radii.iter().map(|radius| (radius.eps.to_string(), &radius.score)))
    {
        table.row([
            Cell::Text(eps),
            Cell::Number(percent(score.percent())),
            Cell::Number(percent_interval(score.interval())),
        ]);
    }
    table.draw()
}

/// What each epoch came to.
pub(super) fn epochs(log: &Log) -> Html {
    let mut table = Table::new("epochs: mean loss, learning rate, seconds of steps, accuracies in percent")
        .text("epoch")
        .number("loss")
        .number("rate")
        .number("seconds")
        .number("clean")
        .number("pgd20");
    for line in &log.epochs {
        let judged = |of: fn(&crate::account::Judged) -> f64| {
            line.judged.as_ref().map_or(Cell::Nothing, |judged| Cell::Number(percent(of(judged))))
        };
        table.row([
            Cell::Text(line.epoch.to_string()),
            Cell::Number(format!("{:.4}", line.loss)),
            Cell::Number(significant(line.lr, 4)),
            Cell::Number(format!("{:.1}", line.seconds)),
            judged(|judged| judged.clean),
            judged(|judged| judged.robust),
        ]);
    }
    table.draw()
}
