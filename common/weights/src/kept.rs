//! Constants of a normalisation that a checkpoint keeps as plain numbers beside its tensors: in its settings, in the
//! arguments of the script that wrote it, in a transform that was pickled, in the metadata of a safetensors file.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::normaliser::{DEVIATIONS, MEANS, Normaliser};
use super::pickle::Item;

/// Numbers under one key that is named like a mean or a deviation, or like both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// The keys that lead to the mapping.
    path: Vec<String>,
    key: String,
    values: Vec<f64>,
}

/// Mappings within mappings that are looked into, at most.
const DEEPEST: usize = 12;
/// No image has so many channels.
const LONGEST: usize = 128;
/// Keys that are kept, at most: a file has a few.
const MOST: usize = 64;
/// Keys of such names whose values are looked at, at most: a large array may stand under every one.
const MOST_LOOKS: usize = 4096;
/// Single numbers under keys like these tell of a training, as `train_loss: {mean, std}` does.
const RECORDS: [&str; 10] =
    ["loss", "acc", "err", "grad", "time", "metric", "result", "score", "log", "hist"];
/// Beginnings of keys that both constants stand under, one after the other.
const BOTH: [&str; 2] = ["norm", "stats"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Mean,
    Deviation,
    Both,
}

/// What a key is named like, and what is left of it: `train_mean` and `train_std` belong together.
fn word(key: &str) -> Option<(Word, String)> {
    let key = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase().replace('-', "_");
    let key = key.trim_matches('_');
    let rest = |word: &str| {
        if key == word {
            return Some("");
        }
        let after = key.strip_prefix(word).and_then(|rest| rest.strip_prefix('_'));
        after.or_else(|| key.strip_suffix(word)?.strip_suffix('_'))
    };
    let one_of = |words: &[&str]| words.iter().find_map(|word| rest(word));
    let mean = one_of(&MEANS).map(|rest| (Word::Mean, rest));
    let found = mean.or_else(|| one_of(&DEVIATIONS).map(|rest| (Word::Deviation, rest)));
    let both = || BOTH.iter().any(|start| key.starts_with(start)).then_some((Word::Both, key));
    // Statistics of a layer belong to the layer.
    let both_named = key.contains("mean") && key.contains("std");
    let found = if both_named { Some((Word::Both, key)) } else { found.or_else(both) };
    found.filter(|(_, rest)| *rest != "running").map(|(word, rest)| (word, rest.to_owned()))
}

/// Everything of the kind in a pickle, also in the attributes of its objects.
pub(super) fn in_pickle(root: Item) -> Vec<Kept> {
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
            let values = is_named.then(|| value.numbers(LONGEST)).flatten();
            if let Some(values) = values.filter(|values| !values.is_empty()) {
                self.kept.push(Kept { path: path.clone(), key, values });
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
pub(super) fn in_metadata(metadata: &BTreeMap<String, String>) -> Vec<Kept> {
    let mut kept = Vec::new();
    for (key, text) in metadata {
        let list = || serde_json::from_str(&format!("[{}]", text.trim_matches(['(', ')', '[', ']']))).ok();
        let value = serde_json::from_str(text).ok().or_else(list);
        visit_json(key, &value.unwrap_or_default(), &mut Vec::new(), &mut kept);
    }
    kept
}

// serde_json itself refuses what is nested deeper than 128.
fn visit_json(key: &str, value: &Value, path: &mut Vec<String>, kept: &mut Vec<Kept>) {
    if kept.len() >= MOST {
        return;
    }
    let mut values = Vec::new();
    if word(key).is_some() && flat(value, &mut values).is_some() && !values.is_empty() {
        kept.push(Kept { path: path.clone(), key: key.to_owned(), values });
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

/// The normalisations of so many channels among what was kept, each once.
///
/// Numbers that pixels in [0, 1] or up to 255 cannot have are something else (an accuracy over seeds), and a mean of 0
/// with a deviation of 1 is none at all. Those for pixels up to 255 are divided by it.
pub(super) fn normalisers(kept: &[Kept], channels: usize) -> Vec<Normaliser> {
    let mut found: Vec<Normaliser> = Vec::new();
    let mut add = |names: [String; 2], mean: &[f64], std: &[f64]| {
        let Some([mean, std]) = plausible(mean, std, channels) else { return };
        if found.iter().all(|known| known.mean != mean || known.std != std) {
            found.push(Normaliser { names, mean, std });
        }
    };
    let name = |one: &Kept| one.path.iter().chain([&one.key]).cloned().collect::<Vec<_>>().join(".");
    let is_record = |one: &Kept| {
        let mut keys = one.path.iter().chain([&one.key]).map(|key| key.to_ascii_lowercase());
        one.values.len() == 1 && keys.any(|key| RECORDS.iter().any(|word| key.contains(word)))
    };
    for one in kept.iter().filter(|one| !is_record(one)) {
        match word(&one.key) {
            Some((Word::Both, _)) if one.values.len() == 2 * channels => {
                let (mean, std) = one.values.split_at(channels);
                add([name(one), name(one)], mean, std);
            }
            Some((Word::Mean, stem)) => {
                let partner = |other: &&Kept| {
                    other.path == one.path && word(&other.key) == Some((Word::Deviation, stem.clone()))
                };
                for other in kept.iter().filter(partner) {
                    add([name(one), name(other)], &one.values, &other.values);
                }
            }
            _ => {}
        }
    }
    found
}

fn plausible(mean: &[f64], std: &[f64], channels: usize) -> Option<[Vec<f32>; 2]> {
    let fits = |values: &[f64]| values.len() == 1 || values.len() == channels;
    let within = |values: &[f64], least: f64, most: f64| values.iter().all(|v| (least..=most).contains(v));
    (fits(mean) && fits(std)).then_some(())?;
    let scale = if within(mean, 0.0, 1.0) && within(std, 0.05, 2.0) {
        1.0
    } else if within(mean, 1.0, 255.0) && within(std, 10.0, 255.0) {
        255.0
    } else {
        return None;
    };
    let each = |values: &[f64]| -> Vec<f32> {
        let spread = if values.len() == 1 { channels } else { 1 };
        values.iter().flat_map(|v| std::iter::repeat_n((v / scale) as f32, spread)).collect()
    };
    let found = [each(mean), each(std)];
    (found[0].iter().any(|&v| v != 0.0) || found[1].iter().any(|&v| (v - 1.0).abs() > 0.0)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_seen_through_what_authors_put_around_the_two_words() {
        for (key, stem) in [
            ("mean", ""),
            ("MEAN", ""),
            ("train_mean", "train"),
            ("mean_rgb", "rgb"),
            ("data.mu", ""),
            ("_mean", ""),
        ] {
            assert!(word(key) == Some((Word::Mean, stem.to_owned())), "{key}");
        }
        assert!(word("cifar10-std") == Some((Word::Deviation, "cifar10".to_owned())));
        assert!(word("normalization").is_some_and(|(word, _)| word == Word::Both));
        for other in ["running_mean", "meaning", "epoch", "standard", "bn1.running_mean"] {
            assert!(word(other).is_none(), "{other}");
        }
    }

    #[test]
    fn metadata_says_constants_as_json_or_as_a_list() {
        // torchvision's constants for ImageNet, as timm writes them into a configuration, and as people type them.
        let wanted = Normaliser {
            names: ["config.mean".into(), "config.std".into()],
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        };
        let metadata = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(key, text)| (key.to_owned(), text.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let nested = r#"{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "seed": 1}"#;
        assert_eq!(normalisers(&in_metadata(&metadata(&[("config", nested)])), 3)[0], wanted);
        let typed = metadata(&[("mean", "0.485, 0.456, 0.406"), ("std", "(0.229,0.224,0.225)")]);
        assert_eq!(normalisers(&in_metadata(&typed), 3)[0].mean, wanted.mean);
        assert_eq!(normalisers(&in_metadata(&typed), 1), [], "of other images");
    }

    #[test]
    fn a_list_that_holds_itself_is_no_numbers() {
        // {'mean': l, 'std': l} with l = [l, l, l].
        let program = b"\x80\x02}(\x8c\x04mean]q\x00(h\x00h\x00h\x00e\x8c\x03stdh\x00u.";
        let pickle = crate::pickle::load(program).unwrap();
        assert_eq!(in_pickle(pickle.root()), []);
    }

    #[test]
    fn numbers_that_pixels_cannot_have_are_something_else() {
        let kept = |mean: &[f64], std: &[f64]| {
            let one =
                |key: &str, values: &[f64]| Kept { path: vec![], key: key.into(), values: values.into() };
            normalisers(&[one("mean", mean), one("std", std)], 3)
        };
        assert_eq!(kept(&[91.2], &[0.4]), [], "an accuracy over seeds");
        assert_eq!(kept(&[0.912, 0.915, 0.909], &[0.004, 0.003, 0.004]), [], "the same as fractions");
        let record = [("mean", 0.5), ("std", 0.1)].map(|(key, value)| Kept {
            path: vec!["train_loss".into()],
            key: key.into(),
            values: vec![value],
        });
        assert_eq!(normalisers(&record, 3), [], "a record of the training");
        assert_eq!(kept(&[0.0], &[1.0]), [], "nothing");
        assert_eq!(kept(&[0.5], &[0.5])[0].std, [0.5; 3]);
        // The mean of CIFAR-10's pixels as the wide-resnet code has it.
        assert_eq!(kept(&[127.5, 51.0, 102.0], &[51.0, 51.0, 51.0])[0].mean, [0.5, 0.2, 0.4]);
    }
}
