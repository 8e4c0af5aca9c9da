//! What a run is: every setting that can change its result, and where each came from.
//!
//! Settings are laid over one another: defaults, then a preset, then a file, then `--set`, then flags. The table
//! [`SETTINGS`] is the only list of them: flags, `--set`, files, `--help`, the record in `config.toml` and the error for
//! an unknown key all read it.

mod error;
mod layers;
mod preset;
mod setting;
mod value;

pub use error::ConfigError;
pub use layers::Layers;
pub use preset::{PRESETS, Preset};
pub use setting::{SETTINGS, Setting};

use std::collections::BTreeMap;

use engine::Kind;
use method::schedule::Schedule;
use method::threat::Fraction;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A whole run: a field for each row of [`SETTINGS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The data set, such as `cifar10:FOLDER`.
    pub data: String,
    /// The student's architecture.
    pub student: String,
    /// What it learns.
    pub objective: String,
    /// A label set's folder.
    pub labels: Option<String>,
    /// A teacher's weights, to run it online.
    pub teacher: Option<String>,
    /// The teacher's architecture, where its file does not say.
    pub arch: Option<String>,
    /// Weights to start from in place of fresh ones.
    pub init: Option<String>,
    /// The augmentation of a run without a label set; the data set's usual one where it is not given.
    pub augment: Option<String>,
    /// Only the first images of the training split.
    pub limit: Option<usize>,
    /// Images held out of training to select the best epoch; 1,000 or 0 by the number of images where not given.
    pub holdout: Option<usize>,
    /// Select the best epoch on the *test* split, as the paper did.
    pub paper_selection: bool,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step; the last step of an epoch may have fewer.
    pub batch: usize,
    /// Keys initial values, order, views and attack starts.
    pub seed: u64,
    /// Radius of the attack, in units of the pixel range.
    pub eps: Fraction,
    /// Change of a pixel per attack step; a quarter of eps where it is not given.
    pub step_size: Option<Fraction>,
    /// Attack steps.
    pub steps: usize,
    /// Base learning rate.
    pub lr: f64,
    /// Share of the old velocity that SGD keeps.
    pub momentum: f64,
    /// Pull of all parameters towards zero.
    pub weight_decay: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// What runs the networks: other engines round differently.
    pub engine: Kind,
    /// Whether attack and training round no more than a plain sum does.
    pub exact_conv: bool,
    /// Numbers that the objective lets its user choose, by name; what is not here has the objective's default.
    pub options: BTreeMap<String, f64>,
}

impl Config {
    /// The attack's step size: as given, or a quarter of eps.
    pub fn step_size(&self) -> Fraction {
        self.step_size.clone().unwrap_or_else(|| self.eps.divided_by(4))
    }

    /// The value of a setting as TOML; none where nothing was chosen.
    pub fn value(&self, setting: &Setting) -> Option<toml::Value> {
        // A row knows its field for writing; a copy spares each of them a second way in.
        setting.field(&mut self.clone()).toml()
    }

    /// The settings in which `other` differs and that change the result, as `key: this, other`.
    ///
    /// Paths are left out: what they hold is compared by digest.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        // A step size that was left out is the same as one written out.
        let resolved = |config: &Self| Self { step_size: Some(config.step_size()), ..config.clone() };
        let (ours, theirs) = (resolved(self), resolved(other));
        let show =
            |value: Option<toml::Value>| value.map_or_else(|| "not set".into(), |value| value.to_string());
        let settings = SETTINGS
            .iter()
            .filter(|setting| !setting.is_path)
            .map(|setting| (setting.key, show(ours.value(setting)), show(theirs.value(setting))));
        let option = |config: &Self, key: &str| show(config.options.get(key).map(|&value| value.into()));
        let keys: std::collections::BTreeSet<&str> =
            ours.options.keys().chain(theirs.options.keys()).map(String::as_str).collect();
        let options = keys.into_iter().map(|key| (key, option(&ours, key), option(&theirs, key)));
        settings
            .chain(options)
            .filter(|(_, here, there)| here != there)
            .map(|(key, here, there)| format!("{key}: {here}, {there}"))
            .collect()
    }
}

/// As `config.toml` holds it: the settings in the table's order, then `[options]`.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for setting in SETTINGS {
            if let Some(value) = self.value(setting) {
                map.serialize_entry(setting.key, &value)?;
            }
        }
        if !self.options.is_empty() {
            map.serialize_entry("options", &self.options)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Layers {
        let mut layers = Layers::defaults();
        for (key, value) in [("data", "sample"), ("student", "tiny-cnn"), ("objective", "rslad")] {
            layers.put("test", key, value).unwrap();
        }
        layers
    }

    /// arXiv:2108.07969 and its released code.
    #[test]
    fn defaults_are_the_papers_settings() {
        let config = minimal().resolve().unwrap();
        assert_eq!((config.epochs, config.batch, config.steps), (300, 128, 10));
        assert_eq!((config.lr, config.momentum, config.weight_decay), (0.1, 0.9, 2e-4));
        assert_eq!(
            (config.eps.to_string(), config.step_size().to_string()),
            ("8/255".into(), "2/255".into())
        );
    }

    #[test]
    fn later_layers_win_and_unknown_keys_are_answered_with_a_near_one() {
        let mut layers = minimal();
        layers.preset("quickstart").unwrap();
        layers.set("epochs=3").unwrap();
        layers.set("lr = 1").unwrap();
        let error = layers.set("epoch=3").unwrap_err().to_string();
        assert!(error.contains("did you mean `epochs`?"), "{error}");
        for bad in [
            "epochs=0",
            "epochs=many",
            "eps=8",
            "steps=0",
            "lr=-1",
            "lr=nan",
            "schedule=linear",
            "paper-selection=1",
            "engine=gpu",
        ] {
            assert!(layers.set(bad).is_err(), "{bad}");
        }
        assert!(layers.set("epochs").is_err());
        let config = layers.resolve().unwrap();
        assert_eq!((config.epochs, config.lr), (3, 1.0));
    }

    #[test]
    fn a_configuration_survives_its_file() {
        let mut layers = minimal();
        layers.set("eps=1/255").unwrap();
        layers.set("limit=77").unwrap();
        layers.set("weight-decay=0.0005").unwrap();
        let config = layers.resolve().unwrap();
        let text = toml::to_string(&config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, &text).unwrap();
        let mut again = Layers::defaults();
        again.file(&path).unwrap();
        assert_eq!(again.resolve().unwrap(), config);
        assert!(text.contains("eps = \"1/255\""), "{text}");
    }

    #[test]
    fn every_preset_is_made_of_known_settings_with_known_names() {
        for preset in PRESETS {
            let mut layers = minimal();
            layers.preset(preset.name).unwrap();
            let config = layers.resolve().unwrap();
            method::objective::find(&config.objective).unwrap();
        }
    }

    #[test]
    fn every_setting_has_a_row_of_its_own_and_a_default_that_it_takes() {
        let mut keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
        // Two rows may not share a field: each default must still be there when all are laid.
        let usual = Layers::defaults();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                let mut layers = Layers::defaults();
                layers.put("test", setting.key, default).unwrap();
                assert_eq!(layers.value(setting), usual.value(setting), "{}", setting.key);
            }
        }
    }

    #[test]
    fn a_value_that_will_not_do_is_refused_with_what_the_setting_means() {
        for setting in SETTINGS {
            let error = minimal().put("--flag", setting.key, "").unwrap_err().to_string();
            for words in [setting.key, setting.help, "--flag", "distill train --help"] {
                assert!(error.contains(words), "{words}: {error}");
            }
        }
    }

    #[test]
    fn options_of_the_objective_have_a_table_of_their_own_and_are_compared() {
        let first = minimal().resolve().unwrap();
        assert!(!toml::to_string(&first).unwrap().contains("[options]"), "none were chosen");
        let mut second = first.clone();
        second.options.insert("alpha".into(), 0.5);
        assert!(toml::to_string(&second).unwrap().ends_with("\n[options]\nalpha = 0.5\n"));
        assert_eq!(first.differences(&second), ["alpha: not set, 0.5"]);
    }

    #[test]
    fn differences_name_the_setting_and_both_values_and_leave_paths_alone() {
        let first = minimal().resolve().unwrap();
        let mut layers = minimal();
        layers.set("seed=1").unwrap();
        layers.set("labels=/elsewhere").unwrap();
        assert_eq!(first.differences(&layers.resolve().unwrap()), ["seed: 0, 1"]);
    }
}
