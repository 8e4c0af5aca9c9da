//! Looking for numbers under keys that are named like constants: through everything a pickle holds, and through JSON.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{Kept, word};
use crate::pickle::Item;

/// Mappings within mappings that are looked into, at most.
const DEEPEST: usize = 12;
/// No image has so many channels.
const LONGEST: usize = 128;
/// Keys that are kept, at most: a file has a few.
const MOST: usize = 64;
/// Keys of such names whose values are looked at, at most: a large array may stand under every one.
const MOST_LOOKS: usize = 4096;

/// Everything of the kind in a pickle, also in the attributes of its objects.
pub(crate) fn in_pickle(root: Item) -> Vec<Kept> {
    let mut search = Search { kept: Vec::new(), seen: HashSet::new(), looks: 0 };
    search.visit(root, &mut Vec::new());
    search.kept
}

struct Search {
    kept: Vec<Kept>,
    seen: HashSet<u32>,
    looks: usize,
}

impl Search {
    /// Each value is looked at once, so values that contain each other cost no more than their number.
    fn visit(&mut self, item: Item, path: &mut Vec<String>) {
        if path.len() > DEEPEST || self.kept.len() >= MOST {
            return;
        }
        let state = item.as_call().and_then(|call| call.state);
        let own = item.own_entries();
        let is_container =
            item.entries().is_some() || item.elements().is_some() || state.is_some() || own.len() > 0;
        if !is_container || !self.seen.insert(item.identity()) {
            return;
        }
        if let Some(state) = state {
            self.visit(state, path);
        }
        for (key, value) in item.entries().into_iter().flatten().chain(own) {
            let key = match (key.as_str(), key.as_int()) {
                (Some(text), _) if text.len() <= LONGEST => text.to_owned(),
                (_, Some(number)) => number.to_string(),
                _ => continue,
            };
            let is_named = word(&key).is_some() && self.looks < MOST_LOOKS;
            self.looks += usize::from(is_named);
            let typed = || value.as_str().filter(|text| text.len() <= 16 * LONGEST).and_then(read);
            let values = is_named.then(|| value.numbers(LONGEST).or_else(typed)).flatten();
            if let Some(values) = values.filter(|values| !values.is_empty()) {
                let is_list = value.as_float().or(value.as_int().map(|whole| whole as f64)).is_none();
                self.kept.push(Kept { path: path.clone(), key, values, is_list });
                continue;
            }
            path.push(key);
            self.visit(value, path);
            path.pop();
        }
        for (place, element) in item.elements().into_iter().flatten().enumerate() {
            path.push(place.to_string());
            self.visit(element, path);
            path.pop();
        }
    }
}

/// Everything of the kind in what a safetensors file says about itself: text, which may be JSON or numbers with commas.
pub(crate) fn in_metadata(metadata: &BTreeMap<String, String>) -> Vec<Kept> {
    let mut kept = Vec::new();
    for (key, text) in metadata {
        let value = serde_json::from_str(text).ok().or_else(|| list(text));
        visit_json(key, &value.unwrap_or_default(), &mut Vec::new(), &mut kept);
    }
    kept
}

/// Numbers with commas between, in brackets or without, as people type them.
fn list(text: &str) -> Option<Value> {
    serde_json::from_str(&format!("[{}]", text.trim_matches(['(', ')', '[', ']', ' ']))).ok()
}

fn read(text: &str) -> Option<Vec<f64>> {
    let mut values = Vec::new();
    flat(&list(text)?, &mut values)?;
    Some(values)
}

// serde_json itself refuses what is nested deeper than 128.
fn visit_json(key: &str, value: &Value, path: &mut Vec<String>, kept: &mut Vec<Kept>) {
    if kept.len() >= MOST {
        return;
    }
    let mut values = Vec::new();
    if word(key).is_some() && flat(value, &mut values).is_some() && !values.is_empty() {
        let is_list = !value.is_number();
        kept.push(Kept { path: path.clone(), key: key.to_owned(), values, is_list });
    } else if let Value::Object(entries) = value {
        path.push(key.to_owned());
        entries.iter().for_each(|(key, value)| visit_json(key, value, path, kept));
        path.pop();
    }
}

fn flat(value: &Value, into: &mut Vec<f64>) -> Option<()> {
    match value {
        Value::Array(elements) => elements.iter().try_for_each(|element| flat(element, into)),
        number => {
            into.push(number.as_f64()?);
            (into.len() <= LONGEST).then_some(())
        }
    }
}
