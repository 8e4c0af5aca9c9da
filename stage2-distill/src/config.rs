//! What a run is: every setting that can change its result, and where each came from.
//!
//! Settings are laid over one another: defaults, then a preset, then a file, then flags. The table [`SETTINGS`] is
//! the only list of them; `--set`, files, `--help` and the error for an unknown key all read it.

mod preset;
mod setting;

pub use preset::{PRESETS, Preset};
pub use setting::{SETTINGS, Setting};

use method::schedule::Schedule;
use method::threat::Fraction;
use serde::{Deserialize, Serialize};

/// A whole run. Fields are in the order in which `config.toml` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The data set, such as `cifar10:FOLDER`.
    pub data: String,
    /// The student's architecture.
    pub student: String,
    /// What it learns.
    pub objective: String,
    /// A label set's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// A teacher's weights, to run it online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The teacher's architecture, where its file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Weights to start from in place of fresh ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// The augmentation of a run without a label set; the data set's usual one where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<String>,
    /// Only the first images of the training split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Images held out of training to select the best epoch; 1,000 or 0 by the number of images where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// What runs the networks: other engines round differently. Runs begun before there was a choice had the oracle.
    #[serde(default = "oracle")]
    pub engine: String,
    /// Whether attack and training round no more than a plain sum does.
    #[serde(default)]
    pub exact_conv: bool,
}

fn oracle() -> String {
    engine::Kind::REFERENCE.name().into()
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that is not in [`SETTINGS`].
    #[error("{origin}: unknown setting `{key}`\n{}", method::suggest::hint(.key, &SETTINGS.iter().map(|s| s.key).collect::<Vec<_>>()))]
    Unknown {
        /// File, preset or flag.
        origin: String,
        /// The key.
        key: String,
    },
    /// A value of the wrong type or out of range.
    #[error(
        "{origin}: {key} = {value}: {why}\nhint: `distill train --help` lists every setting with its default"
    )]
    Value {
        /// File, preset or flag.
        origin: String,
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A preset that is not in [`PRESETS`].
    #[error("unknown preset `{name}`\n{}", method::suggest::hint(.name, &PRESETS.iter().map(|p| p.name).collect::<Vec<_>>()))]
    UnknownPreset {
        /// Its name.
        name: String,
    },
    /// A file that is not TOML.
    #[error(
        "{path}: not TOML: {why}\nhint: one `key = value` a line, as in the config.toml of any run's folder"
    )]
    Toml {
        /// The file.
        path: String,
        /// The parser's complaint.
        why: String,
    },
    /// A file that cannot be read.
    #[error(
        "cannot read {path}: {source}\nhint: --config takes a TOML file of settings, such as a run's config.toml"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A `--set` without `=`.
    #[error("--set {0}: wanted key=value\nhint: as in --set lr=0.05")]
    NoEquals(String),
    /// A setting that has no default.
    #[error("no {key} was given\nhint: pass --{key}, or a --preset or --config that sets it")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// Two settings that contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// Layers of settings, later ones over earlier ones.
#[derive(Default)]
pub struct Layers {
    table: toml::Table,
}

impl Layers {
    /// The defaults: the paper's settings.
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                layers.put("default", setting.key, default).expect("defaults are of their own type");
            }
        }
        layers
    }

    /// Lays a preset over.
    pub fn preset(&mut self, name: &str) -> Result<(), ConfigError> {
        let preset = PRESETS.iter().find(|preset| preset.name == name);
        let preset = preset.ok_or_else(|| ConfigError::UnknownPreset { name: name.into() })?;
        for (key, value) in preset.settings {
            self.put(&format!("preset {name}"), key, value)?;
        }
        Ok(())
    }

    /// Lays a TOML file over.
    pub fn file(&mut self, path: &std::path::Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| ConfigError::Toml {
            path: shown.clone(),
            why: e.message().into(),
        })?;
        for (key, value) in table {
            let text = match &value {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            self.put(&shown, &key, &text)?;
        }
        Ok(())
    }

    /// Lays one `key=value` over.
    pub fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| ConfigError::NoEquals(assignment.into()))?;
        self.put("--set", key.trim(), value.trim())
    }

    /// Lays one setting over, checked against its type and range.
    pub fn put(&mut self, origin: &str, key: &str, value: &str) -> Result<(), ConfigError> {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let setting =
            setting.ok_or_else(|| ConfigError::Unknown { origin: origin.into(), key: key.into() })?;
        let value = setting.kind.parse(value).map_err(|why| ConfigError::Value {
            origin: origin.into(),
            key: key.into(),
            value: value.into(),
            why,
        })?;
        self.table.insert(key.into(), value);
        Ok(())
    }

    /// The whole configuration, checked for what must be there and what excludes each other.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        for key in ["data", "student", "objective"] {
            if !self.table.contains_key(key) {
                return Err(ConfigError::Missing { key });
            }
        }
        let config: Config = self.table.try_into().expect("every setting was checked against its type");
        let conflict = |text: &str| Err(ConfigError::Conflict(text.into()));
        if config.labels.is_some() && config.teacher.is_some() {
            return conflict(
                "both labels and teacher were given\nhint: a run reads a label set or runs a teacher, not both",
            );
        }
        if config.labels.is_some() && config.augment.is_some() {
            return conflict(
                "both labels and augment were given\nhint: a run's augmentation is its label set's",
            );
        }
        if config.arch.is_some() && config.teacher.is_none() {
            return conflict(
                "arch was given without teacher\nhint: arch names the teacher's architecture; the student's is --student",
            );
        }
        if config.paper_selection && config.holdout.is_some_and(|holdout| holdout > 0) {
            return conflict(
                "both paper-selection and holdout were given\nhint: selection is on the test split or on held-out images",
            );
        }
        Ok(config)
    }
}

impl Config {
    /// The attack's step size: as given, or a quarter of eps.
    pub fn step_size(&self) -> Fraction {
        self.step_size.clone().unwrap_or_else(|| self.eps.usual_step())
    }

    /// The settings in which `other` differs and that change the result, as `key: this, other`.
    ///
    /// Paths are left out: what they hold is compared by digest.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let table = |config: &Self| toml::Table::try_from(config).expect("a configuration is a table");
        // A step size that was left out is the same as one written out.
        let resolved = |config: &Self| Self { step_size: Some(config.step_size()), ..config.clone() };
        let (ours, theirs) = (table(&resolved(self)), table(&resolved(other)));
        let show = |value: Option<&toml::Value>| value.map_or_else(|| "not set".into(), ToString::to_string);
        SETTINGS
            .iter()
            .filter(|setting| !setting.is_path && ours.get(setting.key) != theirs.get(setting.key))
            .map(|setting| {
                format!("{}: {}, {}", setting.key, show(ours.get(setting.key)), show(theirs.get(setting.key)))
            })
            .collect()
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
    fn differences_name_the_setting_and_both_values_and_leave_paths_alone() {
        let first = minimal().resolve().unwrap();
        let mut layers = minimal();
        layers.set("seed=1").unwrap();
        layers.set("labels=/elsewhere").unwrap();
        assert_eq!(first.differences(&layers.resolve().unwrap()), ["seed: 0, 1"]);
    }
}
