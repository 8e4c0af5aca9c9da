//! What a run learned from: the card of its label set, where that is still at hand.

use std::path::Path;

use labels::{Check, LabelSet};
use page::{Html, facts};

use crate::account::Account;

pub(super) fn of(account: &Account) -> Html {
    let config = &account.config;
    let sets = [("labels", &config.labels), ("second-labels", &config.second_labels)];
    let named: Vec<(&str, &String)> =
        sets.into_iter().filter_map(|(key, dir)| Some((key, dir.as_ref()?))).collect();
    if named.is_empty() {
        return Html::paragraph("This run read no label set.");
    }
    let is_alone = named.len() == 1;
    let card = |(key, dir): (&str, &String)| {
        let head = if is_alone { Html::none() } else { Html::paragraph(format!("{key}: {dir}")) };
        head.and(card(account, dir))
    };
    named.into_iter().map(card).collect()
}

/// A relative path was relative to where the run was started, which is where most reports are.
fn card(account: &Account, dir: &str) -> Html {
    let set = match LabelSet::open(Path::new(dir), Check::Sizes) {
        Ok(set) => set,
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().next().unwrap_or_default();
            let command = format!("label inspect {}", cli::quoted(dir));
            return Html::missing(format!("The label set could not be read: {what}."), command);
        }
    };
    let manifest = set.manifest();
    let mut part = facts(cli::label_set_facts(manifest));
    let known = account.environment.as_ref().map(|environment| environment["inputs"].to_string());
    if known.is_some_and(|known| !known.contains(&manifest.content_hash.to_string())) {
        part = Html::element(
            "p",
            &[("class", "finding")],
            "This is another label set than the one that the run learned from: its content hash is not among the run's inputs.",
        )
        .and(part);
    }
    part
}
