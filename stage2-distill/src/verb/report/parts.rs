//! The sections of one run, each with what it shows or with what to run for it.

use page::{Html, facts, significant};
use serde_json::Value;

use super::{Told, card, charts, gallery, missing, tables};
use crate::config::{SETTINGS, own_choices};

/// Headings and what stands under them.
pub(super) fn of(told: &Told) -> Vec<(&'static str, Html)> {
    let account = &told.account;
    let mut parts = vec![("Evaluation", evaluation(told))];
    parts.push(("Accuracy against eps", against_eps(told)));
    parts.push(("Training", training(told)));
    parts.push(("Classes", classes(told)));
    parts.push(("What fools it", gallery::of(told)));
    parts.push(("Configuration", configuration(told)));
    parts.push(("Label set", card::of(account)));
    parts.push(("Environment", environment(told)));
    parts
}

fn evaluation(told: &Told) -> Html {
    let account = &told.account;
    let mut part = tables::evaluation(told);
    if part.is_empty() {
        part = missing("Nobody has judged this student yet.", account.judge_command().as_deref());
    } else {
        part.push(Html::remark(
            "Intervals are Wilson's of 95 %: what so many images can tell of endless ones. Robust accuracy is what the standard evaluation leaves; every other attack is an upper bound of it.",
        ));
    }
    for file in &account.judgements.of_others {
        part.push(Html::remark(format!("{} is of other weights and left out.", file.display())));
    }
    for file in &account.judgements.damaged {
        part.push(Html::remark(format!("{}: a damaged evaluation, left out.", file.display())));
    }
    part
}

fn against_eps(told: &Told) -> Html {
    match &told.measured {
        Ok(measured) => {
            let bound = if measured.is_upper_bound { ": upper bounds of robust accuracy" } else { "" };
            let about = format!(
                "Measured for this page by {} on the first {} test images of {}{bound}. An image that fell in a ball counts as fallen in larger ones.",
                measured.attack, measured.clean.images, measured.data
            );
            let charts = Html::side_by_side([charts::radii(told, measured), tables::radii(measured)]);
            charts.and(Html::remark(about))
        }
        Err(why) => missing(&why.what, why.command.as_deref()),
    }
}

fn training(told: &Told) -> Html {
    let account = &told.account;
    if account.log.is_empty() {
        if account.epochs_done().is_none() {
            return Html::paragraph(
                account.lacks().map_or_else(String::new, |what| format!("{}: {what}.", account.name)),
            );
        }
        let run = cli::quoted(&account.folder.display().to_string());
        let command = format!("distill train --config {run}/config.toml --out {run}");
        return Html::missing("No step was logged yet.", command);
    }
    let mut part = Html::side_by_side(charts::training(&account.log));
    part.push(Html::folded("every epoch as a table", tables::epochs(&account.log)));
    if account.log.unreadable > 0 {
        let count = account.log.unreadable;
        part.push(Html::remark(format!(
            "{count} lines of metrics.jsonl could not be read and are left out."
        )));
    }
    part
}

fn classes(told: &Told) -> Html {
    let chart = charts::classes(told);
    if chart.is_empty() {
        return missing("Accuracy by class takes an evaluation.", told.account.judge_command().as_deref());
    }
    chart
}

fn configuration(told: &Told) -> Html {
    let config = &told.account.config;
    let written = |value: toml::Value| match value {
        toml::Value::String(text) => text,
        value => value.to_string(),
    };
    let settings = SETTINGS.iter().filter_map(|setting| Some((setting.key, written(config.value(setting)?))));
    let own = own_choices(&config.objective);
    let usual = own.iter().filter(|choice| !config.options.contains_key(choice.key));
    let usual = usual.map(|choice| (choice.key, format!("{} (default)", significant(choice.default, 6))));
    let chosen = config.options.iter().map(|(key, value)| (key.as_str(), value.to_string()));
    let mut part = facts(settings.chain(usual).chain(chosen));
    for command in &told.account.commands {
        part.push(Html::element("p", &[], Html::element("code", &[], command.as_str())));
    }
    part
}

fn environment(told: &Told) -> Html {
    let account = &told.account;
    let Some(environment) = &account.environment else {
        return Html::paragraph("env.json is not there: where this run ran is not known.");
    };
    let fields = environment.as_object().into_iter().flatten();
    let mut known: Vec<(&str, String)> = fields.map(|(key, value)| (key.as_str(), in_words(value))).collect();
    if let Some(student) = &account.student {
        known.push(("student", student.file.display().to_string()));
        known.push(("student's BLAKE3", student.blake3.clone()));
    }
    facts(known)
}

/// A record's value for people.
fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(in_words).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| format!("{} {}", key.replace('_', " "), in_words(value));
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    }
}
