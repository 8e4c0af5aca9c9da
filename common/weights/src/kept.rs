//! Constants of a normalisation that a checkpoint keeps as plain numbers beside its tensors: in its settings, in the
//! arguments of the script that wrote it, in a transform that was pickled, in the metadata of a safetensors file.

mod search;

pub(crate) use search::{in_metadata, in_pickle};

use super::normaliser::{DEVIATIONS, MEANS, Normaliser};

/// Numbers under one key that is named like a mean or a deviation, or like both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// The keys that lead to the mapping.
    path: Vec<String>,
    key: String,
    values: Vec<f64>,
    /// Whether they are a list, if only of one.
    is_list: bool,
}

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
    for one in kept.iter().filter(|one| !one.is_record()) {
        match word(&one.key) {
            Some((Word::Both, _)) if one.values.len() == 2 * channels => {
                let (mean, std) = one.values.split_at(channels);
                add([one.name(), one.name()], mean, std);
            }
            Some((Word::Mean, stem)) => {
                for other in kept.iter().filter(|other| other.is_deviation_of(one, &stem)) {
                    add([one.name(), other.name()], &one.values, &other.values);
                }
            }
            _ => {}
        }
    }
    found
}

/// A list that is named like the mean of so many channels' pixels, and is beside no deviation that is a number.
pub(super) fn lone_mean(kept: &[Kept], channels: usize) -> Option<String> {
    let is_lone = |one: &&Kept| {
        let pixels = one.values.iter().all(|value| (0.0..=1.0).contains(value));
        let counts = one.values.len() == channels && one.values.iter().any(|&value| value > 0.0);
        let Some((Word::Mean, stem)) = word(&one.key) else { return false };
        let is_alone = !kept.iter().any(|other| other.is_deviation_of(one, &stem));
        one.is_list && pixels && counts && is_alone && !one.is_record()
    };
    kept.iter().find(is_lone).map(Kept::name)
}

impl Kept {
    /// All keys that lead to it.
    fn name(&self) -> String {
        self.path.iter().chain([&self.key]).cloned().collect::<Vec<_>>().join(".")
    }

    fn is_record(&self) -> bool {
        let mut keys = self.path.iter().chain([&self.key]).map(|key| key.to_ascii_lowercase());
        self.values.len() == 1 && keys.any(|key| RECORDS.iter().any(|word| key.contains(word)))
    }

    fn is_deviation_of(&self, mean: &Self, stem: &str) -> bool {
        self.path == mean.path
            && word(&self.key).is_some_and(|found| found == (Word::Deviation, stem.to_owned()))
    }
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
    use std::collections::BTreeMap;

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
            let one = |key: &str, values: &[f64]| Kept {
                path: vec![],
                key: key.into(),
                values: values.into(),
                is_list: values.len() > 1,
            };
            normalisers(&[one("mean", mean), one("std", std)], 3)
        };
        assert_eq!(kept(&[91.2], &[0.4]), [], "an accuracy over seeds");
        assert_eq!(kept(&[0.912, 0.915, 0.909], &[0.004, 0.003, 0.004]), [], "the same as fractions");
        let record = [("mean", 0.5), ("std", 0.1)].map(|(key, value)| Kept {
            path: vec!["train_loss".into()],
            key: key.into(),
            values: vec![value],
            is_list: false,
        });
        assert_eq!(normalisers(&record, 3), [], "a record of the training");
        assert_eq!(kept(&[0.0], &[1.0]), [], "nothing");
        assert_eq!(kept(&[0.5], &[0.5])[0].std, [0.5; 3]);
        // The mean of CIFAR-10's pixels as the wide-resnet code has it.
        assert_eq!(kept(&[127.5, 51.0, 102.0], &[51.0, 51.0, 51.0])[0].mean, [0.5, 0.2, 0.4]);
    }
}
