//! What a run came to, at a glance. Robust accuracy is AutoAttack's or not known: no weaker attack stands in its place.

use page::{Html, Tile, percent, percent_interval};

use super::Told;
use super::tables::measured_figures;
use crate::account::Figure;

pub(super) fn of(told: &Told) -> Html {
    let account = &told.account;
    let config = &account.config;
    let figures = account.figures();
    let source = match (&config.labels, &config.teacher) {
        (Some(_), None) => " from cached labels",
        (None, Some(_)) => " beside its teacher",
        (Some(_), Some(_)) => " from cached labels and beside its teacher",
        (None, None) => "",
    };
    let sentence = format!(
        "{} trained by {}{source} on {}, {} epochs, eps {}.",
        config.student,
        config.objective,
        config.data,
        account.progress(),
        config.eps
    );
    let mut lead = Html::paragraph(sentence);
    let mut tiles = vec![clean(told, &figures), robust(told, &figures)];
    tiles.extend(worst(told, &figures));
    let minutes = account.log.seconds() / 60.0;
    tiles.push(Tile::new(
        "training",
        format!("{minutes:.1} min"),
        format!("{} steps", cli::with_commas(account.log.last_step())),
    ));
    lead.push(page::tiles(&tiles));
    if let Some(damage) = account.damage() {
        lead.push(Html::element("p", &[("class", "finding")], format!("{damage}.")));
    }
    let Some(command) = account.judge_command() else { return lead };
    if published(told, &figures).is_none() {
        lead.push(Html::missing(
            "Robust accuracy is what AutoAttack leaves, and no evaluation says it. Figures of other attacks only bound it from above.",
            command,
        ));
    }
    for evaluation in &account.judgements.evaluations {
        for finding in &evaluation.report.findings {
            let suite = finding.suite.as_ref().map_or_else(String::new, |suite| format!("{suite}: "));
            lead.push(Html::element("p", &[("class", "finding")], format!("{suite}{}", finding.text)));
        }
    }
    lead
}

/// What may be published as a run's robust accuracy: of the ball that it trained for.
pub(super) fn published<'a>(told: &Told, figures: &'a [Figure]) -> Option<&'a Figure> {
    let ball = told.account.ball();
    figures.iter().find(|figure| figure.is_publishable() && figure.against.as_ref() == Some(&ball))
}

fn clean(told: &Told, figures: &[Figure]) -> Tile {
    if let Some(figure) = figures.iter().find(|figure| figure.against.is_none()) {
        let about = format!(
            "{} of {} images",
            percent_interval(figure.score.interval()),
            cli::with_commas(figure.images.count as u64)
        );
        return Tile::new("clean accuracy", format!("{} %", percent(figure.score.percent())), about);
    }
    match &told.measured {
        Ok(measured) => {
            let score = &measured.clean;
            let about = format!("{} of {} images", percent_interval(score.interval()), score.images);
            Tile::new("clean accuracy", format!("{} %", percent(score.percent())), about)
        }
        Err(_) => Tile::new("clean accuracy", "–", "not measured"),
    }
}

fn robust(told: &Told, figures: &[Figure]) -> Tile {
    let name = format!("robust accuracy, {}", told.account.ball());
    if let Some(figure) = published(told, figures) {
        let interval = percent_interval(figure.score.interval());
        let about = format!(
            "{interval} of {} images, {}",
            cli::with_commas(figure.images.count as u64),
            figure.attack
        );
        return Tile::new(name, format!("{} %", percent(figure.score.percent())), about);
    }
    let own = told.measured.as_ref().map_or_else(|_| Vec::new(), |measured| measured_figures(told, measured));
    let ball = told.account.ball();
    let of_ball = figures.iter().chain(&own).filter(|figure| figure.against.as_ref() == Some(&ball));
    if let Some(figure) = of_ball.max_by_key(|figure| figure.score.images) {
        let (percentage, images) =
            (percent(figure.score.percent()), cli::with_commas(figure.score.images as u64));
        return if figure.is_upper_bound {
            let about = format!("at most {percentage} %: {} on {images} images", figure.attack);
            Tile::new(name, "not known", about)
        } else {
            let about = format!(
                "{} of {images} images, {}",
                percent_interval(figure.score.interval()),
                figure.attack
            );
            Tile::new(name, format!("{percentage} %"), about)
        };
    }
    Tile::new(name, "not known", "not measured")
}

fn worst(told: &Told, figures: &[Figure]) -> Option<Tile> {
    let figure = published(told, figures)?;
    let (class, percentage) = figure.worst_class()?;
    Some(Tile::new("worst class, robust", format!("{} %", percent(percentage)), class))
}
