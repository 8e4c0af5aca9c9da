//! Finding the state dict in a checkpoint: people save it alone, or among epochs, optimizers and arguments.

use std::collections::HashSet;

use super::error::{Problem, SAVE_STATE_DICT};
use super::pickle::Item;
use super::tensor_call::tensor_call;

/// The names under which checkpoints keep their state dict, the first found wins.
const NAMES: [&str; 5] = ["state_dict", "net", "model", "last", "best"];

/// No network names its tensors at greater length; without a limit, one long name shared by a million entries
/// would be copied a million times.
const LONGEST_NAME: usize = 1024;

/// A state dict in a pickle, its tensors still to be read.
pub(super) struct Found<'p> {
    /// The names that led to it.
    pub path: Vec<String>,
    /// Its tensors under their names.
    pub tensors: Vec<(&'p str, Item<'p>)>,
}

/// The state dict under `root`. Values beside the tensors are ignored.
pub(super) fn find(root: Item<'_>) -> Result<Found<'_>, Problem> {
    let mut seen = HashSet::new();
    if let Some(mut found) = descend(root, 4, &mut seen) {
        found.path.reverse();
        return Ok(found);
    }
    let what = match (root.entries(), root.as_call()) {
        (Some(entries), _) => {
            // Names can be as long as the file; a message must not be.
            let keys: Vec<String> = entries
                .take(8)
                .map(|(key, value)| {
                    let key: String = key.as_str().unwrap_or("?").chars().take(40).collect();
                    format!("{key} ({})", value.kind())
                })
                .collect();
            format!("no state dict found; the checkpoint holds: {}", keys.join(", "))
        }
        (None, Some(call)) => {
            format!("the file holds a whole object of class {}.{}, not a state dict", call.module, call.name)
        }
        (None, None) => format!("wanted a dict of tensors, found a {}", root.kind()),
    };
    Err(Problem::Unsupported { what, hint: SAVE_STATE_DICT })
}

/// The path comes innermost first. Each dict is looked at once, so dicts that contain each other cost no more
/// than their number.
fn descend<'p>(item: Item<'p>, depth: usize, seen: &mut HashSet<u32>) -> Option<Found<'p>> {
    let entries = item.entries()?;
    if !seen.insert(item.identity()) {
        return None;
    }
    if depth > 0 {
        for name in NAMES {
            let inner = item.get(name).and_then(|inner| descend(inner, depth - 1, seen));
            if let Some(mut found) = inner {
                found.path.push(name.to_owned());
                return Some(found);
            }
        }
    }
    let tensors: Vec<_> = entries
        .filter_map(|(key, value)| Some((key.as_str()?, value)))
        .filter(|&(name, value)| name.len() <= LONGEST_NAME && tensor_call(value).is_some())
        .collect();
    (!tensors.is_empty()).then_some(Found { path: Vec::new(), tensors })
}
