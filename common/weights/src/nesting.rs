//! Finding the tensors in a checkpoint: people save a state dict alone, or among epochs, optimizers, averages and
//! arguments, under any name and at any depth.

use std::collections::HashSet;

use super::error::{Problem, SAVE_STATE_DICT};
use super::pickle::Item;
use super::tensor_call::tensor_call;

/// No network names its tensors at greater length; without a limit, one long name shared by a million entries
/// would be copied a million times.
const LONGEST_NAME: usize = 1024;
/// Mappings within mappings, at most. Optimizers, the deepest that people save, have four.
const DEEPEST: usize = 8;

/// Mappings of tensors, at most: an optimizer has one for each parameter, and no network has so many.
const MOST_GROUPS: usize = 1 << 14;
/// Lists of several mappings that a message may speak of.
const MOST_LISTS: usize = 8;

/// A mapping in a pickle that holds tensors, still to be read.
pub(super) struct Group<'p> {
    /// The keys that led to it.
    pub path: Vec<String>,
    /// Its tensors under their names. Values beside them are ignored.
    pub tensors: Vec<(&'p str, Item<'p>)>,
}

/// Everything in a pickle that may be a state dict.
#[derive(Default)]
pub(super) struct Walk<'p> {
    /// Mappings that hold tensors, outer ones first.
    pub groups: Vec<Group<'p>>,
    /// Lists of several mappings, and of how many. Which of a list's networks is meant, or whether all answer together,
    /// no file says, so none of them is a group.
    pub lists: Vec<(String, usize)>,
    seen: HashSet<u32>,
}

/// Every mapping of tensors under `root`.
///
/// Errors: [`Problem::Unsupported`] where there is none, with what there is in its place.
pub(super) fn walk(root: Item<'_>) -> Result<Walk<'_>, Problem> {
    let mut walk = Walk::default();
    walk.visit(root, &mut Vec::new());
    if walk.groups.len() > MOST_GROUPS {
        let what = format!("the checkpoint has more than {MOST_GROUPS} mappings with tensors");
        return Err(Problem::Unsupported { what, hint: SAVE_STATE_DICT });
    }
    if walk.groups.is_empty() { Err(nothing(root, &walk.lists)) } else { Ok(walk) }
}

impl<'p> Walk<'p> {
    /// Each value is looked at once, so mappings that contain each other cost no more than their number.
    fn visit(&mut self, item: Item<'p>, path: &mut Vec<String>) {
        let is_container = item.entries().is_some() || item.elements().is_some();
        let too_much = path.len() > DEEPEST || self.groups.len() > MOST_GROUPS;
        if !is_container || too_much || !self.seen.insert(item.identity()) {
            return;
        }
        if let Some(entries) = item.entries() {
            let tensors: Vec<_> = entries
                .filter_map(|(key, value)| Some((key.as_str()?, value)))
                .filter(|&(name, value)| name.len() <= LONGEST_NAME && tensor_call(value).is_some())
                .collect();
            if !tensors.is_empty() {
                self.groups.push(Group { path: path.clone(), tensors });
            }
            for (key, value) in item.entries().into_iter().flatten() {
                let Some(key) = shown(key) else { continue };
                path.push(key);
                self.visit(value, path);
                path.pop();
            }
        } else if let Some(elements) = item.elements() {
            let mappings: Vec<(usize, Item)> =
                elements.enumerate().filter(|(_, element)| element.entries().is_some()).collect();
            match mappings.as_slice() {
                [] => {}
                &[(place, only)] => {
                    path.push(place.to_string());
                    self.visit(only, path);
                    path.pop();
                }
                several if self.lists.len() < MOST_LISTS => self.lists.push((path.join("."), several.len())),
                _ => {}
            }
        }
    }
}

/// A key as a path shows it; none for keys that nobody could write on a command line.
fn shown(key: Item) -> Option<String> {
    match (key.as_str(), key.as_int()) {
        (Some(text), _) if text.len() <= LONGEST_NAME / 4 => Some(text.to_owned()),
        (_, Some(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// Says what a pickle without a mapping of tensors holds.
fn nothing(root: Item, lists: &[(String, usize)]) -> Problem {
    if let Some((path, count)) = lists.first() {
        return several(path, *count);
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
    Problem::Unsupported { what, hint: SAVE_STATE_DICT }
}

/// A list of several mappings where one state dict was wanted.
pub(super) fn several(path: &str, count: usize) -> Problem {
    let path = if path.is_empty() { "the checkpoint" } else { path };
    Problem::Unsupported {
        what: format!("{path} is a list of {count} mappings (a cascade or an ensemble), not one state dict"),
        hint: "save the one that is meant with `torch.save(..[NUMBER], FILE)`; several that answer together go through PyTorch: `label plan`, tools/label_with_pytorch.py, `label import`",
    }
}
