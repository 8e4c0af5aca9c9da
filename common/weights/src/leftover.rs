//! What a part of a file holds beside a network, and whether that can change what the network answers.

use super::fit::is_counter;
use super::part::{Listed, Part};
use super::state::Dtype;

/// Words of losses, whose weights act in training alone.
const LOSSES: [&str; 5] = ["criterion", "criterions", "loss", "loss_fn", "loss_function"];
/// Words that training scripts write single numbers under.
const RECORDS: [&str; 14] = [
    "acc",
    "accuracy",
    "best_acc",
    "best_prec1",
    "best_score",
    "epoch",
    "err",
    "error",
    "iteration",
    "loss",
    "lr",
    "prec1",
    "robust_acc",
    "step",
];

/// Why a tensor that no network asked for changes nothing; none where it may.
pub(super) fn harmless(one: &Listed) -> Option<&'static str> {
    let mut words = one.bare.split('.');
    let single = one.numbers() == Some(1);
    let integer = one.place.as_ref().is_ok_and(|place| place.dtype != Dtype::Bool && !place.dtype.is_float());
    if is_counter(&one.bare) || (single && integer) {
        Some("a counter")
    } else if words.clone().any(|word| LOSSES.contains(&word)) {
        Some("of a loss")
    } else if single && words.next_back().is_some_and(|word| RECORDS.contains(&word)) {
        Some("a record of the training")
    } else {
        None
    }
}

/// The names of some tensors in a line, each once: `a, b and 3 more`.
pub(super) fn some(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| name.chars().take(60).collect()).collect();
    let rest = names.len().saturating_sub(shown.len());
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{rest}", shown.join(", "))
}

/// Whether, right before the network at this prefix, a sequence has a member without any tensor: `1.` and nothing
/// under `0.`. Normalisations that keep no buffers stand there.
pub(super) fn hidden_member(part: &Part, prefix: &str) -> Option<String> {
    let inner = prefix.strip_suffix('.')?;
    let (outer, number) = inner.rsplit_once('.').map_or(("", inner), |(outer, number)| (outer, number));
    let number: usize = number.parse().ok().filter(|&number| (1..16).contains(&number))?;
    let name =
        |number: usize| if outer.is_empty() { format!("{number}") } else { format!("{outer}.{number}") };
    let is_there = |number: usize| {
        let start = format!("{}.", name(number));
        part.tensors.iter().any(|one| one.bare.starts_with(&start))
    };
    (0..number).find(|&before| !is_there(before)).map(name)
}
